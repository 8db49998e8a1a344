"""Render a data set of synthetic aerial-ground tracklets in the AG-VPReID layout, or one picture of the people.

No public aerial-ground video set may be shipped with a repository, so this one is drawn.
"""

import csv
import functools
import logging
import shutil
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from datasets.attributes import COLUMNS, UNKNOWN_CODES
from utils.files import whole_folder
from utils.progress import track

from .cameras import ALTITUDES, CAMERAS, Camera
from .people import Person
from .rendering import map_in_processes, render_tracklet, sample_altitude

logger = logging.getLogger(__name__)

CASE1, CASE2 = "case1_aerial_to_ground", "case2_ground_to_aerial"

UNKNOWN_SHARE = {"ethnicity": 0.85, "age": 0.05, "footwear": 0.15, "glasses": 0.10, "hair_color": 0.08}
UNKNOWN_SHARE_ELSE = 0.03  # AG-VPReID train.csv: ethnicity unknown for 589 of 689, other columns rarely
TRAIN, TEST, DISTRACTOR, TABLE, WARDROBE = range(5)  # kinds of seed
# The splits that hold the tracklets of a kind of person and a view.
SPLITS: dict[tuple[int, str], tuple[str, ...]] = {
    (TRAIN, "aerial"): ("train",),
    (TRAIN, "ground"): ("train",),
    (TEST, "aerial"): (f"{CASE1}/query", f"{CASE2}/gallery"),
    (TEST, "ground"): (f"{CASE1}/gallery", f"{CASE2}/query"),
    (DISTRACTOR, "aerial"): (f"{CASE2}/gallery",),
    (DISTRACTOR, "ground"): (),
}
SIDES = ("aerial", "ground")

SHEET_FRAMES = 2  # of each tracklet
CELL = (130, 80)  # height and width, pixels
CAPTION_HEIGHT = 26  # pixels
FONT_SIZE = 13  # the longest caption is as wide as a sheet
MAX_ZOOM = 2.5  # small aerial crops grow by at most this, so that they stay visibly small


@dataclass(frozen=True)
class Preset:
    """What a data set holds: who is in it, how often, and how hard to recognise. The defaults are the demo's."""

    cameras: tuple[Camera, ...] = CAMERAS
    train_people: int = 120
    test_people: int = 60
    distractor_share: float = 0.15  # people only in case 2's gallery, per test person; the real set has 664 per 645
    changed_share: float = 0.0  # of the people wear another outfit in November than in October
    months: int = 1  # in which a tracklet is filmed: October, or October and November
    tracklets_per_view: int = 4
    frames: int = 8  # of each tracklet
    test_frames: int = 0  # of each tracklet of people who are not for training; 0: as many


def _harder(camera: Camera) -> Camera:
    """Put a drone higher and behind haze, strengthen colour casts, and blur, hide and compress more of what is seen."""
    is_drone = camera.view == "aerial"
    return replace(
        camera,
        altitude_shares=(0.15, 0.25, 0.30, 0.30) if is_drone else (),
        white_balance=tuple(gain**1.7 for gain in camera.white_balance),
        saturation=camera.saturation * (0.8 if is_drone else 1.0),
        haze=camera.haze + (0.08 if is_drone else 0.0),
        jpeg_quality=camera.jpeg_quality - 35,
        motion_blur=0.05,
        crowding=1.7,
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
        test_frames=16,  # so that the number of clips at test matters
    ),
}


def render_dataset(
    root: str | Path,
    preset: Preset = PRESETS["demo"],
    seed: int = 0,
    num_workers: int = 2,
    force: bool = False,
) -> None:
    """Write a data set in the AG-VPReID layout, whole or not at all; the same arguments write the same bytes.

    The training identities come first in the numbering. ``num_workers`` processes render. ``force`` replaces a data set
    of this function that is already in ``root``; other files are never deleted.
    """
    counts = preset.train_people, preset.test_people, round(preset.distractor_share * preset.test_people)
    kinds = [kind for kind, count in zip((TRAIN, TEST, DISTRACTOR), counts, strict=True) for _ in range(count)]
    with whole_folder(Path(root), force) as folder:
        write = functools.partial(_write_identity, folder, preset, seed)
        with closing(map_in_processes(write, list(enumerate(kinds)), num_workers, chunksize=2)) as written:
            for _ in track(written, "rendering", "person", len(kinds)):
                pass
        _write_tables(folder, seed, kinds)
    logger.info("Wrote %d training, %d test and %d distractor identities to %s", *counts, root)


def identity(seed: int, kind: int, pid: int) -> Person:
    """Return the person with this pid in the data set with this seed."""
    return Person(np.random.default_rng([seed, kind, pid]))


