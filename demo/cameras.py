"""Describe synthetic cameras: where they stand, how they change colour and detail, and the places that they film.

Cameras C0 and C1 stand for fixed CCTV, C2 and C3 for wearables, C4 and C5 for drones, as in AG-VPReID. Their colours
differ, which makes plain colour a weak cue.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from .shapes import View

ALTITUDES = (15, 30, 80, 120)  # metres; AG-VPReID's levels A0..A3
GROUND_TONES = {  # darkest and lightest albedo, linear
    "asphalt": ((0.05, 0.05, 0.055), (0.16, 0.16, 0.16)),
    "grass": ((0.03, 0.07, 0.02), (0.16, 0.24, 0.08)),
    "pavement": ((0.24, 0.23, 0.21), (0.46, 0.44, 0.41)),
    "gravel": ((0.16, 0.13, 0.10), (0.42, 0.36, 0.28)),
    "bricks": ((0.16, 0.08, 0.06), (0.34, 0.19, 0.14)),
}
TEXELS = 512  # side of a ground texture; it repeats
TEXELS_PER_METER = 40.0
PANORAMA_SHAPE = (160, 1024)  # elevation by azimuth
PANORAMA_ELEVATION = (-0.10, 0.60)  # radians
SCENE_CACHE = 64


@dataclass(frozen=True)
class Camera:
    """One camera."""

    camid: int  # 0-5
    view: str  # 'ground' or 'aerial'
    heights: tuple[float, ...]  # range of its height, metres; empty for drones, which fly at ALTITUDES
    altitude_shares: tuple[float, ...]  # share of tracklets on each of ALTITUDES; empty for ground cameras
    white_balance: tuple[float, ...]  # linear gain of red, green and blue
    exposure: float  # linear gain of all three
    contrast: float  # power on linear light; above 1 darkens the shadows
    saturation: float  # 0 is gray, 1 natural
    haze: float  # share of white veil, 0..1
    blur: float  # standard deviation of the lens blur, pixels
    noise: float  # standard deviation of the sensor noise, in 0..1 of full scale
    jpeg_quality: int  # PIL's quality of the saved frames
    place: int  # seed of the ground and the panorama
    motion_blur: float = 0.0  # mean way that people blur over, metres
    crowding: float = 1.0  # factor on how often an obstacle or a passer-by is in the way


# Colour casts were set by eye, to be strong but real.
CAMERAS = (
    Camera(0, "ground", (2.6, 3.2), (), (1.18, 1.00, 0.78), 1.05, 1.10, 0.95, 0.00, 0.5, 0.015, 82, 11),
    Camera(1, "ground", (2.3, 2.9), (), (0.84, 1.00, 1.22), 0.75, 0.90, 0.75, 0.04, 0.6, 0.020, 76, 12),
    Camera(2, "ground", (1.5, 1.8), (), (1.00, 1.06, 0.92), 1.35, 1.25, 1.20, 0.00, 0.4, 0.012, 85, 13),
    Camera(3, "ground", (1.5, 1.8), (), (1.10, 0.92, 1.05), 0.85, 1.00, 0.90, 0.02, 0.7, 0.025, 78, 14),
    Camera(4, "aerial", (), (0.40, 0.40, 0.20, 0.00), (0.92, 1.00, 1.16), 1.20, 0.85, 0.80, 0.08, 0.6, 0.015, 80, 15),
    Camera(5, "aerial", (), (0.20, 0.35, 0.33, 0.12), (1.14, 1.04, 0.84), 0.90, 1.15, 1.10, 0.05, 0.7, 0.020, 74, 16),
)


def make_cameras(rng: np.random.Generator) -> tuple[Camera, ...]:
    """Draw six cameras that stand like ``CAMERAS`` but see other places with other colours."""
    return tuple(
        replace(
            camera,
            white_balance=tuple(float(gain) for gain in np.exp(rng.normal(0.0, 0.13, 3))),
            exposure=float(np.exp(rng.normal(0.0, 0.25))),
            contrast=float(rng.uniform(0.82, 1.28)),
            saturation=float(rng.uniform(0.7, 1.2)),
            haze=float(rng.uniform(0.0, 0.09)),
            blur=float(rng.uniform(0.35, 0.75)),
            noise=float(rng.uniform(0.01, 0.025)),
            jpeg_quality=int(rng.integers(72, 88)),
            place=int(rng.integers(1 << 31)),
        )
        for camera in CAMERAS
    )


def develop(camera: Camera, linear: np.ndarray, exposure: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Turn linear light (H, W, 3), 1 is white, into the camera's picture, uint8; ``exposure`` (3,) is an extra gain."""
    image = linear * (np.asarray(camera.white_balance) * camera.exposure * exposure).astype(np.float32)
    image = camera.haze * 0.6 + (1.0 - camera.haze) * image
    side = np.float32(camera.blur**2 / 2)  # three taps along each axis have this variance, up to a blur of 0.8 pixels
    for lines in (image, image.transpose(1, 0, 2)):
        lines[1:-1] = (1 - 2 * side) * lines[1:-1] + side * (lines[:-2] + lines[2:])
    luma = image.mean(axis=2, keepdims=True)
    image = luma + camera.saturation * (image - luma)
    # The shoulder 1 - exp(-x) bends bright light instead of clipping it, as a camera's tone curve does.
    image = 1.0 - np.exp(-1.35 * np.maximum(image, 0.0))
    image = image ** np.float32(camera.contrast / 2.2)
    image += camera.noise * rng.standard_normal(image.shape, dtype=np.float32)
    return (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def smear(image: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Average a picture (H, W, 3) along a straight way of ``length`` pixels, as motion during the exposure does."""
    rows, columns = (np.arange(size) for size in image.shape[:2])
    way = np.linspace(-0.5, 0.5, 1 + int(length))[:, None] * length * (np.sin(angle), np.cos(angle))
    shifted = [
        image[np.clip(rows + down, 0, rows[-1])][:, np.clip(columns + right, 0, columns[-1])]
        for down, right in np.rint(way).astype(int)
    ]
    return np.asarray(np.mean(shifted, axis=0, dtype=np.float32))


class Scene:
    """One of a camera's places; variants differ in ground and panorama. Building takes a while."""

    def __init__(self, place: int, variant: int) -> None:
        rng = np.random.default_rng(np.random.SeedSequence([place, variant]))
        levels = [_ground_texture(list(GROUND_TONES)[rng.integers(len(GROUND_TONES))], rng)]
        while len(levels) < 6:
            half = len(levels[-1]) // 2
            levels.append(levels[-1].reshape(half, 2, half, 2, 3).mean(axis=(1, 3)))
        self.ground = [level.astype(np.float32) for level in levels]  # (S, S, 3); the smaller for distant views
        self.panorama = _panorama(rng).astype(np.float32)  # (160, 1024, 3)

    def background(self, view: View, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, ...]:
        """Look at the empty place, at pixel columns u (W,) and rows v (H,) divided by the focal length.

        Returns albedo or light (H, W, 3), and of each pixel (H, W) whether it shows the ground, and x and y, metres.
        """
        ray_x, ray_y, ray_z = (
            view.forward[axis] + u * view.right[axis] + (v * view.down[axis])[:, None] for axis in range(3)
        )
        on_ground = ray_z < -0.01
        reach = -view.position[2] / np.where(on_ground, ray_z, -1.0)
        on_ground &= reach < 60.0 + 2.0 * view.position[2]
        x, y = view.position[0] + reach * ray_x, view.position[1] + reach * ray_y
        texels_per_pixel = TEXELS_PER_METER * reach[len(v) // 2, len(u) // 2] / view.focal
        level = int(np.clip(np.log2(max(texels_per_pixel, 1.0)) + 0.5, 0, len(self.ground) - 1))
        texture = self.ground[level]
        scale = TEXELS_PER_METER / 2**level
        color = texture[(y * scale).astype(np.int64) % len(texture), (x * scale).astype(np.int64) % len(texture)]
        if not on_ground.all():
            beyond = ~on_ground
            color[beyond] = self._panorama_at(ray_x[beyond], ray_y[beyond], ray_z[beyond])
        return color, on_ground, x, y

    def _panorama_at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        low, high = PANORAMA_ELEVATION
        height, width = PANORAMA_SHAPE
        elevation = np.arctan2(z, np.hypot(x, y))
        row = np.clip((high - elevation) / (high - low) * height, 0, height - 1).astype(np.int64)
        column = (np.arctan2(y, x) / (2 * np.pi) * width).astype(np.int64) % width
        return self.panorama[row, column]


scene_of = lru_cache(maxsize=SCENE_CACHE)(Scene)


def _smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> np.ndarray:
    """Return repeating noise in 0..1, (H, W), interpolated between ``cells`` x ``cells`` random values."""
    noise = np.pad(rng.random((cells, cells)), ((0, 1), (0, 1)), mode="wrap")
    for size in shape[::-1]:  # columns first
        places = np.linspace(0, cells, size, endpoint=False)
        noise = np.stack([np.interp(places, np.arange(cells + 1), line) for line in noise], axis=1)
    return noise


def _ground_texture(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Return a repeating albedo texture (TEXELS, TEXELS, 3), linear."""
    shape = (TEXELS, TEXELS)
    coarse, fine = _smooth_noise(rng, shape, 9), _smooth_noise(rng, shape, 90)
    grain = rng.random(shape)
    mix = (0.5 * coarse + 0.3 * fine + 0.2 * grain)[..., None]
    dark, light = (np.asarray(tone) for tone in GROUND_TONES[kind])
    texture = dark + mix * (light - dark) * rng.uniform(0.8, 1.2)
    steps = np.arange(TEXELS)
    if kind in ("pavement", "bricks"):
        tile = 32 if kind == "pavement" else 16
        rows = steps // tile
        joint = (steps % tile < 2)[:, None] | ((steps[None, :] + (rows[:, None] % 2) * tile) % (2 * tile) < 2)
        texture[joint] *= 0.55
        shade = rng.uniform(0.8, 1.15, (TEXELS // tile + 1, TEXELS // (2 * tile) + 1))
        texture *= shade[rows][:, steps // (2 * tile)][..., None]
    if kind == "asphalt" and rng.random() < 0.6:
        lane = int(rng.integers(TEXELS))
        texture[:, lane : lane + 6] = 0.55
    return texture


def _ellipse(row: float, column: float, height: float, width: float) -> tuple[np.ndarray, ...]:
    """Return the rows and columns of a panorama's pixels in an ellipse with this centre and these half axes."""
    rows, columns = np.ogrid[: PANORAMA_SHAPE[0], : PANORAMA_SHAPE[1]]
    return np.nonzero(((rows - row) / height) ** 2 + ((columns - column) / width) ** 2 < 1)


def _panorama(rng: np.random.Generator) -> np.ndarray:
    """Draw the surroundings of the place, (160, 1024, 3): sky, buildings, trees, parked cars, people."""
    height, width = PANORAMA_SHAPE
    rows = np.linspace(0, 1, height)[:, None, None]
    sky = np.array([0.55, 0.68, 0.85]) * (1 - rows) + np.array([0.85, 0.86, 0.86]) * rows
    image = np.broadcast_to(sky, (height, width, 3)).copy()
    horizon = int(height * PANORAMA_ELEVATION[1] / (PANORAMA_ELEVATION[1] - PANORAMA_ELEVATION[0]))
    column = 0
    while column < width:
        span = int(rng.integers(40, 140))
        top = int(rng.integers(0, horizon - 20))
        wall = rng.uniform(0.06, 0.32) * (1.0 + rng.uniform(-0.15, 0.15, 3))
        image[top:, column : column + span] = wall
        storey, bay = int(rng.integers(14, 24)), int(rng.integers(8, 18))
        for row in range(top + 4, horizon, storey):
            for left in range(column + 3, min(column + span, width) - bay, bay):
                image[row : row + storey // 2, left : left + bay // 2] = wall * 0.3 + 0.1 * rng.random()
        column += span
    for _ in range(60):
        middle, size = (rng.uniform(0.1, 1.0) * horizon, rng.uniform(0, width)), rng.uniform(6, 26)
        leaf = np.array([0.06, 0.12, 0.04]) * rng.uniform(0.4, 1.8)
        spots = _ellipse(*middle, size * 1.2, size)
        image[spots] = leaf * rng.uniform(0.6, 1.4, (len(spots[0]), 1))
        trunk = int(middle[1])
        image[int(middle[0]) : horizon + 4, trunk : trunk + 3] *= 0.4
    for _ in range(25):
        paint, middle_x = rng.uniform(0.02, 0.35) * (1.0 + rng.uniform(-0.4, 0.4, 3)), rng.uniform(0, width)
        image[_ellipse(horizon + 1, middle_x, 8, rng.uniform(14, 24))] = paint
    for _ in range(30):
        spots = _ellipse(horizon - 2, rng.uniform(0, width), 10, 2.5)
        image[spots] = rng.uniform(0.02, 0.3) * (1.0 + rng.uniform(-0.5, 0.5, 3))
    image[horizon + 6 :] = 0.25
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="edge")
    return (padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] + image) / 5
