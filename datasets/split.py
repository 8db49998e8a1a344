"""Divide people into those who train and those who are tested, and choose the queries among the tested ones."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from utils.metrics import PROTOCOLS
from utils.mistake import Mistake
from utils.text import parse_integer, read_lines, spelling
from utils.unknown import UNKNOWN

from .tracklet import Case, Tracklet

MIN_TEST_PEOPLE = 2  # with one, every ranking is perfect


def have_cameras(tracklets: Iterable[Tracklet]) -> bool:
    """Return whether two cameras are named: with fewer, nobody can be matched between cameras."""
    return len({tracklet.camid for tracklet in tracklets} - {UNKNOWN}) > 1


def have_both_views(tracklets: Iterable[Tracklet]) -> bool:
    """Return whether tracklets are from the ground and from the air."""
    return len({tracklet.view for tracklet in tracklets}) > 1


def find_queries(tracklets: Sequence[Tracklet]) -> set[int]:
    """Return the places of the queries: of each person who can be found, the first tracklet of each camera.

    Found means in another camera; where there are two views, in the other view; where no cameras are known, in another
    tracklet.
    """
    with_cameras, with_views = have_cameras(tracklets), have_both_views(tracklets)
    places_of: dict[int, list[int]] = defaultdict(list)
    for place, tracklet in enumerate(tracklets):
        if tracklet.pid != UNKNOWN:
            places_of[tracklet.pid].append(place)
    queries: set[int] = set()
    for places in places_of.values():
        own = [tracklets[place] for place in places]
        if with_views:
            can_be_found = have_both_views(own)
        elif with_cameras:
            can_be_found = len({tracklet.camid for tracklet in own}) > 1
            places = [place for place in places if tracklets[place].camid != UNKNOWN]  # others would find themselves
        else:
            can_be_found = len(own) > 1
        first: dict[tuple[str, int], int] = {}
        for place in places:
            camera = tracklets[place].camid if with_views or with_cameras else UNKNOWN
            first.setdefault((tracklets[place].view, camera), place)
        queries.update(first.values() if can_be_found else ())
    return queries


def leave_out_queries(query: Iterable[Tracklet], gallery: Iterable[Tracklet], protocol: str) -> tuple[Tracklet, ...]:
    """Return the gallery without queries that would find themselves, as the protocol does not leave them out."""
    leaves_out = PROTOCOLS[protocol].leave_out_same_camera
    keys = {(each.pid, each.name) for each in query if not leaves_out or each.camid == UNKNOWN}
    return tuple(each for each in gallery if (each.pid, each.name) not in keys)


def draw_people(
    tracklets: Sequence[Tracklet], fraction: float, seed: int = 0, setting: str = "", distractors: bool = False
) -> set[int]:
    """Draw test people from those who can be found, as ``find_queries`` says.

    ``fraction`` is a share of everybody, as far as there are enough who can be found; ``setting`` is its name in
    messages. With ``distractors``, the same share of those who can be found and of the others is drawn.
    """
    if not 0 < fraction < 1:
        raise Mistake(f"{setting} must lie between 0 and 1, got {fraction:g}.")
    people = list(dict.fromkeys(tracklet.pid for tracklet in tracklets if tracklet.pid != UNKNOWN))
    queried = {tracklets[place].pid for place in find_queries(tracklets)}
    can_be_found = [person for person in people if person in queried]
    number = min(round(fraction * len(can_be_found if distractors else people)), len(can_be_found))
    if number < MIN_TEST_PEOPLE:
        seen = "from both views" if have_both_views(tracklets) else "by two cameras" if have_cameras(tracklets) else ""
        raise Mistake(
            f"A share of {fraction:g} ({setting}) makes {number} test people of {len(people)}, of whom "
            f"{len(can_be_found)} were seen {seen or 'in two tracklets'}; at least {MIN_TEST_PEOPLE} are needed. "
            "Raise the share, or correct people and cameras if they were taken from the wrong place."
        )
    if number == len(people):
        raise Mistake(f"A share of {fraction:g} ({setting}) leaves nobody to train on; lower it.")
    rng = np.random.default_rng(seed)
    drawn = set(rng.permutation(np.array(can_be_found)).tolist()[:number])
    others = [person for person in people if person not in queried] if distractors else []
    return drawn | set(rng.permutation(np.array(others)).tolist()[: round(fraction * len(others))])


def read_pids(path: str | Path, tracklets: Iterable[Tracklet]) -> set[int]:
    """Read a list of people, a pid or the word of a user's table a line; ``tracklets`` have the words."""
    lines = [(number, line) for number, line in enumerate(read_lines(path), start=1) if line.strip()]
    if not lines:
        raise Mistake(f"{path} names nobody: expected one pid a line.")
    known = {spelling(str(tracklet.person)): tracklet.pid for tracklet in tracklets}
    return {
        known[spelling(line)] if spelling(line) in known else parse_integer(line, f"{path}, line {number}: the pid")
        for number, line in lines
    }


def hold_out(
    train: Sequence[Tracklet], cases: Mapping[str, Case], pids: Collection[int]
) -> tuple[tuple[Tracklet, ...], dict[str, Case]]:
    """Take people out of the training tracklets, and make cases of them in the image of the data set's cases.

    Where the sides of a case are of two views, the queries are all tracklets of the one view whose people are also in
    the other, and the gallery is all of the other. Otherwise the queries are those of ``find_queries``, and the gallery
    is everything but queries that would find themselves. Cases without queries or gallery are left out.
    """
    if strangers := sorted(set(pids) - {tracklet.pid for tracklet in train}):
        raise Mistake(f"{len(strangers)} people to hold out are not in the training set (first: {strangers[0]}).")
    rest = tuple(tracklet for tracklet in train if tracklet.pid not in pids)
    if not rest:
        raise Mistake("Everybody is held out for validation, and nobody is left to train on.")
    held = [tracklet for tracklet in train if tracklet.pid in pids]
    held_cases = {}
    for key, case in cases.items():
        query, gallery = _choose_sides(held, case)
        if query and gallery:
            held_cases[key] = replace(
                case,
                name=f"validation_{case.name}",
                title=f"{case.title}, validation people",
                query=query,
                gallery=gallery,
                identities_masked=False,
            )
    if not held_cases:
        raise Mistake(
            f"None of the {len(pids)} people held out for validation was seen on both sides of {', '.join(cases)}: "
            "nobody can be searched for."
        )
    return rest, held_cases


def _choose_sides(held: Sequence[Tracklet], case: Case) -> tuple[tuple[Tracklet, ...], tuple[Tracklet, ...]]:
    """Return the queries and the gallery that held-out people give a case."""
    query_view, gallery_view = (
        Counter(tracklet.view for tracklet in side).most_common(1)[0][0] for side in (case.query, case.gallery)
    )
    side = [tracklet for tracklet in held if tracklet.view == query_view]
    if query_view != gallery_view:
        gallery = tuple(tracklet for tracklet in held if tracklet.view == gallery_view)
        known = {tracklet.pid for tracklet in gallery}
        return tuple(tracklet for tracklet in side if tracklet.pid in known), gallery
    query = tuple(side[place] for place in sorted(find_queries(side)))
    return query, leave_out_queries(query, side, case.protocol)
