"""Ranking files of challenges, and submissions to AG-VPReID's: made from distances, joined, and checked.

A submission is a ranking file in AG-VPReID's form, with rows numbered from 1 through all directions. Other forms of
ranking files are written, but not read.
"""

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from datasets.tracklet import AGVPREID_RANKING, VREID_XFD_RANKING
from utils.files import write_text
from utils.mistake import MissingFile, Mistake
from utils.nearest import find_nearest
from utils.text import read_lines, shorten

HEADER = ("row_id", "query_tracklet", "gallery_tracklets")
# First line of a file of rankings, by its form. AG-VPReID 2025's sample submission numbers the rows of both cases
# through; VReID-XFD names the case instead. Two things are not stated in what we read: how VReID-XFD spells a case
# (here by its folder), and that it, too, puts spaces between gallery tracklets.
RANKING_HEADERS = {
    AGVPREID_RANKING: HEADER,
    VREID_XFD_RANKING: ("case", "query_tracklet", "ranked_gallery_tracklets"),
}
VISUAL_NAME = "visual"  # of the method whose files have no suffix
MAX_SHOWN = 40  # problems that are listed; all are counted

AddRanking = Callable[[str, str, str], None]  # writes a case, a query and names of its gallery, nearest first


@contextmanager
def ranking_file(path: Path, form: str) -> Iterator[AddRanking]:
    """Write a ranking file of a form: a row for each query, of one direction or several."""
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(RANKING_HEADERS[form])
        numbers = count(1)

        def add(case: str, query: str, gallery: str) -> None:
            writer.writerow((next(numbers) if form == AGVPREID_RANKING else case, query, gallery))

        yield add


class Row(NamedTuple):
    """One row of a submission."""

    place: str  # the file, with the line if it has lines
    number: str  # as written
    query: str
    gallery: list[str]  # names of tracklets, nearest first


class Problem(NamedTuple):
    """Something in a submission that its reader would refuse or count as wrong."""

    place: str  # as in ``Row``; of the sample for a missing query
    kind: str  # problems are counted by it
    detail: str  # the names or numbers that are wrong


def read_submission(path: Path) -> list[Row]:
    """Read the rows of a submission."""
    reader = csv.reader(io.StringIO("\n".join(read_lines(path))), strict=True)
    rows = []
    try:
        header = next(reader, [])
        if tuple(header) != HEADER:
            raise Mistake(f"{path}, line 1: the header must be {','.join(HEADER)}, got {shorten(','.join(header))}.")
        for cells in filter(None, reader):
            place = f"{path}, line {reader.line_num}"
            if len(cells) != len(HEADER):
                raise Mistake(f"{place}: expected {len(HEADER)} columns, got {len(cells)}.")
            number, query, gallery = cells
            rows.append(Row(place, number, query, gallery.split()))
    except csv.Error as error:
        raise Mistake(f"{path}, line {reader.line_num}: {error}.") from error
    if not rows:
        raise Mistake(f"{path} holds no rankings.")
    return rows


