"""Soft-biometric masking: a penalty where annotated attributes contradict each other (METHOD section 8)."""

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
    """Compute the penalties to add to a distance matrix.

    Args:
        query, gallery: Tracklets whose ``attributes`` are annotated.
        scheme: What their codes mean.
        columns: Columns of the scheme to compare.
        penalty: Number to add for each column in which both codes are known and differ.
    Returns:
        (Q, G), float32.
    Raises:
        ValueError: If a tracklet has no attributes.
    """
    total = np.zeros((len(query), len(gallery)), dtype=np.float32)
    for column in columns:
        index = scheme.columns.index(column)
        unknown = scheme.unknown[index]
        q, g = _codes(query, index)[:, None], _codes(gallery, index)[None, :]
        total += penalty * ((q != g) & (q != unknown) & (g != unknown))
    return total


def _codes(tracklets: Sequence[Tracklet], index: int) -> np.ndarray:
    codes = [tracklet.attributes[index] for tracklet in tracklets if tracklet.attributes is not None]
    if len(codes) < len(tracklets):
        raise ValueError(f"{len(tracklets) - len(codes)} of {len(tracklets)} tracklets have no annotated attributes.")
    return np.array(codes)
