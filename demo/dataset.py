"""A data set of synthetic aerial-ground tracklets in the AG-VPReID layout.

No public aerial-ground video set may be shipped with a repository, so this one is drawn: people with clothes of many
colours walk past six cameras. It lets everyone train, evaluate and test the whole program without a download.
``render_dataset`` writes the tree that ``datasets.readers.agvpreid`` reads; ``demo.rendering`` draws
the tracklets.

A data set is rendered into a folder of its own and moved into place when it is complete, so an interrupted run leaves
nothing that looks like a data set. A list of all files is written with it; replacing a data set deletes only these.
"""

import csv
import functools
import logging
import os
import shutil
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from datasets.attributes import COLUMNS, UNKNOWN_CODES
from utils.mistake import Mistake
from utils.progress import track
from utils.text import read_lines

from .cameras import ALTITUDES, CAMERAS, Camera
from .people import Person
from .rendering import render_tracklet, sample_altitude

logger = logging.getLogger(__name__)

CASE1, CASE2 = "case1_aerial_to_ground", "case2_ground_to_aerial"
# Folders of a data set. train/ is moved into place last: training refuses a copy without it.
FOLDERS = ("attributes", CASE1, CASE2, "train")
FILE_LIST = "rendered_files.txt"  # names every file of the data set, relative to its root, one a line
UNFINISHED = ".unfinished_rendering"  # folder in the root that a data set is rendered into

DISTRACTOR_SHARE = 0.15  # identities only in case 2's gallery, per test identity; the real set has 664 per 645
UNKNOWN_SHARE = {"ethnicity": 0.85, "age": 0.05, "footwear": 0.15, "glasses": 0.10, "hair_color": 0.08}
UNKNOWN_SHARE_ELSE = 0.03  # AG-VPReID train.csv: ethnicity unknown for 589 of 689, other columns rarely
TRAIN, TEST, DISTRACTOR, TABLE = range(4)  # kinds of seed


def render_dataset(
    root: str | Path,
    seed: int = 0,
    num_train: int = 120,
    num_test: int = 60,
    tracklets_per_view: int = 4,
    frames_per_tracklet: int = 8,
    num_workers: int = 2,
    force: bool = False,
    progress: bool = False,
) -> None:
    """Write a data set in the AG-VPReID layout; the same arguments write the same bytes.

    Args:
        root: Folder to write.
        seed: Seed of all randomness, at least 0.
        num_train: Training identities; they come first in the numbering.
        num_test: Test identities; not both numbers may be 0.
        tracklets_per_view: Aerial tracklets, and as many ground ones, of each identity; at least 1.
        frames_per_tracklet: Frames of each tracklet, at least 1.
        num_workers: Processes that render, at least 1; they do not change the result.
        force: Replace a data set of this function that is already in ``root``; other files are never deleted.
        progress: Show a progress bar.
    Raises:
        ValueError: If a number is out of range.
        FileExistsError: If ``root`` is not empty and ``force`` is not set, or if a folder to replace holds files that
            this function did not write.
        OSError: If ``root`` cannot be written.
    """
    _check_numbers(
        (seed, "seed", 0),
        (num_train, "num_train", 0),
        (num_test, "num_test", 0),
        (num_train + num_test, "num_train + num_test", 1),
        (tracklets_per_view, "tracklets_per_view", 1),
        (frames_per_tracklet, "frames_per_tracklet", 1),
        (num_workers, "num_workers", 1),
    )
    root = Path(root)
    _check_root(root, force)
    unfinished = root / UNFINISHED
    _make_empty(unfinished)
    num_distractors = round(DISTRACTOR_SHARE * num_test)
    kinds = [TRAIN] * num_train + [TEST] * num_test + [DISTRACTOR] * num_distractors
    write = functools.partial(_write_identity, unfinished, seed, tracklets_per_view, frames_per_tracklet)
    try:
        with closing(_write_identities(write, list(enumerate(kinds)), num_workers)) as written:
            for _ in track(written, "rendering", "person", len(kinds), enabled=progress):
                pass
        _write_tables(unfinished, seed, kinds)
        files = sorted(path.relative_to(unfinished).as_posix() for path in unfinished.rglob("*") if path.is_file())
        (unfinished / FILE_LIST).write_text("".join(f"{name}\n" for name in files), encoding="utf-8")
        _put_in_place(unfinished, root)
    except BaseException:
        logger.error("The data set was not finished, so nothing of it is kept in %s.", root)
        raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    logger.info(
        "Wrote %d training, %d test and %d distractor identities to %s", num_train, num_test, num_distractors, root
    )


def _check_numbers(*numbers: tuple[int, str, int]) -> None:
    """Check that each (value, name, minimum) is not below its minimum."""
    for value, name, minimum in numbers:
        if value < minimum:
            raise Mistake(f"{name} must be at least {minimum}, got {value}.")


def _check_root(root: Path, force: bool) -> None:
    """Check that ``root`` is free, or holds a data set that ``force`` may replace."""
    if root.exists() and not root.is_dir():
        raise Mistake(f"{root} is a file, not a folder.")
    if not root.is_dir() or {path.name for path in root.iterdir()} <= {UNFINISHED}:
        return
    if not force:
        raise Mistake(f"{root} is not empty; choose another folder or pass --force (force=True).")
    _check_ours(root)


