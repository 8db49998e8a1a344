"""Rank the tracklets that fit conditions (--where), by descriptors or by words, in memory and exactly.

The answers are the content of search.json: plain data. Axes: n rows, D vector width, Q queries, k neighbours.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from utils.mistake import Mistake
from utils.text import shorten
from utils.unknown import UNKNOWN

from .feature_file import COLUMNS, TEXT_TOWER, UNREAD, VIEWS, WORDS, FeatureTable, require_comparable
from .threshold import Threshold

Column = Literal["feature", "words"]  # which vectors of the tracklets a query is compared with
Entry = dict[str, Any]  # what results say about a tracklet (``FeatureTable.list_entries``)
Neighbours = list[tuple[Entry, float]]  # with squared Euclidean distances
DISTANCE, SIMILARITY = "distance", "similarity"
# Squared distance below which two features are of one tracklet, extracted twice: on other machines rounding differs.
SAME = 1e-6
ROUNDING = 1e-5  # of a squared distance in float32, in units of the largest squared length; measured: below 1e-6
FIRST, LAST = "1700-01-01", "2200-01-01"  # of a span without that end; databases count nanoseconds in 64 bits
BLOCK_ELEMENTS = 1 << 24  # distances computed at a time: 64 MiB


@dataclass(frozen=True)
class Condition:
    """Rows whose camera or view is one of some values, or whose time is in a span; unknown never fits."""

    column: str  # 'camera', 'view' or 'time'
    values: tuple[Any, ...]  # cameras or views; the first and the last moment, both included

    def as_expression(self) -> pc.Expression:
        """Return the condition for a table in memory."""
        column = pc.field(self.column)
        if self.column != "time":
            return column.isin(self.values)
        first, last = (pa.scalar(moment, COLUMNS["time"]) for moment in self.values)
        return (column >= first) & (column <= last)

    def as_sql(self) -> str:
        """Return the condition in the SQL of DataFusion."""
        if self.column != "time":
            return having(self.column, self.values)
        return "time BETWEEN " + " AND ".join(f"timestamp '{moment:%Y-%m-%d %H:%M:%S}'" for moment in self.values)


def having(column: str, words: Sequence[str]) -> str:
    """Return the SQL of a condition that a column holds one of some words."""
    quoted = ", ".join("'" + word.replace("'", "''") + "'" for word in words)
    return f"{column} IN ({quoted})"


def parse_condition(text: str) -> Condition:
    """Read a condition of the command line; an argparse type."""
    column, _, right = text.partition("=")
    try:
        if column == "camera" and right:
            return Condition(column, tuple(right.split(",")))
        if column == "view" and set(right.split(",")) <= {*VIEWS}:
            return Condition(column, tuple(right.split(",")))
        if column == "time" and right.strip("."):
            first, separator, last = right.partition("..")
            last = last if separator else first
            ends = (datetime.fromisoformat(first or FIRST), datetime.fromisoformat(last or LAST))
            if all(end.tzinfo is None for end in ends):  # times are those of the recording's clock
                is_day = len(last) == len("2023-10-17")
                return Condition(column, (ends[0], ends[1] + timedelta(days=1, seconds=-1) if is_day else ends[1]))
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(
        f"expected camera=3,5 or view=aerial or time=2023-10-17T10:00..2023-10-17T12:00, got {text!r}"
    )


class Gallery(Protocol):
    """Tracklets to search in; all but ``fetch`` concern those that fit --where."""

    name: str  # their file or table, for messages
    form: FeatureTable  # a table with their origin and widths, which may be empty

    def __len__(self) -> int: ...
    # whether any tracklet, those that do not fit included, is of this camera
    def has_camera(self, word: str) -> bool: ...
    def fetch(self, keys: Sequence[str]) -> FeatureTable: ...
    # for each vector, (Q, D), the k nearest, by distances in double precision
    def nearest(self, vectors: np.ndarray, k: int, column: Column) -> Iterator[Neighbours]: ...
    # within a squared distance of a feature, (D,), as ``nearest`` computes it
    def count_within(self, vector: np.ndarray, limit: float) -> int: ...


class MemoryGallery:
    """The tracklets of feature files; every vector is compared, and of equal distances the first row comes first."""

    def __init__(self, table: FeatureTable, name: str, where: Sequence[Condition] = ()) -> None:
        self.name, self.form = name, table
        rows = table.rows
        for condition in where:
            rows = rows.filter(condition.as_expression())
        self._searched = FeatureTable(rows)

    def __len__(self) -> int:
        return len(self._searched)

    def fetch(self, keys: Sequence[str]) -> FeatureTable:
        return self.form.select(keys, self.name)

    def has_camera(self, word: str) -> bool:
        return bool(pc.any(pc.equal(self.form.rows["camera"], word)).as_py())

    def nearest(self, vectors: np.ndarray, k: int, column: Column) -> Iterator[Neighbours]:
        rows = self._searched.words if column == WORDS else self._searched.features
        assert rows is not None
        for found, distances in find_nearest(rows, vectors, k):
            yield list(zip(self._searched.list_entries(found), distances, strict=True))

    def count_within(self, vector: np.ndarray, limit: float) -> int:
        rows = self._searched.features  # products in float32 leave few in doubt
        squares, length = np.einsum("nd,nd->n", rows, rows), float(np.square(vector, dtype=np.float64).sum())
        excess = squares - 2 * (rows @ vector) + (length - limit)
        slack = ROUNDING * max(float(squares.max(initial=0)), length)
        exact = np.square(rows[np.abs(excess) <= slack] - vector.astype(np.float64)).sum(axis=1)
        return int((excess < -slack).sum() + (exact <= limit).sum())


def find_nearest(rows: np.ndarray, vectors: np.ndarray, k: int) -> Iterator[tuple[list[int], list[float]]]:
    """Yield for each vector the numbers of the k nearest rows, and their squared distances.

    Products in float32 choose those that may be among the nearest of the rows, (n, D), to the vectors, (Q, D); their
    distances are computed in float64.
    """
    k = min(k, len(rows))
    squares = np.einsum("nd,nd->n", rows, rows)
    slack = ROUNDING * max(float(squares.max(initial=0)), float(np.square(vectors).sum(axis=1).max(initial=0)))
    step = max(1, BLOCK_ELEMENTS // max(1, len(rows)))
    for start in range(0, len(vectors), step):
        block = vectors[start : start + step]
        for vector, scores in zip(block, squares - 2 * (block @ rows.T), strict=True):
            candidates = np.flatnonzero(scores <= np.partition(scores, k - 1)[k - 1] + 2 * slack)
            distances = np.square(rows[candidates] - vector.astype(np.float64)).sum(axis=1)
            order = np.argsort(distances, kind="stable")[:k]
            yield candidates[order].tolist(), distances[order].tolist()


def find_tracklets(
    gallery: Gallery, queries: FeatureTable, top: int, threshold: Threshold | None = None
) -> dict[str, Any]:
    """Find the ``top`` tracklets nearest to each query, but for one with its key and feature: the query itself."""
    require_comparable(gallery.form, gallery.name, queries, "the file of queries")
    nearest = gallery.nearest(queries.features, top + 1, "feature")
    answers = []
    for query, vector, neighbours in zip(queries.list_entries(), queries.features, nearest, strict=True):
        others = [(entry, value) for entry, value in neighbours if entry["key"] != query["key"] or value > SAME]
        num_accepted = None
        if threshold:
            num_accepted = sum(value <= threshold.distance for _, value in others)
            if num_accepted >= top:  # there may be more than were found
                num_self = len(neighbours) - len(others)
                num_accepted = max(num_accepted, gallery.count_within(vector, threshold.distance) - num_self)
        answers.append((query, others[:top], num_accepted))
    return _collect(gallery, DISTANCE, answers, threshold, queries)


def find_texts(
    gallery: Gallery, texts: Sequence[str], vectors: np.ndarray, text_tower: str, top: int
) -> dict[str, Any]:
    """Find the tracklets that resemble each text most, by the inner product of its vector with their ``words``.

    ``vectors`` are those of the texts, (Q, P), float32, unit length; ``text_tower`` is the SHA-256 of what made them.
    """
    own = gallery.form.origin.get(TEXT_TOWER)
    if own != text_tower:
        raise Mistake(
            f"{gallery.name} was described with another text tower, of SHA-256 {own}; this one has {text_tower}."
        )
    queries = [{"key": text, "camera": UNKNOWN, "view": "", "time": "", "picture": ""} for text in texts]
    # Of vectors of length 1, the squared distance is 2 - 2 similarities.
    found = zip(queries, gallery.nearest(vectors, top, "words"), strict=True)
    answers = [(query, [(entry, 1 - value / 2) for entry, value in each], None) for query, each in found]
    return _collect(gallery, SIMILARITY, answers)


def _collect(
    gallery: Gallery,
    measure: str,
    found: Sequence[tuple[Entry, Neighbours, int | None]],
    threshold: Threshold | None = None,
    queried: FeatureTable | None = None,
) -> dict[str, Any]:
    """Return answers as search.json has them; what is accepted, and 'match', are None where nothing is judged.

    ``found`` has each query, its hits, and the number of tracklets within the threshold, of which they may be some.
    """
    answers: list[dict[str, Any]] = []
    pictures: list[str] = []
    for query, neighbours, num_accepted in found:
        hits = [
            {"rank": rank, **entry, measure: value, "accepted": threshold and value <= threshold.distance}
            for rank, (entry, value) in enumerate(neighbours, start=1)
        ]
        match = None if num_accepted is None else num_accepted > 0
        answers.append({**query, "match": match, "num_accepted": num_accepted, "found": hits})
        pictures += [query["picture"], *(hit["picture"] for hit in hits)]
    tables = [gallery.form] if queried is None else [gallery.form, queried]
    checkpoint = gallery.form.origin.get("checkpoint", "unknown")
    judged = threshold and {
        **asdict(threshold),
        "of_other_data": threshold.is_of_other_data(pictures),
        "of_other_model": threshold.is_of_other_model(checkpoint),
    }
    return {
        "checkpoint": checkpoint,
        "data": gallery.name,
        "date": date.today().isoformat(),
        "measure": measure,
        "tracklets_searched": len(gallery),
        "unread": sorted({table.origin[UNREAD] for table in tables if UNREAD in table.origin}),
        "threshold": judged,
        "queries": answers,
    }


def require_searchable(gallery: Gallery, with_words: bool, where: Sequence[Condition] = ()) -> None:
    """Refuse a gallery without a tracklet or, ``with_words``, without vectors that texts are compared with.

    A camera of ``where`` that no tracklet has is refused, too: it may be misspelt.
    """
    for word in (word for condition in where if condition.column == "camera" for word in condition.values):
        if not gallery.has_camera(word):
            raise Mistake(f"{gallery.name} has no tracklet of the camera {shorten(word)} (--where).")
    if not len(gallery):
        raise Mistake(f"{gallery.name} has no tracklet to search in, or none that fits --where.")
    if with_words and gallery.form.words is None:
        problem = f"{gallery.name} has no vectors to compare with texts"
        raise Mistake(f"{problem}: run `python -m tools.extract_features` again, with --text_tower FILE.")
