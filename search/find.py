"""Rank tracklets for each query, by descriptors or by words, in memory and exactly.

Axes: n rows, D vector width, Q queries, k neighbours.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from utils.mistake import Mistake
from utils.unknown import UNKNOWN

from .feature_file import TEXT_TOWER, FeatureTable, require_comparable
from .threshold import Threshold
from .where import Condition, select_rows

Column = Literal["feature", "words"]  # which vectors of the tracklets a query is compared with
DISTANCE, SIMILARITY = "distance", "similarity"
# Squared distance below which two features are of one tracklet, extracted twice: on other machines rounding differs.
SAME = 1e-6
ROUNDING = 1e-5  # of a squared distance in float32, in units of the largest squared length; measured: below 1e-6
BLOCK_ELEMENTS = 1 << 24  # distances computed at a time: 64 MiB


@dataclass(frozen=True)
class Entry:
    """A tracklet, or a text, as results name it."""

    key: str  # the tracklet's, or the text
    camera: int = UNKNOWN  # as annotated; -1 where unknown
    view: str = ""  # 'aerial' or 'ground'; '' where unknown
    time: str = ""  # in the form 2023-10-17T10:00:00; '' where unknown
    picture: str = ""  # path of a frame; '' for none


@dataclass(frozen=True)
class Hit:
    """A tracklet that was found, and its distance to the query, or its similarity."""

    tracklet: Entry
    value: float


@dataclass(frozen=True)
class Answer:
    """What was found for a query."""

    query: Entry  # what was asked for
    hits: tuple[Hit, ...]  # nearest first
    num_accepted: int | None = None  # how many of them, the first ones, are within the threshold; None without one


@dataclass(frozen=True)
class Answers:
    """The answers to all queries."""

    answers: Sequence[Answer]  # in the order of the queries
    measure: str  # what the hits' values are, ``DISTANCE`` or ``SIMILARITY``
    num_searched: int  # tracklets that were searched
    threshold: Threshold | None = None  # by which hits were accepted; None if everything is ranked and nothing judged

    @property
    def num_unmatched(self) -> int:
        """Queries that are answered 'no match': a threshold was given, and nothing is within it."""
        return sum(answer.num_accepted == 0 for answer in self.answers)


class Gallery(Protocol):
    """Tracklets to search in."""

    name: str  # their file or table, for messages
    form: FeatureTable  # a table with their origin and widths, which may be empty

    def __len__(self) -> int:
        """Count the tracklets that fit --where."""

    def fetch(self, keys: Sequence[str]) -> FeatureTable:
        """Return tracklets by their keys, whether they fit --where or not."""

    def nearest(self, vectors: np.ndarray, k: int, column: Column) -> Iterator[list[Hit]]:
        """Yield for each vector, (Q, D), the k nearest tracklets with their squared Euclidean distances."""


class MemoryGallery:
    """The tracklets of feature files; every vector is compared, and of equal distances the first row comes first."""

    def __init__(self, table: FeatureTable, name: str, where: Sequence[Condition] = ()) -> None:
        self.name, self.form = name, table
        self._searched = select_rows(table, where)

    def __len__(self) -> int:
        return len(self._searched)

    def fetch(self, keys: Sequence[str]) -> FeatureTable:
        """Return tracklets by their keys."""
        return self.form.select(self.form.find_rows(keys, self.name))

    def nearest(self, vectors: np.ndarray, k: int, column: Column) -> Iterator[list[Hit]]:
        """Yield for each vector the k nearest tracklets, by distances in double precision."""
        rows = self._searched.words if column == "words" else self._searched.features
        assert rows is not None
        for found, distances in find_nearest(rows, vectors, k):
            yield [Hit(describe_row(self._searched, row), value) for row, value in zip(found, distances, strict=True)]


def find_nearest(rows: np.ndarray, vectors: np.ndarray, k: int) -> Iterator[tuple[list[int], list[float]]]:
    """Yield for each vector the numbers of the k nearest rows, and their squared distances.

    Products in float32 choose the rows that may be among the nearest; their distances are computed in float64.

    Args:
        rows: (n, D), float32.
        vectors: (Q, D), float32.
        k: At least 1; all rows if there are fewer.
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


def find_tracklets(gallery: Gallery, queries: FeatureTable, top: int, threshold: Threshold | None = None) -> Answers:
    """Find the ``top`` tracklets nearest to each query, but for one with its key and feature: the query itself."""
    _require_tracklets(gallery)
    require_comparable(gallery.form, gallery.name, queries, "the file of queries")
    answers = []
    for number, found in enumerate(gallery.nearest(queries.features, top + 1, "feature")):
        query = describe_row(queries, number)
        hits = tuple(hit for hit in found if hit.tracklet.key != query.key or hit.value > SAME)[:top]
        accepted = None if threshold is None else sum(hit.value <= threshold.distance for hit in hits)
        answers.append(Answer(query, hits, accepted))
    return Answers(answers, DISTANCE, len(gallery), threshold)


def find_texts(gallery: Gallery, texts: Sequence[str], vectors: np.ndarray, text_tower: str, top: int) -> Answers:
    """Find the tracklets that resemble each text most, by the inner product of its vector with their ``words``.

    Args:
        gallery: Is searched.
        texts: The queries.
        vectors: Of the texts, (Q, P), float32, unit length.
        text_tower: SHA-256 of the file that made them.
        top: Tracklets found for a text.
    """
    require_words(gallery)
    own = gallery.form.origin.get(TEXT_TOWER)
    if own != text_tower:
        raise Mistake(
            f"{gallery.name} was described with another text tower, of SHA-256 {own}; this one has {text_tower}."
        )
    found = gallery.nearest(vectors, top, "words")
    answers = [
        # Of vectors of length 1, the squared distance is 2 - 2 similarities.
        Answer(Entry(text), tuple(Hit(hit.tracklet, 1 - hit.value / 2) for hit in hits))
        for text, hits in zip(texts, found, strict=True)
    ]
    return Answers(answers, SIMILARITY, len(gallery))


def require_words(gallery: Gallery) -> None:
    """Refuse tracklets without vectors that texts are compared with."""
    _require_tracklets(gallery)
    if gallery.form.words is None:
        problem = f"{gallery.name} has no vectors to compare with texts"
        raise Mistake(f"{problem}: run `python -m tools.extract_features` again, with --text_tower FILE.")


def describe_row(table: FeatureTable, row: int) -> Entry:
    """Return what results say about a row of a table."""
    time = "" if np.isnat(table.times[row]) else str(table.times[row])
    return Entry(table.keys[row], int(table.cameras[row]), table.views[row], time, table.pictures[row])


def _require_tracklets(gallery: Gallery) -> None:
    if not len(gallery):
        raise Mistake(f"{gallery.name} has no tracklet to search in, or none that fits --where.")
