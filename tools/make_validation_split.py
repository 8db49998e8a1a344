"""A local validation protocol carved from the training people of an AG-VPReID copy.

The challenge's test identities are masked, so nothing can be scored on them. This takes some people out of train/ and
writes a new copy, in the same layout, in which they are the test people of both directions.
"""

import argparse
import csv
import json
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from datasets.benchmarks.agvpreid import LAYOUT, AGVPReID, read_train
from datasets.benchmarks.dataset_options import DatasetOptions
from datasets.tracklet import Tracklet

logger = logging.getLogger(__name__)

PEOPLE_FILE = "validation_people.json"
# Draws of which the one with the likest altitudes is taken: a person has several, so strata alone leave that to chance.
NUM_DRAWS = 200
LINKS = ("symlink", "hard", "copy")
# Put before tracklet names that would otherwise look like those of the challenge's masked copy.
UNMASKED_PREFIX = "own_"

EPILOG = """\
example:
  python -m tools.make_validation_split /data/AG-VPReID data/AG-VPReID-validation
  python train_main.py --output_dir logs/validation DATASETS.ROOT_DIR data/AG-VPReID-validation
  python eval_main.py --output_dir logs/validation --custom_output_dir results/validation --eval_case all

People with tracklets from the ground and from the air become queries and gallery of both directions; others, or more
of them, are distractors: their aerial tracklets are in case 2's gallery without a query, as in the challenge. Both are
drawn evenly over the altitudes that people were seen from. Everybody else stays in train/.
"""


@dataclass(frozen=True)
class People:
    """Who is where; pids in ascending order.

    Attributes:
        train: Training people.
        test: Queries and gallery of both directions.
        distractors: In case 2's gallery only.
    """

    train: tuple[int, ...]
    test: tuple[int, ...]
    distractors: tuple[int, ...]


def choose_people(tracklets: Iterable[Tracklet], fraction: float, distractor_fraction: float, seed: int) -> People:
    """Draw test people and distractors.

    Args:
        tracklets: The training tracklets.
        fraction: Share of the people with both views who become test people.
        distractor_fraction: Share of all people with an aerial tracklet who become distractors.
        seed: Another seed draws others.
    Raises:
        ValueError: If fewer than two test people, or nobody to train on, would result.
    """
    views: dict[int, set[str]] = {}
    altitudes: dict[int, Counter[int | None]] = {}
    for tracklet in tracklets:
        views.setdefault(tracklet.pid, set()).add(tracklet.view)
        counts = altitudes.setdefault(tracklet.pid, Counter())
        if tracklet.view == "aerial":
            counts[tracklet.altitude] += 1

    def stratum(pid: int) -> Hashable:
        return len(views[pid]), tuple(sorted(altitudes[pid].keys() - {None}))

    def draw(pids: list[int], number: int) -> set[int]:
        wanted = shares(altitudes[pid] for pid in pids)
        draws = (draw_evenly(pids, stratum, number, rng) for _ in range(NUM_DRAWS))
        return min(draws, key=lambda drawn: distance(shares(altitudes[pid] for pid in sorted(drawn)), wanted))

    rng = np.random.default_rng(seed)
    both = [pid for pid in sorted(views) if len(views[pid]) == 2]
    test = draw(both, round(fraction * len(both)))
    if len(test) < 2:
        raise ValueError(
            f"A fraction of {fraction} makes {len(test)} test people of the {len(both)} who were seen from both ground "
            "and air; at least 2 are needed (--fraction)."
        )
    aerial = [pid for pid in sorted(views) if "aerial" in views[pid]]
    rest = [pid for pid in aerial if pid not in test]
    distractors = draw(rest, min(round(distractor_fraction * len(aerial)), len(rest)))
    train = tuple(sorted(views.keys() - test - distractors))
    if not train:
        raise ValueError("Nobody is left to train on: lower --fraction or --distractor_fraction.")
    return People(train, tuple(sorted(test)), tuple(sorted(distractors)))


