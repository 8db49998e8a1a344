"""Render one tracklet: a synthetic person walks past a synthetic camera, and at times an obstacle or a passer-by."""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np

from utils.stopping import leave_signals_to_parent

from .body import walking_body
from .cameras import ALTITUDES, Camera, Scene, develop, scene_of, smear
from .people import Person
from .shapes import Canvas, Light, Part, View, barrel, ellipsoid, place, shadow

OVERSAMPLING = 2
GROUND_BOX_HEIGHT = (62.0, 114.0)  # pixels of a standing adult in ground views
AERIAL_SCALE = {15: 66.0, 30: 50.0, 80: 30.0, 120: 20.0}  # pixels per metre on each altitude
GROUND_DISTANCE = (4.0, 13.0)  # metres
AERIAL_PITCH = (45.0, 78.0)  # degrees below the horizon
FRAME_STEP = (0.12, 0.25)  # seconds between the sampled frames of a tracklet
VARIANTS = 4  # places per camera
SHADE_CHANCE = 0.3
OVERCAST_CHANCE = 0.3
PASSER_BY_CHANCE = 0.22
OBSTACLE_CHANCE = {"ground": 0.3, "aerial": 0.18}
LEAF_CLUMPS, LEAF_WAVES = 8, 9.0  # clumps per bush, and how fine their mottling is
SHADOW_PARTS = 6  # the largest parts, which make nearly all of the shadow


def map_in_processes(
    function: Callable[[Any], Any], items: Sequence[Any], num_workers: int, chunksize: int
) -> Generator[Any, None, None]:
    """Call a function for each item, in order; after an error or Ctrl-C, no worker is left that writes."""
    if num_workers == 1:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(min(num_workers, len(items)), initializer=leave_signals_to_parent, initargs=(0,)) as pool:
        try:
            yield from pool.map(function, items, chunksize=chunksize)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def render_tracklet(
    person: Person, camera: Camera, num_frames: int, rng: np.random.Generator, altitude: int | None = None
) -> list[np.ndarray]:
    """Film a person walking by; returns crops (H, W, 3), uint8, RGB, of varying sizes.

    ``rng`` draws place, light, path, occlusion, box errors and noise, and the altitude of aerial cameras if it is None.
    """
    shot = _Shot(person, camera, altitude, rng)
    phase = rng.uniform(0.0, 2 * np.pi)
    step = rng.uniform(*FRAME_STEP)
    times = step * (np.arange(num_frames) - num_frames / 2)
    return [shot.render(time, phase + 2 * np.pi * person.cadence * time, rng) for time in times]


def sample_altitude(camera: Camera, rng: np.random.Generator) -> int:
    """Draw one of ``ALTITUDES`` for an aerial camera, in metres."""
    return int(rng.choice(ALTITUDES, p=camera.altitude_shares))