def _write_identity(root: Path, preset: Preset, seed: int, numbered: tuple[int, int]) -> None:
    """Render all tracklets of one identity into the splits that hold them."""
    pid, kind = numbered
    person, wardrobe = identity(seed, kind, pid), np.random.default_rng([seed, WARDROBE, kind, pid])
    other = person.redressed(wardrobe) if wardrobe.random() < preset.changed_share else person
    num_frames = preset.frames if kind == TRAIN else preset.test_frames or preset.frames
    for view in SIDES:
        cameras = [camera for camera in preset.cameras if camera.view == view]
        for index in range(preset.tracklets_per_view if SPLITS[kind, view] else 0):
            rng = np.random.default_rng([seed, kind, pid, view == "aerial", index])
            camera = cameras[(pid + index) % len(cameras)]
            altitude = sample_altitude(camera, rng) if view == "aerial" else None
            month = 10 + int(wardrobe.integers(preset.months))
            frames = render_tracklet(other if month > 10 else person, camera, num_frames, rng, altitude)
            tracklet = f"{pid:04d}C{camera.camid}T{index + 1:03d}"
            first, *copies = [root / split / f"{pid:04d}" / tracklet for split in SPLITS[kind, view]]
            first.mkdir(parents=True)
            # In AG-VPReID's grammar: person of the day, date and half-day, altitude, camera and so on.
            person_of_day, day, half = rng.integers(1, 400), rng.integers(1, 29), rng.integers(2)
            level = 0 if altitude is None else ALTITUDES.index(altitude)
            stem = f"P{person_of_day}T23{month}{day:02d}{half}A{level}C{camera.camid}E{pid % 200 + 1}K{index + 1}"
            number, step = rng.integers(1, 9000), rng.integers(3, 7)
            for place, frame in enumerate(frames):
                name = f"{stem}F{number + step * place}.jpg"
                Image.fromarray(frame).save(first / name, quality=camera.jpeg_quality)
            for folder in copies:
                shutil.copytree(first, folder)


def _write_tables(root: Path, seed: int, kinds: list[int]) -> None:
    """Write the attribute tables; different cells are unknown in the tables of the two views."""
    tables: dict[str, list[list[int]]] = {name: [] for splits in SPLITS.values() for name in splits}
    for pid, kind in enumerate(kinds):
        attributes = identity(seed, kind, pid).attributes
        for index, view in enumerate(SIDES):
            rng = np.random.default_rng([seed, TABLE, pid, index])
            is_unknown = {column: rng.random() < UNKNOWN_SHARE.get(column, UNKNOWN_SHARE_ELSE) for column in COLUMNS}
            row = [pid, *((UNKNOWN_CODES if is_unknown[column] else attributes)[column] for column in COLUMNS)]
            for split in SPLITS[kind, view]:
                if (split, view) != ("train", "aerial"):  # one row a person, from the ground
                    tables[split].append(row)
    for name, rows in tables.items():
        path = root / "attributes" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("id", *COLUMNS), *rows])


def write_contact_sheet(path: Path, preset: Preset, seed: int, num_people: int, width: int | None) -> None:
    """Write a PNG file of people in rows, with captions if ``width`` is None: ground cameras left, altitudes right."""
    drones = [camera for camera in preset.cameras if camera.view == "aerial"]
    shots: list[tuple[Camera, int | None]] = [(camera, None) for camera in preset.cameras if camera.view == "ground"]
    shots += [(drones[index % len(drones)], altitude) for index, altitude in enumerate(ALTITUDES)]
    row_height = CELL[0] + CAPTION_HEIGHT * (width is None)
    sheet = Image.new("RGB", (len(shots) * SHEET_FRAMES * CELL[1], num_people * row_height), "white")
    for row in range(num_people):
        person = Person(np.random.default_rng([seed, row]))
        if width is None:
            words = person.caption()
            place, font = (4, row * row_height + CELL[0] + 2), ImageFont.load_default(FONT_SIZE)
            ImageDraw.Draw(sheet).text(place, f"{words[0].upper()}{words[1:]}.", fill="black", font=font)
        for index, (camera, altitude) in enumerate(shots):
            rng = np.random.default_rng([seed, row, index])
            frames = render_tracklet(person, camera, 2 * SHEET_FRAMES, rng, altitude)[::2]
            for column, frame in enumerate(map(Image.fromarray, frames), start=index * SHEET_FRAMES):
                zoom = min((CELL[0] - 4) / frame.height, (CELL[1] - 4) / frame.width, MAX_ZOOM)
                size = max(int(frame.width * zoom), 1), max(int(frame.height * zoom), 1)
                sheet.paste(frame.resize(size, Image.Resampling.BICUBIC), (column * CELL[1], row * row_height))
    if width is not None:
        sheet = sheet.resize((width, round(width * sheet.height / sheet.width)), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)
    logger.info("Wrote %s, %d KiB.", path, path.stat().st_size // 1024)
