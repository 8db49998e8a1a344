"""Penalise pairs whose attributes contradict each other: soft-biometric masks (docs/method.md section 8).

Annotated codes and predicted probabilities take one form. Each side describes a column by a vector over its known
codes: 1 for the annotated code, or the square root of each code's probability. Its length is 1, or 0 where the code is
unknown. The penalty of a pair is a weight times ``|q|^2 |g|^2 - q.g``: the weight for annotated codes that differ,
nothing for equal ones, and the squared Hellinger distance of two predictions. It lies between 0 and the weight, and it
is a product of two thin matrices, so any rows of it can be computed alone.
"""

import logging
from collections.abc import Callable, Mapping
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from datasets.attributes import AttributeScheme
from utils.distances import Distances

from ..evaluation.features import FeatureSet

logger = logging.getLogger(__name__)

# Probabilities of tracklets over the codes of each column, (n, C), on the CPU, where the classifiers are.
Predict = Callable[[FeatureSet], Mapping[str, Tensor]]


def column_penalty(query: Tensor, gallery: Tensor, weight: float) -> Distances:
    """Return the penalties, (Q, G), float32, of vectors over the known codes of a column, (Q, C) and (G, C).

    Products of annotated codes are 0 or 1 exactly, so pairs that contradict each other equally stay tied.
    """

    def compute(rows: slice) -> Tensor:
        part = query[rows]
        both_known = torch.outer(part.square().sum(dim=1), gallery.square().sum(dim=1))
        return weight * both_known.addmm_(part, gallery.T, alpha=-1)

    return Distances((len(query), len(gallery)), compute)


def annotated_penalty(
    query: FeatureSet, gallery: FeatureSet, scheme: AttributeScheme | None, weights: Mapping[str, float]
) -> Distances | None:
    """Penalise annotated codes that are known on both sides and differ; None if the data are not annotated."""
    codes = [[tracklet.attributes for tracklet in side.tracklets] for side in (query, gallery)]
    if scheme is None or None in (*codes[0], *codes[1]):
        logger.warning(
            "The data have no annotated attributes: only visual rows are reported. TEST.MASK predicted needs none."
        )
        return None
    q, g = map(np.array, codes)
    device, penalties = query.features.device, []
    for column, weight in weights.items():
        index = scheme.columns.index(column)
        known = np.setdiff1d(np.union1d(q[:, index], g[:, index]), scheme.unknown[index])
        sides = (side[:, index, None] == known for side in (q, g))
        own, other = (torch.as_tensor(side, dtype=torch.float32, device=device) for side in sides)
        penalties.append(column_penalty(own, other, weight))
    return reduce(Distances.plus, penalties)


def predicted_penalty(
    query: FeatureSet, gallery: FeatureSet, scheme: AttributeScheme | None, predict: Predict, weight: float
) -> Distances:
    """Penalise predicted codes by the squared Hellinger distance of their probabilities, 1 - sum_c sqrt(p_c q_c).

    It is 0 for equal predictions only, sure or not. The probability that two independent draws differ, 1 - sum_c p_c
    q_c, is not: it would be least between an unsure query and a gallery tracklet that is sure of the likeliest code.
    """
    device = query.features.device
    q, g = (predict(side.to(torch.device("cpu"))) for side in (query, gallery))
    return reduce(
        Distances.plus, (column_penalty(q[name].sqrt().to(device), g[name].sqrt().to(device), weight) for name in q)
    )
