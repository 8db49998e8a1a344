"""Penalise pairs whose attributes contradict each other: soft-biometric masks (docs/method.md section 8).

Annotated codes and predicted probabilities take one form. Each side describes a column by a vector over its known
codes: 1 for the annotated code, or the square root of each code's probability. Its length is 1, or 0 where the code is
unknown. The penalty of a pair is a weight times ``|q|^2 |g|^2 - q.g``: the weight for annotated codes that differ,
nothing for equal ones, and the squared Hellinger distance of two predictions. It lies between 0 and the weight, and it
is a product of two thin matrices, so any rows of it can be computed alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from datasets.attributes import AttributeScheme
from datasets.tracklet import Tracklet
from utils.distances import Distances
from utils.mistake import Mistake

from ..evaluation.features import FeatureSet
from ..evaluation.results import ANNOTATED, NO_MASK, SOFT, Mask
from .heads import AttributeHeads


def column_penalty(query: Tensor, gallery: Tensor, weight: float) -> Distances:
    """Return the penalties, (Q, G), float32, of what both sides show of one attribute.

    Products of annotated codes are 0 or 1 exactly, so pairs that contradict each other equally stay tied.

    Args:
        query, gallery: Vectors over the known codes, (Q, C) and (G, C), float32, at least 0; of length 1, or 0 where
            the code is unknown.
        weight: Penalty of a certain contradiction.
    """

    def compute(rows: slice) -> Tensor:
        part = query[rows]
        both_known = torch.outer(part.square().sum(dim=1), gallery.square().sum(dim=1))
        return weight * both_known.addmm_(part, gallery.T, alpha=-1)

    return Distances((len(query), len(gallery)), compute)


class AttributePredictor(Protocol):
    """What predicts attributes that nobody annotated; ``mask`` labels the rows."""

    @property
    def mask(self) -> Mask: ...

    def predict(self, side: FeatureSet) -> dict[str, Tensor]:
        """Return the probabilities of n tracklets over the codes of each column, (n, C)."""


@dataclass(frozen=True)
class MaskOptions:
    """The mask to rank with, beside the rankings without one.

    Attributes:
        kind: TEST.MASK.
        columns: Annotated columns to compare; none for no mask by annotations.
        penalty: Added to a distance for each annotated column that contradicts; 'soft' multiplies it by the column's
            reliability.
        predicted_penalty: Added to a distance for each predicted column that contradicts for certain.
        heads: Trained classifiers, whose scores are the reliabilities; without, 'soft' is no mask.
        predictor: Predicts attributes; without, 'predicted' is no mask.
    """

    kind: Literal["none", "annotated", "soft", "predicted"] = "none"
    columns: tuple[str, ...] = ()
    penalty: float = 100.0
    predicted_penalty: float = 0.1
    heads: AttributeHeads | None = None
    predictor: AttributePredictor | None = None

    @property
    def needs_annotations(self) -> bool:
        """Whether a mask is asked for that only annotated data can have."""
        return bool(self.columns) and (self.kind == "annotated" or (self.kind == "soft" and self.heads is not None))


def make_penalty(
    query: FeatureSet, gallery: FeatureSet, scheme: AttributeScheme | None, options: MaskOptions
) -> tuple[Mask, Distances | None]:
    """Make the penalty that the options ask for; no mask and None if they ask for none, or the data do not allow it.

    Args:
        query, gallery: Descriptors and tracklets of both sides.
        scheme: What the tracklets' attributes mean; None for a data set without attributes.
        options: The mask.
    """
    if options.kind == "predicted" and options.predictor is not None:
        q, g = (_predict(options.predictor, side) for side in (query, gallery))
        return options.predictor.mask, predicted_penalty(q, g, options.predicted_penalty)
    annotated = all(tracklet.attributes is not None for side in (query, gallery) for tracklet in side.tracklets)
    if not options.needs_annotations or scheme is None or not annotated:
        return NO_MASK, None
    weights = dict.fromkeys(options.columns, options.penalty)
    if options.kind == "soft" and options.heads is not None:
        reliabilities = options.heads.reliabilities(options.columns)
        weights = {column: reliabilities[column] * options.penalty for column in options.columns}
    mask = SOFT if options.kind == "soft" else ANNOTATED
    return mask, annotated_penalty(query.tracklets, gallery.tracklets, scheme, weights, query.features.device)


def _predict(predictor: AttributePredictor, side: FeatureSet) -> dict[str, Tensor]:
    """Predict on the CPU, where the classifiers are; the probabilities are on the device of the features."""
    probabilities = predictor.predict(side.to(torch.device("cpu")))
    return {column: values.to(side.features.device) for column, values in probabilities.items()}


def annotated_penalty(
    query: Sequence[Tracklet],
    gallery: Sequence[Tracklet],
    scheme: AttributeScheme,
    weights: Mapping[str, float],
    device: torch.device | None = None,
) -> Distances:
    """Penalise annotated codes that are known on both sides and differ.

    Args:
        query, gallery: Tracklets whose ``attributes`` are annotated.
        scheme: What their codes mean.
        weights: Penalty by column of the scheme; at least one column.
        device: Where the penalties are computed; None for the CPU.
    Raises:
        ValueError: If a tracklet has no attributes.
    """
    columns = []
    for column, weight in weights.items():
        index = scheme.columns.index(column)
        q, g = _codes(query, index), _codes(gallery, index)
        known = np.setdiff1d(np.union1d(q, g), scheme.unknown[index])
        columns.append(column_penalty(_one_hot(q, known, device), _one_hot(g, known, device), weight))
    return _add_up(columns)


def predicted_penalty(query: Mapping[str, Tensor], gallery: Mapping[str, Tensor], weight: float) -> Distances:
    """Penalise predicted codes by the squared Hellinger distance of their probabilities, 1 - sum_c sqrt(p_c q_c).

    It is 0 for equal predictions only, sure or not. The probability that two independent draws differ, 1 - sum_c p_c
    q_c, is not: it would be least between an unsure query and a gallery tracklet that is sure of the likeliest code.

    Args:
        query, gallery: Probabilities by column, (Q, C) and (G, C); both have the same columns, at least one.
        weight: Penalty of a certain contradiction in a column.
    """
    return _add_up(column_penalty(query[column].sqrt(), gallery[column].sqrt(), weight) for column in query)


def _add_up(penalties: Iterable[Distances]) -> Distances:
    return reduce(Distances.plus, penalties)


def _codes(tracklets: Sequence[Tracklet], index: int) -> np.ndarray:
    codes = [tracklet.attributes[index] for tracklet in tracklets if tracklet.attributes is not None]
    if len(codes) < len(tracklets):
        raise Mistake(f"{len(tracklets) - len(codes)} of {len(tracklets)} tracklets have no annotated attributes.")
    return np.array(codes)


def _one_hot(codes: np.ndarray, known: np.ndarray, device: torch.device | None) -> Tensor:
    """Return 1 in the column of each row's code, (n, C), float32; 0 everywhere if the code is not among the known."""
    return torch.as_tensor(codes[:, None] == known[None, :], dtype=torch.float32, device=device)
