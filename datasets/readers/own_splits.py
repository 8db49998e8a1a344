"""Splits of a user's own tracklets: which people train, and which tracklets of the others are queries."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from utils.mistake import Mistake
from utils.text import natural_key

from .tracklet_table import BOTH, GALLERY, QUERY, TEST, TRAIN, TableRow

FRACTION, SEED = 0.3, 0
MIN_TEST_PEOPLE = 2  # with one, every ranking is perfect


def have_cameras(rows: Iterable[TableRow]) -> bool:
    """Return whether the rows name at least two cameras: with fewer, nobody can be matched between cameras."""
    return len({row.camera for row in rows} - {""}) > 1


def have_both_views(rows: Iterable[TableRow]) -> bool:
    """Return whether the rows are from the ground and from the air."""
    return len({row.view for row in rows}) > 1


def draw_split(rows: Sequence[TableRow], fraction: float = FRACTION, seed: int = SEED) -> list[TableRow]:
    """Divide people into training and test, and choose the queries of the test people.

    Test people are drawn from those who can be found: seen by two cameras, from both views if there are two, or, where
    no cameras are known, in two tracklets. Everybody else trains. Tracklets of unknown people go to the gallery.

    Args:
        rows: Tracklets; their splits do not matter.
        fraction: Share of all people who are tested, between 0 and 1, as far as there are enough who can be found.
        seed: Seed of the draw.
    Returns:
        The rows in the same order, with their splits.
    Raises:
        ValueError: If the share is out of range, or if fewer than two test people, or nobody to train on, would result.
    """
    if not 0 < fraction < 1:
        raise Mistake(f"--test_share must lie between 0 and 1, got {fraction:g}.")
    tracklets = _by_person(rows)
    with_cameras, with_views = have_cameras(rows), have_both_views(rows)
    can_be_found = [person for person, own in tracklets.items() if _choose_queries_of(own, with_cameras, with_views)]
    number = min(round(fraction * len(tracklets)), len(can_be_found))
    if number < MIN_TEST_PEOPLE:
        condition = "from both views" if with_views else "by two cameras" if with_cameras else "in two tracklets"
        raise Mistake(
            f"A share of {fraction:g} makes {number} test people of {len(tracklets)}, of whom {len(can_be_found)} were "
            f"seen {condition}; at least {MIN_TEST_PEOPLE} are needed. Raise --test_share, or give --pattern if people "
            "and cameras were taken from the wrong place in the names."
        )
    if number == len(tracklets):
        raise Mistake(f"A share of {fraction:g} leaves nobody to train on; lower --test_share.")
    test = set(np.random.default_rng(seed).permutation(can_be_found)[:number].tolist()) | {""}
    return choose_queries([replace(row, split=TEST if row.person in test else TRAIN) for row in rows])


def choose_queries(rows: Sequence[TableRow]) -> list[TableRow]:
    """Replace the split 'test' by what each tracklet is in the search; all other rows stay as they are.

    For each person, the first tracklet of each camera, in natural order of the paths, is a query, if the person can be
    found in another camera; where there are two views, in the other view. All tracklets are in the gallery, as the
    protocols leave out the query's own camera, or the gallery is the other view. Where no cameras are known, the first
    tracklet is a query only, and the others are the gallery.
    """
    test = [row for row in rows if row.split == TEST]
    with_cameras, with_views = have_cameras(test), have_both_views(test)
    queries = {
        row.line for own in _by_person(test).values() for row in _choose_queries_of(own, with_cameras, with_views)
    }
    query = BOTH if with_cameras or with_views else QUERY
    return [replace(row, split=query if row.line in queries else GALLERY) if row.split == TEST else row for row in rows]


def _by_person(rows: Iterable[TableRow]) -> Mapping[str, list[TableRow]]:
    """Group tracklets by known person; people and their tracklets in natural order."""
    groups = defaultdict(list)
    for row in sorted(rows, key=lambda row: (natural_key(row.person), natural_key(row.path))):
        if row.person:
            groups[row.person].append(row)
    return groups


def _choose_queries_of(rows: Sequence[TableRow], with_cameras: bool, with_views: bool) -> list[TableRow]:
    """Return the queries among one person's tracklets; none if the person cannot be found in the others."""
    if with_views:
        if not have_both_views(rows):
            return []
    elif not with_cameras:
        return list(rows[:1]) if len(rows) > 1 else []
    else:
        rows_with_camera = [row for row in rows if row.camera]  # a query of unknown camera would find itself
        if not rows_with_camera or len({row.camera for row in rows}) < 2:
            return []
        rows = rows_with_camera
    first: dict[tuple[str, str], TableRow] = {}
    for row in rows:
        first.setdefault((row.view, row.camera), row)
    return list(first.values())
