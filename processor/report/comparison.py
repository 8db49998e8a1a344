"""Compares two evaluations of the same queries: paired differences over people, and the queries that changed most."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.bootstrap import PairedDifference, compare_paired
from utils.mistake import Mistake
from utils.tables import format_table

from .averages import read_rows, warn_of_other_settings
from .queries import ScoredQueries, read_queries

logger = logging.getLogger(__name__)

OVERALL = "overall"
COMPARED = ("R1", "mAP", "mINP")
NUM_CHANGES = 10


@dataclass(frozen=True, eq=False)
class PairedQueries:
    """The queries that a method ranked in both evaluations, in one order.

    Attributes:
        method: As in the results.
        direction: As in the results; or 'overall', for all directions of the method.
        first, second: Scores of the two evaluations.
    """

    method: str
    direction: str
    first: ScoredQueries
    second: ScoredQueries

    def differences(self) -> dict[str, PairedDifference]:
        """Test the difference of each compared measure, second minus first, over people."""
        first, second = self.first.measures(), self.second.measures()
        return {name: compare_paired(first[name], second[name], self.first.pids) for name in COMPARED}


def read_pairs(first: Path, second: Path) -> list[PairedQueries]:
    """Read two evaluations, and pair their queries by key.

    Args:
        first, second: Folders of results, or a file in each.
    Returns:
        The directions of each method that is in both, then 'overall' where a method has several. What is in one
        evaluation only, and settings that differ, are warned about.
    Raises:
        FileNotFoundError: If a file is missing.
        ValueError: If a file is damaged, if the evaluations were scored by other protocols, have no method and
            direction in common, or differ in their queries.
    """
    folders = [path.parent if path.is_file() else path for path in (first, second)]
    _require_one_protocol([folder / "results.json" for folder in folders])
    warn_of_other_settings([folder / "results.json" for folder in folders])
    one, other = (read_queries(folder / "queries.csv") for folder in folders)
    for part in sorted(one.keys() ^ other.keys()):
        logger.warning("Only %s has %s: left out.", folders[0] if part in one else folders[1], " | ".join(part))
    common = [part for part in one if part in other]
    if not common:
        raise Mistake(f"{folders[0]} and {folders[1]} have no method and direction in common.")
    for part in common:
        if odd := sorted(set(one[part].keys) ^ set(other[part].keys)):
            raise Mistake(
                f"{folders[0]} and {folders[1]} hold different queries of {' | '.join(part)}: {len(odd)} are in one "
                f"only, such as {odd[0]}. Compare evaluations of one data set."
            )
    return _with_overall([PairedQueries(*part, one[part], _in_order_of(one[part], other[part])) for part in common])


def _require_one_protocol(paths: Sequence[Path]) -> None:
    first, second = (sorted({protocol for _, _, protocol in read_rows(path)}) for path in paths)
    if first != second:
        raise Mistake(
            f"{paths[0]} was scored by {', '.join(first)}, but {paths[1]} by {', '.join(second)}: evaluate both with "
            "the same TEST.PROTOCOL and DATASETS.EVAL_CASE."
        )


def _in_order_of(one: ScoredQueries, other: ScoredQueries) -> ScoredQueries:
    positions = {key: index for index, key in enumerate(other.keys)}
    return other.take([positions[key] for key in one.keys])


def _with_overall(pairs: Sequence[PairedQueries]) -> list[PairedQueries]:
    """Add 'overall' behind the directions of each method that has several."""
    rows: list[PairedQueries] = []
    for method in dict.fromkeys(pair.method for pair in pairs):
        own = [pair for pair in pairs if pair.method == method]
        rows += own
        if len(own) > 1:
            first = ScoredQueries.join([pair.first for pair in own])
            second = ScoredQueries.join([pair.second for pair in own])
            rows.append(PairedQueries(method, OVERALL, first, second))
    return rows


def format_differences(pairs: Sequence[PairedQueries]) -> str:
    """Lay out the differences in percent, with their 95 % intervals and p values."""
    rows = []
    for pair in pairs:
        first, second = pair.first.measures(), pair.second.measures()
        for name, result in pair.differences().items():
            means = [f"{100 * values[name].mean():.2f}" for values in (first, second)]
            interval = f"{100 * result.low:+.2f} to {100 * result.high:+.2f}"
            change = f"{100 * result.difference:+.2f}"
            rows.append([pair.method, pair.direction, name, *means, change, interval, f"{result.p_value:.4f}"])
    header = ["method", "direction", "measure", "first", "second", "difference", "95 % interval", "p"]
    return format_table(header, rows, align="<<<>>>>>")


def format_changes(pairs: Sequence[PairedQueries], better: bool) -> str:
    """Lay out the queries whose average precision rose (``better``) or fell most, ranked by the first method."""
    rows = []
    for pair in pairs:
        if pair.method == pairs[0].method and pair.direction != OVERALL:
            first, second = pair.first, pair.second
            rises = (second.average_precisions - first.average_precisions) * (1 if better else -1)
            for index in np.argsort(-rises, kind="stable")[:NUM_CHANGES]:
                precisions = [100 * side.average_precisions[index] for side in (first, second)]
                ranks = [f"{side.first_ranks[index]:g}" for side in (first, second)]
                rows.append(
                    (rises[index], [first.keys[index], pair.direction, *map("{:.2f}".format, precisions), *ranks])
                )
    largest = sorted((row for row in rows if row[0] > 0), key=lambda row: -row[0])[:NUM_CHANGES]
    title = f"{'better' if better else 'worse'} with the second"
    header = [title, "direction", "AP first", "AP second", "rank first", "rank second"]
    return format_table(header, [cells for _, cells in largest], align="<<>>>>")