def _check_ours(root: Path) -> None:
    """Check that the folders of a data set in ``root`` hold nothing but files that ``render_dataset`` wrote."""
    listing = root / FILE_LIST
    ours = set(read_lines(listing)) if listing.is_file() else set()
    for path in (path for folder in FOLDERS for path in ((root / folder), *sorted((root / folder).rglob("*")))):
        is_folder = path.is_dir() and not path.is_symlink()
        if os.path.lexists(path) and not is_folder and path.relative_to(root).as_posix() not in ours:
            raise Mistake(
                f"{path} is not listed in {listing}, so it is not part of a data set that was rendered here and will "
                "not be deleted. Choose another folder, or move it away."
            )


def _make_empty(folder: Path) -> None:
    """Create the folder for an unfinished data set; a killed run may have left one."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    except OSError as error:
        raise Mistake(f"Cannot write the data set to {folder}: {error.strerror}.") from error


def _put_in_place(unfinished: Path, root: Path) -> None:
    """Replace the data set in ``root``, if there is one, with the finished one."""
    _check_ours(root)  # again: rendering takes minutes
    for folder in FOLDERS:
        if (root / folder).exists():
            shutil.rmtree(root / folder)
    os.replace(unfinished / FILE_LIST, root / FILE_LIST)
    for folder in FOLDERS:
        if (unfinished / folder).exists():
            os.replace(unfinished / folder, root / folder)


def _write_identities(
    write: Callable[[tuple[int, int]], None], identities: Sequence[tuple[int, int]], num_workers: int
) -> Generator[None, None, None]:
    """Write the identities, one for each item; after an error or Ctrl-C, no worker is left that writes."""
    if num_workers == 1:
        yield from map(write, identities)
        return
    with ProcessPoolExecutor(min(num_workers, len(identities)), initializer=_ignore_interrupts) as pool:
        try:
            yield from pool.map(write, identities, chunksize=2)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _ignore_interrupts() -> None:
    """Leave Ctrl-C, which reaches all processes, to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _generator(*key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(key))


def identity(seed: int, kind: int, pid: int) -> Person:
    """Return the person with this pid in the data set with this seed."""
    return Person.sample(_generator(seed, kind, pid))


def _write_identity(
    root: Path, seed: int, tracklets_per_view: int, frames_per_tracklet: int, numbered: tuple[int, int]
) -> None:
    """Render all tracklets of one identity into the splits that hold them."""
    pid, kind = numbered
    person = identity(seed, kind, pid)
    for view in ("aerial", "ground"):
        if kind == DISTRACTOR and view == "ground":
            continue
        cameras = [camera for camera in CAMERAS if camera.view == view]
        for index in range(tracklets_per_view):
            rng = _generator(seed, kind, pid, view == "aerial", index)
            camera = cameras[(pid + index) % len(cameras)]
            altitude = sample_altitude(camera, rng) if view == "aerial" else None
            frames = render_tracklet(person, camera, frames_per_tracklet, rng, altitude)
            tracklet = f"{pid:04d}C{camera.camid}T{index + 1:03d}"
            first, *copies = [root / split / f"{pid:04d}" / tracklet for split in _splits(kind, view)]
            first.mkdir(parents=True)
            names = _frame_names(pid, camera, altitude, index, len(frames), rng)
            for name, frame in zip(names, frames, strict=True):
                Image.fromarray(frame).save(first / name, quality=camera.jpeg_quality)
            for folder in copies:
                shutil.copytree(first, folder, copy_function=_link_or_copy)


def _splits(kind: int, view: str) -> tuple[str, ...]:
    if kind == TRAIN:
        return ("train",)
    if kind == DISTRACTOR:
        return (f"{CASE2}/gallery",)
    if view == "aerial":
        return f"{CASE1}/query", f"{CASE2}/gallery"
    return f"{CASE1}/gallery", f"{CASE2}/query"


def _frame_names(
    pid: int, camera: Camera, altitude: int | None, index: int, count: int, rng: np.random.Generator
) -> list[str]:
    """Name frames in AG-VPReID's grammar: person of the day, date and half-day, altitude, camera and so on."""
    person_of_day, day, half = rng.integers(1, 400), rng.integers(1, 29), rng.integers(2)
    level = 0 if altitude is None else ALTITUDES.index(altitude)
    stem = f"P{person_of_day}T2310{day:02d}{half}A{level}C{camera.camid}E{pid % 200 + 1}K{index + 1}"
    first, step = rng.integers(1, 9000), rng.integers(3, 7)
    return [f"{stem}F{first + step * frame}.jpg" for frame in range(count)]


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # file systems without hard links
        shutil.copyfile(source, target)


def _write_tables(root: Path, seed: int, kinds: list[int]) -> None:
    """Write the attribute tables; different cells are unknown in the tables of the two views."""
    rows: dict[tuple[int, str], list[list[int]]] = {}
    for pid, kind in enumerate(kinds):
        attributes = identity(seed, kind, pid).attributes
        for index, view in enumerate(("aerial", "ground")):
            rng = _generator(seed, TABLE, pid, index)
            seen = [
                UNKNOWN_CODES[column]
                if rng.random() < UNKNOWN_SHARE.get(column, UNKNOWN_SHARE_ELSE)
                else attributes[column]
                for column in COLUMNS
            ]
            rows.setdefault((kind, view), []).append([pid, *seen])
    test_aerial, test_ground = rows.get((TEST, "aerial"), []), rows.get((TEST, "ground"), [])
    tables = {
        "train": rows.get((TRAIN, "ground"), []),
        f"{CASE1}/query": test_aerial,
        f"{CASE1}/gallery": test_ground,
        f"{CASE2}/query": test_ground,
        f"{CASE2}/gallery": test_aerial + rows.get((DISTRACTOR, "aerial"), []),
    }
    for name, table in tables.items():
        path = root / "attributes" / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("id", *COLUMNS))
            writer.writerows(table)