def shares(counters: Iterable[Counter]) -> dict[int | None, float]:
    """Share of each altitude in the tracklets that all counters together count."""
    total: Counter = Counter()
    for counter in counters:
        total.update(counter)
    return {altitude: number / total.total() for altitude, number in total.items()}


def distance(one: dict[int | None, float], other: dict[int | None, float]) -> float:
    """Sum of the differences between shares, 0 to 2."""
    return sum(abs(one.get(key, 0.0) - other.get(key, 0.0)) for key in one.keys() | other.keys())


def draw_evenly(
    items: Sequence[int], stratum: Callable[[int], Hashable], number: int, rng: np.random.Generator
) -> set[int]:
    """Draw items so that each stratum gives its share of them, rounded up or down (systematic sampling).

    Args:
        items: What to draw from.
        stratum: Sortable group of an item.
        number: How many to draw, at most ``len(items)``.
        rng: Source of chance.
    """
    if number <= 0:
        return set()
    order = sorted(rng.permutation(items).tolist(), key=stratum)
    places = np.floor((np.arange(number) + rng.random()) * len(order) / number).astype(int)
    return {order[place] for place in places}


def write_split(source: Path, output: Path, tracklets: Sequence[Tracklet], people: People, link: str) -> None:
    """Write the new copy: tracklets and attribute tables.

    Args:
        source: The copy to carve from.
        output: Folder to write.
        tracklets: The source's training tracklets.
        people: Who goes where.
        link: 'symlink' (of tracklet folders), 'hard' (of files) or 'copy'.
    """
    test = [tracklet for tracklet in tracklets if tracklet.pid in people.test]
    names = {view: [tracklet.name for tracklet in test if tracklet.view == view] for view in ("ground", "aerial")}
    prefix = UNMASKED_PREFIX if LAYOUT.are_masked(names) else ""
    for split, view in LAYOUT.splits().items():
        pids = set(people.train if view is None else people.test)
        if split.startswith("case2") and split.endswith("gallery"):
            pids |= set(people.distractors)
        for tracklet in tracklets:
            if tracklet.pid in pids and view in (None, tracklet.view):
                name = tracklet.name if view is None else prefix + tracklet.name
                _write_tracklet(tracklet, output / split / str(tracklet.pid) / name, link)
        if (table := LAYOUT.attribute_table(source, "train")).is_file():
            _write_rows(table, LAYOUT.attribute_table(output, split), pids)


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
    """Copy the rows of some people as they are, odd codes included."""
    with source.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = list(csv.reader(file))
    column = [name.strip() for name in header].index("id")
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(row for row in rows if any(cell.strip() for cell in row) and int(row[column]) in pids)


def make_validation_split(
    source: Path,
    output: Path,
    fraction: float = 0.2,
    distractor_fraction: float = 0.1,
    seed: int = 0,
    link: str = "symlink",
    force: bool = False,
    index_dir: str = "",
) -> AGVPReID:
    """Carve the split and read it back.

    Args:
        source: AG-VPReID copy; only its train/ and attributes/train.csv are read.
        output: Folder for the new copy.
        fraction, distractor_fraction, seed: See ``choose_people``.
        link: See ``write_split``.
        force: Replace the split already in ``output``.
        index_dir: Where lists of frames are kept (DATASETS.INDEX_DIR); '' for the user's cache folder.
    Raises:
        FileExistsError: If ``output`` is not empty and ``force`` is not set, or holds something else than a split.
        FileNotFoundError, ValueError: If the source cannot be read, or has too few people.
    """
    if link not in LINKS:
        raise ValueError(f"link must be one of {', '.join(LINKS)}, got {link!r}.")
    here, there = output.resolve(), source.resolve()
    if here == there or here in there.parents or there in here.parents:
        raise ValueError(f"The output {output} and the source {source} must not lie in one another.")
    tracklets = read_train(source, index_dir)
    people = choose_people(tracklets, fraction, distractor_fraction, seed)
    _clear(output, force)
    output.mkdir(parents=True, exist_ok=True)
    # First, so that a run that was interrupted can be repeated with force.
    origin = {"source": str(there), "seed": seed, "fraction": fraction, "distractor_fraction": distractor_fraction}
    content = json.dumps({**origin, **asdict(people)}, indent=2) + "\n"
    (output / PEOPLE_FILE).write_text(content, encoding="utf-8")
    write_split(source, output, tracklets, people, link)
    return AGVPReID(output, options=DatasetOptions(index_dir=index_dir))


