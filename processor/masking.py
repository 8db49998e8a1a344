"""Soft-biometric masking: a penalty wherever annotated attributes contradict each other (METHOD section 8)."""

from collections.abc import Sequence

import numpy as np

from datasets import Tracklet
from datasets.attributes import AttributeScheme


def attribute_penalty(
    query: Sequence[Tracklet],
    gallery: Sequence[Tracklet],
    scheme: AttributeScheme,
    columns: Sequence[str],
    penalty: float,
) -> np.ndarray:
    """Penalties to add to a distance matrix.

    Args:
        query, gallery: Tracklets whose ``attributes`` are annotated.
        scheme: What their codes mean.
        columns: Columns of the scheme to compare.
        penalty: Added for each column in which both are known and differ.
    Returns:
        (Q, G), float32.
    """
    total = np.zeros((len(query), len(gallery)), dtype=np.float32)
    for column in columns:
        index = scheme.columns.index(column)
        unknown = scheme.unknown[index]
        q = np.array([tracklet.attributes[index] for tracklet in query])[:, None]
        g = np.array([tracklet.attributes[index] for tracklet in gallery])[None, :]
        total += penalty * ((q != g) & (q != unknown) & (g != unknown))
    return total