class _Shot:
    """Everything that stays fixed during a tracklet. The order of the draws decides what is seen."""

    def __init__(self, person: Person, camera: Camera, altitude: int | None, rng: np.random.Generator) -> None:
        self.person, self.camera = person, camera
        self.motion = rng.spawn(1)[0]  # draws the blur, so that the other draws are the same without it
        azimuth = rng.uniform(0.0, 2 * np.pi)
        self.start = np.append(rng.uniform(0.0, 50.0, 2), 0.0)
        if camera.view == "aerial":
            altitude = sample_altitude(camera, rng) if altitude is None else altitude
            height, distance = float(altitude), altitude / np.tan(np.deg2rad(rng.uniform(*AERIAL_PITCH)))
            self.pixels_per_meter = AERIAL_SCALE[altitude] * rng.uniform(0.85, 1.15)
        else:
            lowest, highest = camera.heights
            height, distance = rng.uniform(lowest, highest), rng.uniform(*GROUND_DISTANCE)
            self.pixels_per_meter = rng.uniform(*GROUND_BOX_HEIGHT) / 1.75
        toward = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
        aside = np.array([-toward[1], toward[0], 0.0])
        self.position = self.start - toward * distance + (0.0, 0.0, height)
        self.heading = rng.uniform(0.0, 2 * np.pi)
        speed = person.cadence * 4 * np.sin(person.stride) * 0.5 * person.stature
        self.walk = speed * np.array([-np.sin(self.heading), np.cos(self.heading), 0.0])  # metres per second
        self.passer_by = Person(rng) if rng.random() < PASSER_BY_CHANCE * camera.crowding else None
        nearness, sideways = rng.uniform(-0.7, 0.8), rng.uniform(0.35, 0.75) * rng.choice((-1.0, 1.0))
        self.passer_by_offset = aside * sideways - toward * nearness
        self.scene = scene_of(camera.place, int(rng.integers(VARIANTS)))
        self.light = _sample_light(rng)
        self.exposure = np.exp(rng.normal(0.0, 0.22) + rng.normal(0.0, 0.05, 3))
        self.roll = rng.normal(0.0, 0.03)
        self.looseness = rng.normal((1.14, 1.08, 0.0, 0.0), (0.07, 0.05, 0.05, 0.04))
        self.clutter = _sample_clutter(rng, camera, self.start, toward, aside, distance)
        self.passer_by_heading = self.heading if rng.random() < 0.5 else rng.uniform(0.0, 2 * np.pi)

    def render(self, time: float, phase: float, rng: np.random.Generator) -> np.ndarray:
        """Render a frame, seconds from the middle of the tracklet; ``phase`` of the gait in radians."""
        where = self.start + self.walk * time
        body = place(walking_body(self.person, phase), where, self.heading)
        # The camera follows at half the walker's speed, as drones and operators do; obstacles stay in place.
        target = where + (0.0, 0.0, self.person.stature / 2)
        view = View(self.position + self.walk * time * 0.5, target, self.pixels_per_meter, self.roll)
        canvas = Canvas(view, _window(view, body, self.looseness, rng), OVERSAMPLING)
        parts = body + self.clutter
        if self.passer_by is not None:
            stride = walking_body(self.passer_by, phase * 0.9 + 1.0)
            parts += place(stride, where + self.passer_by_offset, self.passer_by_heading)
        canvas.draw(parts, self.light)
        length = self.motion.exponential(self.camera.motion_blur) * self.pixels_per_meter
        picture = smear(_compose(canvas, self.scene, self.light, parts), length, self.motion.uniform(0.0, np.pi))
        return develop(self.camera, picture, self.exposure, rng)


def _sample_light(rng: np.random.Generator) -> Light:
    elevation, azimuth = np.deg2rad(rng.uniform(20.0, 65.0)), rng.uniform(0.0, 2 * np.pi)
    direction = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    warmth = rng.uniform(-0.05, 0.22) * (1.0 - np.sin(elevation))
    weather = rng.random()
    sun, sky = rng.uniform(0.7, 1.1), rng.uniform(0.28, 0.45)
    if weather < SHADE_CHANCE:
        sun, sky = 0.0, rng.uniform(0.35, 0.6)
    elif weather < SHADE_CHANCE + OVERCAST_CHANCE:
        sun, sky = rng.uniform(0.1, 0.3), rng.uniform(0.6, 0.9)
    blueness = rng.uniform(0.0, 0.12)
    return Light(
        direction,
        np.array([1.0 + warmth, 1.0, 1.0 - 1.5 * warmth], dtype=np.float32) * np.float32(sun),
        np.array([1.0 - blueness, 1.0, 1.0 + blueness], dtype=np.float32) * np.float32(sky),
    )


def _sample_clutter(
    rng: np.random.Generator, camera: Camera, start: np.ndarray, toward: np.ndarray, aside: np.ndarray, distance: float
) -> list[Part]:
    """Draw at most one obstacle: a pole, a bush or a car; for drones a branch or a car."""
    if rng.random() >= OBSTACLE_CHANCE[camera.view] * camera.crowding:
        return []
    sideways = aside * rng.normal(0.0, 0.45)
    if camera.view == "aerial":
        if rng.random() < 0.4:
            return _car(rng, start + aside * rng.choice((-1.0, 1.0)) * rng.uniform(1.2, 1.7), rng.uniform(0, np.pi))
        rise = rng.uniform(3.0, 5.0)
        return _foliage(rng, start - toward * rise * distance / 30.0 + sideways + (0.0, 0.0, rise), 0.35)
    near = start - toward * rng.uniform(0.7, min(2.0, 0.4 * distance)) + sideways
    kind = rng.choice(("pole", "bush", "car"), p=(0.45, 0.4, 0.15))
    if kind == "pole":
        metal = tuple(rng.uniform(0.05, 0.4) * np.ones(3))
        return [barrel(near + (0, 0, 4.0), near, 0.05, 0.07, metal, bulge=0.1)]
    if kind == "bush":
        return _foliage(rng, near + (0, 0, 0.2), 0.32)
    middle = near + aside * rng.choice((-1.0, 1.0)) * rng.uniform(1.4, 2.2) - toward * 0.5
    return _car(rng, middle, np.arctan2(aside[1], aside[0]) - np.pi / 2)