def _clear(output: Path, force: bool) -> None:
    """Make sure that the folder is empty; only ever removes what this tool wrote."""
    if not output.exists() or not any(output.iterdir()):
        return
    if not force:
        raise FileExistsError(f"{output} is not empty; choose another folder or pass --force.")
    if not (output / PEOPLE_FILE).is_file():
        raise FileExistsError(f"{output} holds no {PEOPLE_FILE}, so it is not a split to replace; choose another.")
    for name in sorted({split.split("/")[0] for split in LAYOUT.splits()} | {"attributes"}):
        if (output / name).is_dir():
            shutil.rmtree(output / name)  # of symbolic links only the links


def format_counts(dataset: AGVPReID) -> str:
    """People and tracklets of each split, and its tracklets by altitude."""
    splits = {"train": dataset.train}
    for case in dataset.cases.values():
        splits[f"{case.name}/query"] = case.query
        splits[f"{case.name}/gallery"] = case.gallery
    width = max(map(len, splits))
    lines = [f"{'split':<{width}}  people  tracklets    frames  tracklets by altitude"]
    for split, tracklets in splits.items():
        heights = Counter(tracklet.altitude for tracklet in tracklets if tracklet.view == "aerial")
        altitudes = [f"{metres} m {heights[metres]}" for metres in sorted(heights.keys() - {None})]
        altitudes += [f"unknown {heights[None]}"] if heights[None] else []
        altitudes += [f"ground {num_ground}"] if (num_ground := sum(t.view == "ground" for t in tracklets)) else []
        lines.append(
            f"{split:<{width}}  {len({t.pid for t in tracklets}):6d}  {len(tracklets):9d}  "
            f"{sum(len(t.frame_paths) for t in tracklets):8d}  {', '.join(altitudes)}"
        )
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    """Carve, write, and say what was written."""
    parser = argparse.ArgumentParser(
        description="Carve a validation protocol from the training people of an AG-VPReID copy.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", type=Path, help="AG-VPReID copy; only its train/ is used")
    parser.add_argument("output", type=Path, help="folder for the new copy")
    parser.add_argument(
        "--fraction", type=float, default=0.2, help="share of the people with both views to test on (%(default)s)"
    )
    parser.add_argument(
        "--distractor_fraction",
        type=float,
        default=0.1,
        help="share of the people seen from the air who are distractors (%(default)s)",
    )
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other people (%(default)s)")
    parser.add_argument("--link", choices=LINKS, default="symlink", help="how frames get there (%(default)s)")
    parser.add_argument(
        "--index_dir", default="", help="folder for lists of frames (DATASETS.INDEX_DIR); default: the user's cache"
    )
    parser.add_argument("--force", action="store_true", help="replace the split already in the output folder")
    args = parser.parse_args(argv)
    for name in ("fraction", "distractor_fraction"):
        if not 0 <= getattr(args, name) < 1:
            parser.error(f"--{name} must lie in 0..1, 1 excepted, got {getattr(args, name)}.")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        dataset = make_validation_split(
            args.source,
            args.output,
            args.fraction,
            args.distractor_fraction,
            args.seed,
            args.link,
            args.force,
            args.index_dir,
        )
    except (OSError, ValueError) as error:
        parser.error(str(error))
    logger.info("%s", format_counts(dataset))
    logger.info("Who is where: %s. Use it with DATASETS.ROOT_DIR %s", args.output / PEOPLE_FILE, args.output)


if __name__ == "__main__":
    main()
