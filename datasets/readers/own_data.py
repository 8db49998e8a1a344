"""A user's own data: tracklets in folders of any layout, described by one table."""

import bisect
import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from utils.metrics import ALL_CAMERAS, CROSS_CAMERA, PROTOCOLS
from utils.mistake import MissingFile, Mistake
from utils.unknown import UNKNOWN

from ..attributes import AttributeScheme
from ..problems import LOADING, Problems
from ..split import have_both_views, have_cameras
from ..tracklet import Case, Tracklet
from .case_folders import AERIAL_TO_GROUND, GROUND_TO_AERIAL
from .dataset import DEFAULT_OPTIONS, DataSet, DatasetOptions
from .listing import NUM_THREADS, frame_order, list_images
from .manifest import pack_tracklets
from .tracklet_table import (
    BOTH,
    GALLERY,
    QUERY,
    TRAIN,
    TableRow,
    TrackletTable,
    choose_queries,
    number_words,
    read_table,
    see_rows,
)

_TITLE = "a data set of your own"
_WILDCARD = re.compile(r"[*?[]")


def read_own_data(root: Path, options: DatasetOptions = DEFAULT_OPTIONS, problems: Problems = LOADING) -> DataSet:
    """Tracklets in folders of any layout, described by a table.

    Expected tree::

        root/
          tracklets.csv    (or another table, DATASETS.TABLE)
          ...              the frames, where the table says

    ``python -m tools.dataset describe root`` writes the table; docs/datasets.md, 'Your own data', and ``TableRow``
    explain its columns. A path may be a pattern of file names, such as ``0001/c1_t3_*.jpg``, if several tracklets share
    a folder. Frames are put in natural order: 2 before 10. Among tracklets of the split 'test', the queries are chosen
    as ``tracklet_table.choose_queries`` says. People, cameras and attributes that are whole numbers keep them; words
    are numbered in natural order (``tracklet_table.number_words``).

    A tracklet's name is its path in the table. Ranking files separate names by spaces, so white space, unprintable
    characters and percent signs in it are percent-encoded, as in a URL: ``anna m/1`` is ``anna%20m/1``. A table holds
    each path once, so names are unique.

    Statistics are not known: they are those of the table.

    If query and gallery hold both views, the cases are 'case1', aerial to ground, and 'case2', ground to aerial, as far
    as they have tracklets. Otherwise the one case is 'case1', a search in the whole gallery. The protocol is
    'cross-camera' if the test tracklets name two cameras, else 'all-cameras'. A query that would find itself in the
    gallery, as the protocol does not leave it out or its camera is unknown, is no gallery tracklet, whatever the table
    says. Of the options, ``protocol`` and ``table`` apply.
    """
    table = _read_table_of(root, options.table)
    scheme = AttributeScheme(table.attributes, (UNKNOWN,) * len(table.attributes)) if table.attributes else None
    rows = choose_queries(table.rows)
    test = [row for row in rows if row.split != TRAIN]
    protocol = options.protocol or (CROSS_CAMERA.name if have_cameras(see_rows(test)) else ALL_CAMERAS.name)
    if not have_cameras(see_rows(test)):
        text = f"{table.path} names fewer than two cameras of test tracklets: rankings are scored by the protocol"
        problems.add("loader's remark", f"{text} {protocol}.")
    training = [row for row in rows if row.split == TRAIN]
    if options.with_train and not training:
        raise Mistake(f"{table.path}: no tracklet has the split {TRAIN}.")
    directions = _find_directions(table, test, protocol, problems)
    tracklets = _make_tracklets(root, table, rows if options.with_train else test, problems)
    train = _choose(tracklets, training) if options.with_train else ()
    cases = {}
    for key, direction in directions.items():
        query, gallery = (_choose(tracklets, side) for side in (direction.query, direction.gallery))
        cases[key] = Case(direction.name, direction.title, query, gallery, protocol, scheme)
    return DataSet(_TITLE, train, cases, scheme)


class _Direction(NamedTuple):
    """A case before its frames are listed: its name and title, and the rows of both sides."""

    name: str
    title: str
    query: list[TableRow]
    gallery: list[TableRow]


def _read_table_of(root: Path, name: str) -> TrackletTable:
    path = root / name
    if not path.is_file():
        command = f"python -m tools.dataset describe {root}"
        raise MissingFile(f"{path} is not a file: write this table with '{command}', or set DATASETS.TABLE to another.")
    table = read_table(path)
    if not table.rows[0].split:
        command = f"python -m tools.dataset describe {root} --table {path} --force"
        raise Mistake(f"{path}, line 1: there is no column split; add one, with '{command}'.")
    return table


def _find_directions(
    table: TrackletTable, rows: Sequence[TableRow], protocol: str, problems: Problems
) -> dict[str, _Direction]:
    """Divide the test rows into the queries and the gallery of each case."""
    query = [row for row in rows if row.split in (QUERY, BOTH)]
    gallery = [row for row in rows if row.split in (GALLERY, BOTH)]
    if not query or not gallery:
        counts = f"{len(query)} queries and {len(gallery)} gallery tracklets"
        raise Mistake(f"{table.path}: the table has {counts}; at least one of each is needed (column split).")
    if have_both_views(see_rows(rows)):
        return _divide_by_view(table, query, gallery, problems)
    leaves_out = PROTOCOLS[protocol].leave_out_same_camera
    finds_itself = {row.line for row in query if row.split == BOTH and not (leaves_out and row.camera)}
    if finds_itself:
        text = f"{table.path}: {len(finds_itself)} tracklets are queries only, although their split is {BOTH}"
        problems.add("loader's remark", f"{text}: by the protocol {protocol} they would find themselves.")
    gallery = [row for row in gallery if row.line not in finds_itself]
    if not gallery:
        raise Mistake(f"{table.path}: no gallery is left; give some tracklets the split {GALLERY}.")
    title = "between cameras" if have_cameras(see_rows(rows)) else "between tracklets"
    return {"case1": _Direction("search", title, query, gallery)}


