"""A validation split of AG-VPReID: some training people become the test people of a new copy in the same layout.

The challenge masks its test identities, so nothing can be scored on them; on a validation split, both directions can.
"""

import csv
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from utils.mistake import Mistake
from utils.tables import format_table
from utils.text import read_lines

from ..tracklet import Tracklet
from .agvpreid import LAYOUT, are_masked, read_agvpreid
from .case_folders import read_train
from .dataset import DataSet, DatasetOptions

PEOPLE_FILE = "validation_people.json"
FILE_LIST = "validation_files.txt"  # names every file and link of the split, relative to its folder, one a line
# Stratified drawing does not control how often each altitude occurs, as a person may have several. So many sets are
# drawn, and the one whose altitudes are distributed most like those of all candidates is kept.
NUM_DRAWS = 200
LINKS = ("symlink", "hard", "copy")
# Put before tracklet names that would otherwise look like those of the challenge's masked copy.
UNMASKED_PREFIX = "own_"


@dataclass(frozen=True)
class SplitSettings:
    """Which people to draw.

    Attributes:
        fraction: Share of the people seen from both ground and air who become test people, 0..1, below 1.
        distractor_fraction: Share of the people seen from the air who become distractors, 0..1, below 1.
        seed: Seed of the draw.
    """

    fraction: float = 0.2
    distractor_fraction: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("fraction", "distractor_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise Mistake(f"{name} must be at least 0 and below 1, got {getattr(self, name)}.")


@dataclass(frozen=True)
class People:
    """The people of each part of a validation split, as pids in ascending order.

    Attributes:
        train: Training people.
        test: People who are queries and gallery of both directions.
        distractors: People who are in the gallery of case 2 only.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    distractors: tuple[int, ...]


def make_validation_split(
    source: Path,
    output: Path,
    settings: SplitSettings,
    link: str = "symlink",
    force: bool = False,
    index_dir: str = "",
) -> DataSet:
    """Write a validation split and read it back.

    Args:
        source: Copy of AG-VPReID, of which only train/ and attributes/train.csv are read.
        output: Folder for the new copy.
        settings: Which people to draw.
        link: How frames get there: 'symlink' links tracklet folders, 'hard' links files, 'copy' copies files.
        force: Whether to replace a validation split that is already in ``output``; other files are never deleted.
        index_dir: Where lists of frames are kept (DATASETS.INDEX_DIR); '' for the user's cache folder.
    Raises:
        FileExistsError: If ``output`` is not empty and ``force`` is not set, if it holds something else than a
            validation split, or if the folders to replace hold files that this function did not write.
        FileNotFoundError: If the source is missing.
        ValueError: If the source cannot be read or has too few people, or if one folder is in the other.
    """
    if link not in LINKS:
        raise Mistake(f"link must be one of {', '.join(LINKS)}, got {link!r}.")
    absolute_output, absolute_source = output.resolve(), source.resolve()
    if absolute_output.is_relative_to(absolute_source) or absolute_source.is_relative_to(absolute_output):
        raise Mistake(f"The output {output} and the source {source} must not lie in one another.")
    tracklets = read_train(LAYOUT, source, index_dir)
    people = choose_people(tracklets, settings)
    _clear(output, force)
    output.mkdir(parents=True, exist_ok=True)
    # Both lists come first, so that an interrupted run can be repeated with force.
    content = {"source": str(absolute_source), **asdict(settings), **asdict(people)}
    (output / PEOPLE_FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    _write_file_list(source, output, tracklets, people, link)
    _write_split(source, output, tracklets, people, link)
    return read_agvpreid(output, DatasetOptions(index_dir=index_dir))


def choose_people(tracklets: Iterable[Tracklet], settings: SplitSettings) -> People:
    """Draw test people and distractors; both have nearly the same altitudes as the people they are drawn from.

    Args:
        tracklets: The training tracklets.
        settings: How many people to draw, and the seed.
    Raises:
        ValueError: If fewer than two test people, or no training people, would result.
    """
    views: dict[int, set[str]] = {}
    altitudes: dict[int, Counter[int | None]] = {}
    for tracklet in tracklets:
        views.setdefault(tracklet.pid, set()).add(tracklet.view)
        counts = altitudes.setdefault(tracklet.pid, Counter())
        if tracklet.view == "aerial":
            counts[tracklet.altitude] += 1

    rng = np.random.default_rng(settings.seed)
    both = [pid for pid in sorted(views) if len(views[pid]) == 2]
    test = _draw_people(both, round(settings.fraction * len(both)), views, altitudes, rng)
    if len(test) < 2:
        raise Mistake(
            f"A fraction of {settings.fraction} makes {len(test)} test people of the {len(both)} who were seen from "
            "both ground and air; at least 2 are needed (--fraction)."
        )
    aerial = [pid for pid in sorted(views) if "aerial" in views[pid]]
    rest = [pid for pid in aerial if pid not in test]
    num_distractors = min(round(settings.distractor_fraction * len(aerial)), len(rest))
    distractors = _draw_people(rest, num_distractors, views, altitudes, rng)
    train = tuple(sorted(views.keys() - test - distractors))
    if not train:
        raise Mistake("Nobody is left to train on: lower --fraction or --distractor_fraction.")
    return People(train, tuple(sorted(test)), tuple(sorted(distractors)))


def _draw_people(
    pids: Sequence[int],
    number: int,
    views: Mapping[int, set[str]],
    altitudes: Mapping[int, Counter[int | None]],
    rng: np.random.Generator,
) -> set[int]:
    """Draw people, stratified by their views and altitudes; see ``NUM_DRAWS``."""

    def stratum(pid: int) -> tuple:
        return len(views[pid]), tuple(sorted(altitude for altitude in altitudes[pid] if altitude is not None))

    def difference_from_all(drawn: set[int]) -> float:
        return _total_difference(_altitude_shares(altitudes[pid] for pid in sorted(drawn)), shares_of_all)

    shares_of_all = _altitude_shares(altitudes[pid] for pid in pids)
    return min((draw_stratified(pids, stratum, number, rng) for _ in range(NUM_DRAWS)), key=difference_from_all)


def _altitude_shares(counters: Iterable[Counter[int | None]]) -> dict[int | None, float]:
    """Return the share of each altitude in the tracklets that all counters together count."""
    total: Counter[int | None] = Counter()
    for counter in counters:
        total.update(counter)
    return {altitude: number / total.total() for altitude, number in total.items()}


def _total_difference(one: Mapping[int | None, float], other: Mapping[int | None, float]) -> float:
    """Return the sum of the absolute differences between the shares of two distributions, 0..2."""
    return sum(abs(one.get(key, 0.0) - other.get(key, 0.0)) for key in one.keys() | other.keys())


def draw_stratified(
    items: Sequence[int], stratum: Callable[[int], tuple], number: int, rng: np.random.Generator
) -> set[int]:
    """Draw items by systematic sampling: each stratum contributes its share of them, rounded up or down.

    Args:
        items: Items to draw from.
        stratum: Returns the group of an item; groups are compared to sort them.
        number: How many to draw, at most ``len(items)``.
        rng: Random generator.
    """
    if number <= 0:
        return set()
    order = sorted(rng.permutation(items).tolist(), key=stratum)
    places = np.floor((np.arange(number) + rng.random()) * len(order) / number).astype(int)
    return {order[place] for place in places}


def _write_file_list(source: Path, output: Path, tracklets: Sequence[Tracklet], people: People, link: str) -> None:
    """List the files and links that ``_write_split`` will write."""
    with (output / FILE_LIST).open("w", encoding="utf-8") as file:
        for table in _plan_tables(source, output).values():
            file.write(f"{table.relative_to(output).as_posix()}\n")
        for tracklet, folder in _plan_tracklets(output, tracklets, people):
            place = folder.relative_to(output).as_posix()
            names = [""] if link == "symlink" else [f"/{Path(path).name}" for path in tracklet.frame_paths]
            file.writelines(f"{place}{name}\n" for name in names)


def _write_split(source: Path, output: Path, tracklets: Sequence[Tracklet], people: People, link: str) -> None:
    """Write tracklets and attribute tables of the new copy."""
    for tracklet, folder in _plan_tracklets(output, tracklets, people):
        _write_tracklet(tracklet, folder, link)
    for split, table in _plan_tables(source, output).items():
        _write_rows(LAYOUT.attribute_table(source, "train"), table, _people_of(split, people))


def _plan_tracklets(output: Path, tracklets: Sequence[Tracklet], people: People) -> Iterator[tuple[Tracklet, Path]]:
    """Yield each tracklet of each split of the new copy, with its folder there."""
    test = [tracklet for tracklet in tracklets if tracklet.pid in people.test]
    names = {view: [tracklet.name for tracklet in test if tracklet.view == view] for view in ("ground", "aerial")}
    prefix = UNMASKED_PREFIX if are_masked(names) else ""
    for split, view in LAYOUT.splits().items():
        pids = _people_of(split, people)
        for tracklet in tracklets:
            if tracklet.pid in pids and view in (None, tracklet.view):
                name = tracklet.name if view is None else prefix + tracklet.name
                yield tracklet, output / split / str(tracklet.pid) / name


def _plan_tables(source: Path, output: Path) -> dict[str, Path]:
    """Return the path of each split's attribute table in the new copy; there are none if the source has none."""
    if not LAYOUT.attribute_table(source, "train").is_file():
        return {}
    return {split: LAYOUT.attribute_table(output, split) for split in LAYOUT.splits()}


def _people_of(split: str, people: People) -> set[int]:
    """Return the people of a split of the new copy."""
    if split == "train":
        return set(people.train)
    is_last_gallery = split.startswith("case2") and split.endswith("gallery")
    return {*people.test, *(people.distractors if is_last_gallery else ())}


def _write_tracklet(tracklet: Tracklet, target: Path, link: str) -> None:
    source = Path(tracklet.frame_paths[0]).parent.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    if link == "symlink":
        target.symlink_to(source, target_is_directory=True)
        return
    target.mkdir()
    for path in map(Path, tracklet.frame_paths):
        if link == "hard":
            os.link(path.resolve(), target / path.name)
        else:
            shutil.copy2(path, target / path.name)


def _write_rows(source: Path, target: Path, pids: set[int]) -> None:
    """Copy the rows of some people from an attribute table, unknown codes included."""
    with source.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = list(csv.reader(file))
    column = [name.strip() for name in header].index("id")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(row for row in rows if any(cell.strip() for cell in row) and int(row[column]) in pids)


def _clear(output: Path, force: bool) -> None:
    """Empty the output folder; with ``force``, remove the validation split in it, and nothing else."""
    if not output.exists() or not any(output.iterdir()):
        return
    if not force:
        raise Mistake(f"{output} is not empty; choose another folder or pass --force.")
    if not (output / PEOPLE_FILE).is_file():
        raise Mistake(f"{output} holds no {PEOPLE_FILE}, so it is not a split to replace; choose another.")
    files, folders = _find_own(output)
    for path in files:
        path.unlink()  # removes a symbolic link, not the folder that it leads to
    for folder in reversed(folders):  # the innermost first
        folder.rmdir()


def _find_own(output: Path) -> tuple[list[Path], list[Path]]:
    """Return the files and links of the split in a folder, and the folders that hold them, the outermost first.

    Raises:
        FileExistsError: If one of these folders holds a file that is not listed in ``FILE_LIST``.
    """
    listing = output / FILE_LIST
    listed = set(read_lines(listing)) if listing.is_file() else set()
    files, folders = [], []
    for name in sorted({split.split("/")[0] for split in LAYOUT.splits()} | {LAYOUT.table_folder}):
        for path in (output / name, *sorted((output / name).rglob("*"))):
            if path.is_dir() and not path.is_symlink():
                folders.append(path)
            elif os.path.lexists(path):
                if path.relative_to(output).as_posix() not in listed:
                    raise Mistake(
                        f"{path} is not listed in {listing}, so it is not part of the split and will not be deleted. "
                        "Choose another folder, or move it away."
                    )
                files.append(path)
    return files, folders


def format_splits(dataset: DataSet) -> str:
    """Lay out a table of people, tracklets and frames of each split, with its tracklets by altitude."""
    splits = {"train": dataset.train}
    for case in dataset.cases.values():
        splits[f"{case.name}/query"] = case.query
        splits[f"{case.name}/gallery"] = case.gallery
    rows = []
    for split, tracklets in splits.items():
        num_people = len({tracklet.pid for tracklet in tracklets})
        num_frames = sum(len(tracklet.frame_paths) for tracklet in tracklets)
        rows.append([split, num_people, len(tracklets), num_frames, _format_altitudes(tracklets)])
    return format_table(["split", "people", "tracklets", "frames", "tracklets by altitude"], rows, "<>>><")


def _format_altitudes(tracklets: Sequence[Tracklet]) -> str:
    """Write how many tracklets come from each altitude: '80 m 8, unknown 2, ground 6'."""
    altitudes = [tracklet.altitude for tracklet in tracklets if tracklet.view == "aerial"]
    counts = Counter(altitude for altitude in altitudes if altitude is not None)
    parts = [f"{metres} m {counts[metres]}" for metres in sorted(counts)]
    parts += [f"unknown {num_unknown}"] if (num_unknown := altitudes.count(None)) else []
    parts += [f"ground {num_ground}"] if (num_ground := len(tracklets) - len(altitudes)) else []
    return ", ".join(parts)
