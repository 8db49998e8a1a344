"""Ranking files of challenges, and submissions to AG-VPReID's: joined, and checked.

A submission is a ranking file in AG-VPReID's form, with rows numbered from 1 through all directions. Other forms of
ranking files are written, but not read.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

from datasets.readers.names import is_hidden
from datasets.tracklet import AGVPREID_RANKING, VREID_XFD_RANKING
from utils.files import write_text
from utils.mistake import MissingFile, Mistake
from utils.text import format_csv, read_csv, shorten

HEADER = ("row_id", "query_tracklet", "gallery_tracklets")
# First line of a file of rankings, by its form. AG-VPReID 2025's sample submission numbers the rows of both cases
# through; VReID-XFD names the case instead. Two things are not stated in what we read: how VReID-XFD spells a case
# (here by its folder), and that it, too, puts spaces between gallery tracklets.
RANKING_HEADERS = {
    AGVPREID_RANKING: HEADER,
    VREID_XFD_RANKING: ("case", "query_tracklet", "ranked_gallery_tracklets"),
}
NAME = re.compile(r"[\w.-]+")  # the form of a tracklet's name
MAX_LENGTH, NUM_LISTED = 200, 20  # characters of a problem that are shown, and problems that are listed

AddRanking = Callable[[str, str, str], None]  # writes a case, a query and names of its gallery, nearest first


@contextmanager
def ranking_file(path: Path, form: str) -> Iterator[AddRanking]:
    """Write a ranking file of a form: a row for each query, of one direction or several."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        file.write(format_csv([RANKING_HEADERS[form]]))
        numbers = count(1)

        def add(case: str, query: str, gallery: str) -> None:
            file.write(format_csv([(next(numbers) if form == AGVPREID_RANKING else case, query, gallery)]))

        yield add


class Row(NamedTuple):
    """One row of a submission."""

    place: str  # the file, with the line if it has lines
    number: str  # as written
    query: str
    gallery: list[str]  # names of tracklets, nearest first


def read_submission(path: Path) -> list[Row]:
    """Read the rows of a submission."""
    header, lines = read_csv(path)
    if tuple(header) != HEADER:
        raise Mistake(f"{path}, line 1: the header must be {','.join(HEADER)}, got {shorten(','.join(header))}.")
    if not lines:
        raise Mistake(f"{path} holds no rankings.")
    number, query, names = HEADER
    return [Row(f"{path}, line {line}", row[number], row[query], row[names].split()) for line, row in lines]


def write_submission(path: Path, rows: Iterable[Row], sample: Sequence[Row] = ()) -> int:
    """Write the rows of all directions as a submission, whole or not at all; returns their number.

    They are numbered from 1 in the order of the sample; queries that it does not name come last, as they were.
    """
    by_query: dict[str, Row] = {}
    for row in rows:
        if row.query in by_query:
            raise Mistake(f"{row.place}: the query {row.query} is already ranked in {by_query[row.query].place}.")
        by_query[row.query] = row
    order = dict.fromkeys([*(row.query for row in sample if row.query in by_query), *by_query])
    ranked = ((number, query, " ".join(by_query[query].gallery)) for number, query in enumerate(order, start=1))
    write_text(format_csv([HEADER, *ranked]), path)
    return len(by_query)


def check_submission(
    rows: Sequence[Row], sample: Sequence[Row] = (), queries: Collection[str] = (), known: Collection[str] = ()
) -> list[tuple[str, str, str]]:
    """Compare a submission with the organisers' sample, which has all queries, but need not list the whole gallery.

    Every row must list as many as the longest list of the sample, or of the submission without one. ``known`` are more
    names of gallery tracklets, ``queries`` those of queries without a sample; where no names are known, only their form
    is checked. Returns place, kind and details of each problem.
    """
    queries = {row.query for row in sample} or queries
    galleries = {name for row in sample for name in row.gallery}.union(known)
    length = max(1, *(len(row.gallery) for row in sample or rows))
    pairs = enumerate(zip(rows, sample, strict=False), start=1)
    moved = [(number, *pair) for number, pair in pairs if pair[0].query != pair[1].query and pair[0].query in queries]
    problems = []
    for number, row, other in moved[:1]:
        detail = f"row {number} is {row.query}, in the sample {other.query}; rows that differ: {len(moved)}"
        problems.append((row.place, "another order", detail))
    first_places: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        counts = Counter(row.gallery)
        found = {
            "wrong row number": row.number != str(number) and f"{shorten(row.number)}, expected {number}",
            "unknown query": not _is_name(row.query, queries) and shorten(row.query),
            "repeated query": row.query in first_places and f"{row.query} (first in {first_places.get(row.query)})",
            "unknown gallery tracklets": ", ".join(name for name in counts if not _is_name(name, galleries)),
            "repeated gallery tracklets": ", ".join(name for name, times in counts.items() if times > 1),
            "short list": len(row.gallery) < length and f"{len(row.gallery)} gallery tracklets, expected {length}",
        }
        problems += [(row.place, kind, detail) for kind, detail in found.items() if detail]
        first_places.setdefault(row.query, row.place)
    return problems + [(row.place, "missing query", row.query) for row in sample if row.query not in first_places]


def _is_name(name: str, names: Collection[str]) -> bool:
    """Whether this is one of the names or, where none are known, has the form of one."""
    return name in names if names else bool(NAME.fullmatch(name))


def format_problems(problems: Sequence[tuple[str, str, str]]) -> str:
    """Count problems by kind, and list the first, one a line."""
    counts = Counter(kind for _, kind, _ in problems)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items()) or "no problems"
    lines = [f"  {place}: {kind}: {detail[:MAX_LENGTH]}" for place, kind, detail in problems[:NUM_LISTED]]
    rest = [f"  and {len(problems) - NUM_LISTED} more"] if len(problems) > NUM_LISTED else []
    return "\n".join([summary, *lines, *rest])


def tracklet_names(root: Path, side: str) -> set[str]:
    """Return the names of the tracklets in the folders of a side of a copy of AG-VPReID; there must be some."""
    names = {path.name for path in root.glob(f"case*/{side}/*/*") if not is_hidden(path.name)}
    if not names:
        raise MissingFile(f"{root} holds no tracklets in case*/{side}/: it is no copy of AG-VPReID.")
    return names