def _divide_by_view(
    table: TrackletTable, query: Sequence[TableRow], gallery: Sequence[TableRow], problems: Problems
) -> dict[str, _Direction]:
    """Make a case of each direction that has tracklets on both sides; with both views, at least one has."""
    directions = {}
    for key, layout in (("case1", AERIAL_TO_GROUND), ("case2", GROUND_TO_AERIAL)):
        direction = _Direction(
            layout.folder,
            layout.title,
            [row for row in query if row.view == layout.query_view],
            [row for row in gallery if row.view == layout.gallery_view],
        )
        if direction.query and direction.gallery:
            directions[key] = direction
        else:
            text = f"{table.path}: {layout.title} has no queries or no gallery, so it is left out."
            problems.add("loader's remark", text)
    return directions


def _choose(tracklets: Mapping[int, Tracklet], rows: Sequence[TableRow]) -> tuple[Tracklet, ...]:
    """Return the records of some rows, as far as their frames could be listed."""
    return tuple(tracklets[row.line] for row in rows if row.line in tracklets)


def _make_tracklets(
    root: Path, table: TrackletTable, rows: Sequence[TableRow], problems: Problems
) -> dict[int, Tracklet]:
    """Make the records of some rows, by line; people, cameras and attributes are numbered over the whole table."""
    people = number_words(row.person for row in table.rows)
    cameras = number_words(row.camera for row in table.rows)
    codes = [number_words(row.attributes[place] for row in table.rows) for place in range(len(table.attributes))]
    frames = list_frames(root, table, rows, problems)
    rows = [row for row in rows if row.line in frames]
    tracklets = [
        Tracklet(
            name=_escape(row.path),
            frame_paths=frames[row.line],
            pid=people.get(row.person, UNKNOWN),
            camid=cameras.get(row.camera, UNKNOWN),
            view=row.view,
            altitude=row.altitude,
            attributes=tuple(code.get(word, UNKNOWN) for code, word in zip(codes, row.attributes, strict=True)) or None,
            day=row.day,
        )
        for row in rows
    ]
    return {row.line: tracklet for row, tracklet in zip(rows, pack_tracklets(tracklets), strict=True)}


def _escape(path: str) -> str:
    """Percent-encode what would split or garble a name in a ranking file; see ``OwnData``."""
    return "".join(
        quote(character, safe="", errors="surrogateescape")
        if character.isspace() or character == "%" or not character.isprintable()
        else character
        for character in path
    )


def list_frames(
    root: Path, table: TrackletTable, rows: Sequence[TableRow], problems: Problems = LOADING
) -> dict[int, tuple[str, ...]]:
    """Return the paths of the frames of some rows of a table, in natural order, by line."""
    rows_of: dict[str, list[tuple[TableRow, str]]] = defaultdict(list)
    frames: dict[int, tuple[str, ...]] = {}
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        places = [pool.submit(_locate, root, table, row) for row in rows]
        for row, place in zip(rows, places, strict=True):
            with problems.guard():
                folder, pattern = place.result()
                rows_of[folder].append((row, pattern))
        for listing in [pool.submit(_list_folder, table, *item) for item in rows_of.items()]:
            with problems.guard():
                frames |= listing.result()
    return frames


def _locate(root: Path, table: TrackletTable, row: TableRow) -> tuple[str, str]:
    """Return the folder that a row's frames are in, and the pattern of their names; '' for all images there."""
    path = os.path.join(root, row.path)
    if os.path.isdir(path):
        return path, ""
    folder, pattern = os.path.split(path)
    if not _WILDCARD.search(pattern):
        raise MissingFile(f"{table.where(row)}: {path} is not a folder; correct the path, which begins in {root}.")
    if not os.path.isdir(folder):
        only = "a path may have * only in its last part, behind the last /"
        raise MissingFile(f"{table.where(row)}: {folder} is not a folder; {only}.")
    return folder, pattern


def _list_folder(table: TrackletTable, folder: str, rows: Sequence[tuple[TableRow, str]]) -> dict[int, tuple[str, ...]]:
    """Return the frames in a folder of each of its rows, by line."""
    try:
        names = list_images(folder)
    except (OSError, ValueError) as error:
        raise Mistake(f"{table.where(rows[0][0])}: {error}") from None
    frames: dict[int, tuple[str, ...]] = {}
    owner: dict[str, int] = {}
    for row, pattern in rows:
        own = _match_names(names, pattern) if pattern else names
        if not own:
            raise Mistake(f"{table.where(row)}: none of the {len(names)} images in {folder} is named {pattern}.")
        for name in own:
            if name in owner:
                frame = os.path.join(folder, name)
                raise Mistake(f"{table.where(row)}: {frame} belongs to the tracklet on line {owner[name]}, too.")
            owner[name] = row.line
        frames[row.line] = tuple(os.path.join(folder, name) for name in sorted(own, key=frame_order))
    return frames


def _match_names(names: Sequence[str], pattern: str) -> list[str]:
    """Return those of sorted names that match a pattern; only names with its fixed beginning are tried, of millions."""
    beginning = _WILDCARD.split(pattern)[0]
    start = bisect.bisect_left(names, beginning)
    end = bisect.bisect_left(names, beginning + "\U0010ffff", start)
    return fnmatch.filter(names[start:end], pattern)
