"""Name the data sets that can be rendered: who is in them, how often, and how hard they are to recognise."""

from dataclasses import dataclass, replace

from .cameras import CAMERAS, Camera


@dataclass(frozen=True)
class Preset:
    """What a data set holds. The defaults are the demo's."""

    cameras: tuple[Camera, ...] = CAMERAS
    train_people: int = 120
    test_people: int = 60
    distractor_share: float = 0.15  # people only in case 2's gallery, per test person; the real set has 664 per 645
    changed_share: float = 0.0  # of the people wear another outfit in November than in October
    months: int = 1  # in which a tracklet is filmed: October, or October and November
    tracklets_per_view: int = 4
    frames: int = 8  # of each tracklet


def _harder(camera: Camera) -> Camera:
    """Put a drone higher, and blur, hide and compress more of what any camera sees."""
    shares = (0.15, 0.25, 0.30, 0.30) if camera.view == "aerial" else ()
    return replace(
        camera, altitude_shares=shares, jpeg_quality=camera.jpeg_quality - 35, motion_blur=0.05, crowding=1.7
    )


PRESETS = {
    "demo": Preset(),
    "hard": Preset(
        cameras=tuple(_harder(camera) for camera in CAMERAS),
        train_people=200,
        test_people=150,
        distractor_share=2 / 3,
        changed_share=1 / 3,
        months=2,
        tracklets_per_view=3,
        frames=4,
    ),
}