def write_submission(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as a submission, numbered from 1 in this order; the file is written whole or not at all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((number, row.query, " ".join(row.gallery)) for number, row in enumerate(rows, start=1))
    write_text(text.getvalue(), path)


def check_submission(
    rows: Sequence[Row], sample: Sequence[Row], known: Collection[str] = (), length: int = 0
) -> list[Problem]:
    """Compare a submission with the organisers' sample; returns problems by line, missing queries last.

    Args:
        rows: The submission.
        sample: The sample, with all queries; it need not list the whole gallery.
        known: More names of gallery tracklets, such as those of the folders of the copy.
        length: Gallery tracklets that every row must list; 0 for as many as the sample's longest list has.
    """
    queries = {row.query for row in sample}
    galleries = {name for row in sample for name in row.gallery}.union(known)
    length = length or max(len(row.gallery) for row in sample)
    problems = []
    first_places: dict[str, str] = {}

    def join(names: Sequence[str]) -> str:
        return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")

    for number, row in enumerate(rows, start=1):
        counts = Counter(row.gallery)
        found = {
            "wrong row number": row.number != str(number) and f"{shorten(row.number)}, expected {number}",
            "unknown query": row.query not in queries and shorten(row.query),
            "repeated query": row.query in first_places and f"{row.query} (first in {first_places.get(row.query)})",
            "unknown gallery tracklets": join([name for name in counts if name not in galleries]),
            "repeated gallery tracklets": join([name for name, number in counts.items() if number > 1]),
            "short list": len(row.gallery) < length and f"{len(row.gallery)} gallery tracklets, expected {length}",
        }
        problems += [Problem(row.place, kind, detail) for kind, detail in found.items() if detail]
        first_places.setdefault(row.query, row.place)
    missing = (row for row in sample if row.query not in first_places)
    return problems + [Problem(row.place, "missing query", row.query) for row in missing]


def format_problems(problems: Sequence[Problem]) -> str:
    """Count problems by kind, and list the first ``MAX_SHOWN`` of them, one a line."""
    if not problems:
        return "no problems"
    counts = Counter(problem.kind for problem in problems)
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    lines = [f"  {problem.place}: {problem.kind}: {problem.detail}" for problem in problems[:MAX_SHOWN]]
    if len(problems) > MAX_SHOWN:
        lines.append(f"  and {len(problems) - MAX_SHOWN} more")
    return "\n".join([f"{len(problems)} problems ({summary}):", *lines])


def gallery_names(root: Path) -> frozenset[str]:
    """Return the names of the tracklets in the gallery folders of a copy of AG-VPReID; there must be some."""
    names = frozenset(path.name for path in root.glob("case*/gallery/*/*"))
    if not names:
        raise MissingFile(f"{root} holds no tracklets in case*/gallery/: it is no copy of AG-VPReID.")
    return names


def join_rows(rows: Iterable[Row]) -> list[Row]:
    """Return the rows of all directions, in this order; Mistake if a query is ranked twice."""
    joined: dict[str, Row] = {}
    for row in rows:
        if row.query in joined:
            raise Mistake(f"{row.place}: the query {row.query} is already ranked in {joined[row.query].place}.")
        joined[row.query] = row
    return list(joined.values())


def order_as(rows: Sequence[Row], sample: Sequence[Row]) -> list[Row]:
    """Sort rows by the place of their query in the sample; queries that it does not name come last, as they were."""
    places = {row.query: place for place, row in enumerate(sample)}
    return sorted(rows, key=lambda row: places.get(row.query, len(places)))


def rank_results(folder: Path, method: str, length: int) -> list[Row]:
    """Rank the gallery for every query by the distances that an evaluation left.

    Args:
        folder: Results folder: of one direction, or with a folder for each direction, which are joined by name.
        method: 'visual', or what the name of another method's file of distances holds after ``distmat_``.
        length: Gallery tracklets per query; 0 for all.
    """
    name = "distmat.npz" if method == VISUAL_NAME else f"distmat_{method}.npz"
    ranked = {path.parent for pattern in ("distmat*.npz", "*/distmat*.npz") for path in folder.glob(pattern)}
    if not ranked:
        raise MissingFile(
            f"{folder} holds no distmat*.npz, neither itself nor in a folder for each direction: evaluate with "
            "TEST.SAVE_DISTANCES True."
        )
    if lacking := [direction for direction in sorted(ranked) if not (direction / name).is_file()]:
        raise MissingFile(f"{lacking[0]} holds no {name}: that direction was not ranked by the method {method}.")
    return join_rows(row for direction in sorted(ranked) for row in _rank_file(direction / name, length))


def _rank_file(path: Path, length: int) -> Iterator[Row]:
    """Rank the gallery for every query of one file of distances; of equal distances, the earlier column is first."""
    try:
        with np.load(path) as content:
            distmat = content["distmat"]
            # A key is the identity, a slash, and the name.
            names = [[str(key).partition("/")[2] for key in content[f"{side}_keys"]] for side in ("query", "gallery")]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise Mistake(f"{path} is damaged, or no distances of an evaluation: {error}.") from error
    for query, distances in zip(names[0], distmat, strict=True):
        nearest = find_nearest(distances, length or len(distances))
        yield Row(str(path), "", query, [names[1][index] for index in nearest])
