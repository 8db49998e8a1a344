"""What the commands of tools/search.py do, from files to files."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from model.text_space import open_text_space
from utils.files import lock_folder
from utils.mistake import Mistake

from .described import read_described
from .find import find_texts, find_tracklets, require_words
from .index import TrackletIndex, read_index, require_index, write_index
from .results import format_answers, write_results
from .threshold import Threshold, read_threshold

logger = logging.getLogger(__name__)


def build(path: Path, features: Sequence[Path]) -> None:
    """Make an index of files of described tracklets. FileExistsError: if there is a file already."""
    first, *others = features
    index = TrackletIndex(read_described(first))
    _add_all(index, others, replaces=False)
    with _lock(path):
        if path.exists():
            raise Mistake(f"{path} exists: `add` puts tracklets into an index; delete the file to build it anew.")
        _write(index, path)


def add(path: Path, features: Sequence[Path], replaces: bool) -> None:
    """Add files of described tracklets to an index, all or none."""
    require_index(path)
    with _lock(path):
        index = read_index(path)
        _add_all(index, features, replaces)
        _write(index, path)


def remove(path: Path, keys: Sequence[str]) -> None:
    """Remove tracklets from an index, all or none."""
    require_index(path)
    with _lock(path):
        index = read_index(path)
        index.remove(keys)
        _write(index, path)


def choose_threshold(max_distance: float | None, results: Path | None, rate: float) -> Threshold | None:
    """Return the threshold that the options ask for, None for none. ValueError: if it makes no sense."""
    if results is not None:
        if not 0 <= rate <= 1:
            raise Mistake(f"--false_positive_rate must be a share, 0 to 1, got {rate:g}.")
        return read_threshold(results, rate)
    if max_distance is None:
        return None
    if not (math.isfinite(max_distance) and max_distance >= 0):
        raise Mistake(f"--max_distance must be a squared distance of at least 0, got {max_distance:g}.")
    return Threshold(max_distance, "--max_distance")


def find(
    path: Path,
    queries: Path | None,
    keys: Sequence[str] | None,
    top: int,
    threshold: Threshold | None,
    output: Path | None,
) -> None:
    """Answer queries, log a table, and write files if a folder is named.

    Args:
        path: File of the index.
        queries: File of described tracklets; None for the index's own.
        keys: Which of them; None for all.
        top: Tracklets found for each.
        threshold: Says which are accepted.
        output: The folder.
    """
    index = read_index(path)
    if threshold and threshold.false_positive_rate is not None and index.tracklets.has_any_length:
        raise Mistake(
            f"{path} holds descriptors of any length (TEST.FEAT_NORM False), --results compares those of length 1: "
            "name a --max_distance."
        )
    described, source = (read_described(queries), str(queries)) if queries else (index.tracklets, str(path))
    if keys:
        described = described.select(described.find_rows(keys, source))
    answers = find_tracklets(index, described, source, top, threshold)
    logger.info("%s", format_answers(answers))
    if threshold is None:
        logger.info("Everything is ranked and nothing is judged: --max_distance or --results says what is no match.")
    else:
        logger.info("Accepted up to a distance of %.4g (%s)", threshold.distance, threshold.reason)
        if estimate := threshold.estimate_strangers(len(index)):
            logger.info("%s", estimate)
        logger.info("%d of %d queries have no match", answers.num_unmatched, len(answers.answers))
    if output is not None:
        logger.info("Written: %s", ", ".join(map(str, write_results(answers, output))))


def find_words(path: Path, texts: Sequence[str], text_tower: Path, top: int, output: Path | None) -> None:
    """Find the tracklets that resemble texts, log a table, and write files if a folder is named.

    Args:
        path: File of the index.
        texts: Descriptions in words.
        text_tower: The file that the index's tracklets were described with.
        top: Tracklets found for each.
        output: The folder.
    """
    index = read_index(path)
    require_words(index)  # before the towers are opened, which takes seconds
    space = open_text_space(text_tower)
    answers = find_texts(index, texts, space.encode_texts(texts).numpy(), space.sha256, top)
    logger.info("%s", format_answers(answers))
    if output is not None:
        logger.info("Written: %s", ", ".join(map(str, write_results(answers, output))))


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Refuse other commands that change an index: what they read would be out of date when they write.

    The lock has a hidden folder of its own, which stays: one that is removed could be locked twice.
    """
    folder = path.with_name(f".{path.name}.lock")
    folder.mkdir(parents=True, exist_ok=True)
    with lock_folder(folder, option="another INDEX"):
        yield


def _add_all(index: TrackletIndex, features: Sequence[Path], replaces: bool) -> None:
    for path in features:
        index.add(read_described(path), str(path), replaces)


def _write(index: TrackletIndex, path: Path) -> None:
    write_index(index, path)
    logger.info("%s holds %d tracklets", path, len(index))
