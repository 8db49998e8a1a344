"""Search in an index: by described tracklets, or by vectors of texts."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.mistake import Mistake
from utils.nearest import find_nearest
from utils.unknown import UNKNOWN

from .described import TEXT_TOWER, DescribedTracklets
from .index import TrackletIndex
from .threshold import Threshold

DISTANCE, SIMILARITY = "distance", "similarity"
# Squared distance below which two features are of one tracklet, described twice: on other machines rounding differs.
SAME = 1e-6


@dataclass(frozen=True)
class Shown:
    """A tracklet, or a text, as results name it.

    Attributes:
        key: The tracklet's, or the text.
        camera: As annotated; -1 where unknown.
        picture: Path of a frame; '' for none.
    """

    key: str
    camera: int = UNKNOWN
    picture: str = ""


@dataclass(frozen=True)
class Hit:
    """A tracklet of the index that was found, and its distance to the query, or its similarity."""

    tracklet: Shown
    value: float


@dataclass(frozen=True)
class Answer:
    """What was found for a query.

    Attributes:
        query: What was asked for.
        hits: Nearest first.
        num_accepted: How many of them, the first ones, are within the threshold; None without one.
    """

    query: Shown
    hits: tuple[Hit, ...]
    num_accepted: int | None = None


@dataclass(frozen=True)
class Answers:
    """The answers to all queries.

    Attributes:
        answers: In the order of the queries.
        measure: What the hits' values are, ``DISTANCE`` or ``SIMILARITY``.
        num_searched: Tracklets in the index.
        threshold: By which hits were accepted; None if everything is ranked and nothing judged.
    """

    answers: Sequence[Answer]
    measure: str
    num_searched: int
    threshold: Threshold | None = None

    @property
    def num_unmatched(self) -> int:
        """Queries that are answered 'no match': a threshold was given, and nothing is within it."""
        return sum(answer.num_accepted == 0 for answer in self.answers)


def find_tracklets(
    index: TrackletIndex, queries: DescribedTracklets, source: str, top: int, threshold: Threshold | None = None
) -> Answers:
    """Find the tracklets nearest to each query.

    A tracklet that has a query's key and feature is the query itself, and is left out.

    Args:
        index: Is searched.
        queries: Described by the same model.
        source: Their file, for messages.
        top: Tracklets found for a query; all if the index has fewer.
        threshold: Says which are accepted.
    Raises:
        ValueError: If the index is empty, or of another model or transform.
    """
    _require_tracklets(index)
    index.require_comparable(queries, source)
    answers = []
    rows, distances = index.find_nearest(queries.features, top + 1)
    for number, (own_rows, own_distances) in enumerate(zip(rows, distances, strict=True)):
        query = _show(queries, number)
        hits = [
            Hit(_show(index.tracklets, row), value) for row, value in zip(own_rows, own_distances.tolist(), strict=True)
        ]
        hits = [hit for hit in hits if hit.tracklet.key != query.key or hit.value > SAME][:top]
        accepted = None if threshold is None else sum(hit.value <= threshold.distance for hit in hits)
        answers.append(Answer(query, tuple(hits), accepted))
    return Answers(answers, DISTANCE, len(index), threshold)


def find_texts(index: TrackletIndex, texts: Sequence[str], vectors: np.ndarray, text_tower: str, top: int) -> Answers:
    """Find the tracklets that resemble each text most, by the inner product of its vector with their ``words``.

    Args:
        index: Is searched; every row is compared.
        texts: The queries.
        vectors: Of the texts, (Q, P), float32, unit length.
        text_tower: SHA-256 of the file that made them.
        top: Tracklets found for a text; all if the index has fewer.
    Raises:
        ValueError: If the index is empty, has no vectors to compare with texts, or those of another text tower.
    """
    words = require_words(index)
    own = index.tracklets.origin.get(TEXT_TOWER)
    if own != text_tower or words.shape[1] != vectors.shape[1]:
        raise Mistake(
            f"The index was described with another text tower, of SHA-256 {own}; this one has {text_tower}. Name the "
            "file that its tracklets were described with."
        )
    answers = []
    for text, similarities in zip(texts, vectors @ words.T, strict=True):
        rows = find_nearest(-similarities, top)
        hits = tuple(Hit(_show(index.tracklets, row), float(similarities[row])) for row in rows)
        answers.append(Answer(Shown(text), hits))
    return Answers(answers, SIMILARITY, len(index))


def require_words(index: TrackletIndex) -> np.ndarray:
    """Return the vectors that texts are compared with, (n, P); ValueError: if there are none, or no tracklets."""
    _require_tracklets(index)
    if index.tracklets.words is None:
        raise Mistake(
            "The index has no vectors to compare with texts. Describe its tracklets again with `python -m "
            "tools.extract_features --output_dir RUN --tracklets FOLDER --output FEATURES --text_tower FILE --force`, "
            "delete the index, and make it anew with `python -m tools.search build INDEX FEATURES`."
        )
    return index.tracklets.words


def _require_tracklets(index: TrackletIndex) -> None:
    if not len(index):
        raise Mistake("The index is empty: `python -m tools.search add` puts tracklets into it.")


def _show(tracklets: DescribedTracklets, row: int) -> Shown:
    return Shown(tracklets.keys[row], int(tracklets.cameras[row]), tracklets.pictures[row])