def _foliage(rng: np.random.Generator, middle: np.ndarray, size: float) -> list[Part]:
    """Draw a bush or branch around ``middle`` (3,), ``size`` metres in radius, made of clumps of mottled leaves."""
    green = np.array([0.06, 0.13, 0.035], dtype=np.float32) * np.float32(rng.uniform(0.6, 1.6))

    def leaves(points: np.ndarray) -> np.ndarray:
        x, y, z = LEAF_WAVES * points
        return green * (1.0 + 0.6 * np.sin(x + 2.0 * np.sin(y)) * np.sin(z + 2.0 * np.sin(x)))[:, None]

    return [
        ellipsoid(middle + rng.normal(0.0, size * 0.6, 3), size * rng.uniform(0.25, 0.7, 3), leaves)
        for _ in range(LEAF_CLUMPS)
    ]


def _car(rng: np.random.Generator, middle: np.ndarray, heading: float) -> list[Part]:
    body = tuple(rng.choice(([0.5] * 3, [0.05] * 3, [0.75] * 3, [0.35, 0.03, 0.03], [0.04, 0.08, 0.3])))
    glass, tyre = (0.03, 0.04, 0.05), (0.02, 0.02, 0.02)
    parts = [
        ellipsoid((0.0, 0.0, 0.48), (0.80, 2.2, 0.34), body),
        ellipsoid((0.0, -0.15, 0.72), (0.66, 1.1, 0.36), glass),
        ellipsoid((0.0, -0.15, 0.90), (0.56, 0.8, 0.22), body),
    ]
    parts += [ellipsoid((x, y, 0.3), (0.12, 0.32, 0.32), tyre) for x in (-0.75, 0.75) for y in (-1.35, 1.35)]
    return place(parts, middle, heading)


def _window(
    view: View, body: list[Part], looseness: np.ndarray, rng: np.random.Generator
) -> tuple[float, float, int, int]:
    """Return the crop (left, top, width, height): the body's box, made loose and shifted as a detector's is."""
    boxes = view.extents(body)
    (left, top), (right, bottom) = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    width, height, shift_x, shift_y = looseness + rng.normal(0.0, 0.02, 4)
    middle_x = (left + right) / 2 + shift_x * (bottom - top) * 0.6
    middle_y = (top + bottom) / 2 + shift_y * (bottom - top)
    width, height = max(int((right - left) * width), 10), max(int((bottom - top) * height), 14)
    width = max(width, int(0.36 * height))
    return middle_x - width / 2, middle_y - height / 2, width, height


def _compose(canvas: Canvas, scene: Scene, light: Light, parts: list[Part]) -> np.ndarray:
    """Average each pixel's rays and lay them over the place with its shadows; returns (H, W, 3), linear light."""
    cover = canvas.average(canvas.cover)[..., None]
    front = canvas.average(canvas.color)
    u, v = (axis.reshape(-1, canvas.oversampling).mean(axis=1) for axis in (canvas.u, canvas.v))
    albedo, on_ground, x, y = scene.background(canvas.view, u, v)
    lit = np.ones(on_ground.shape, dtype=np.float32)
    if light.sun[1] > 0.0:
        largest = sorted(parts, key=lambda part: -float(np.prod(part.radii)))[:SHADOW_PARTS]
        lit[shadow(largest, x, y, light.sun_direction)] = 0.0
    direct = np.float32(light.sun_direction[2]) * light.sun
    ground = albedo * (light.sky + lit[..., None] * direct)
    distant = albedo * np.float32(light.sky[1] + 0.5 * light.sun[1])
    back = np.where(on_ground[..., None], ground, distant)
    return front + (1.0 - cover) * back
