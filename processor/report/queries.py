"""The file of per-query scores, queries.csv: written by an evaluation, read to compare two of them."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datasets import Tracklet
from utils.mistake import Mistake
from utils.text import read_text

from ..evaluation.results import Evaluation
from .measures import measures_by_query

COLUMNS = (
    "method",
    "direction",
    "key",
    "pid",
    "camid",
    "view",
    "altitude",
    "day",
    "num_frames",
    "average_precision",
    "first_match_rank",
    "inverse_negative_penalty",
)


@dataclass(frozen=True, eq=False)
class ScoredQueries:
    """The counted queries of one method, in one direction or several.

    Attributes:
        keys: Key of each query's tracklet, V of them; each once in a direction.
        pids: Identities, (V,), int64.
        average_precisions, inverse_penalties: 0..1, (V,).
        first_ranks: Rank of the first true match, from 1, (V,), float64; infinity without a true match.
    """

    keys: list[str]
    pids: np.ndarray
    average_precisions: np.ndarray
    first_ranks: np.ndarray
    inverse_penalties: np.ndarray

    def measures(self) -> dict[str, np.ndarray]:
        """Return the value of every measure for each query, (V,)."""
        return measures_by_query(self.first_ranks, self.average_precisions, self.inverse_penalties)

    @classmethod
    def join(cls, parts: Sequence["ScoredQueries"]) -> "ScoredQueries":
        """Join the queries of several directions."""
        return cls(
            [key for part in parts for key in part.keys],
            np.concatenate([part.pids for part in parts]),
            np.concatenate([part.average_precisions for part in parts]),
            np.concatenate([part.first_ranks for part in parts]),
            np.concatenate([part.inverse_penalties for part in parts]),
        )

    def take(self, order: list[int]) -> "ScoredQueries":
        """Return the queries at these positions, in this order."""
        return ScoredQueries(
            [self.keys[index] for index in order],
            self.pids[order],
            self.average_precisions[order],
            self.first_ranks[order],
            self.inverse_penalties[order],
        )


def write_queries(path: Path, evaluation: Evaluation) -> None:
    """Write a row for each method and counted query: numbers with all digits, and an empty cell for what is unknown."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for method, result, ranking in evaluation.scored_rankings():
            scores = zip(
                result.valid_queries(method),
                ranking.average_precisions.tolist(),
                ranking.first_ranks.tolist(),
                ranking.inverse_penalties.tolist(),
                strict=True,
            )
            writer.writerows((method, result.case.title, *_identify(query), *row) for query, *row in scores)


def _identify(query: Tracklet) -> Iterator[object]:
    yield from (query.key, query.pid, query.camid, query.view, query.altitude, query.day, len(query.frame_paths))


def read_queries(path: Path) -> dict[tuple[str, str], ScoredQueries]:
    """Read a file of ``write_queries``.

    Returns:
        The queries by method and direction, in the file's order.
    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is not one of ``write_queries``, holds no query, or holds a query twice.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    parts: dict[tuple[str, str], list[dict[str, str]]] = {}
    try:
        for row in reader:
            parts.setdefault((row["method"], row["direction"]), []).append(row)
        queries = {part: _parse(rows) for part, rows in parts.items()}
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise Mistake(f"{path} is not a queries.csv of eval_main.py: {error!r}.") from error
    if not queries:
        raise Mistake(f"{path} holds no query.")
    for (method, direction), scored in queries.items():
        if len(set(scored.keys)) < len(scored.keys):
            raise Mistake(f"{path} holds a query of {method}, {direction} twice.")
    return queries


def _parse(rows: list[dict[str, str]]) -> ScoredQueries:
    return ScoredQueries(
        [row["key"] for row in rows],
        np.array([int(row["pid"]) for row in rows]),
        np.array([float(row["average_precision"]) for row in rows]),
        np.array([float(row["first_match_rank"]) for row in rows]),
        np.array([float(row["inverse_negative_penalty"]) for row in rows]),
    )
