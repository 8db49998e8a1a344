"""A user's own data: tracklets in folders of any layout, described by one table or not labelled at all."""

import fnmatch
import os
import re
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from utils.metrics import ALL_CAMERAS, CROSS_CAMERA
from utils.mistake import MissingFile, Mistake
from utils.unknown import UNKNOWN

from ..attributes import AttributeScheme
from ..problems import LOADING, Problems
from ..split import have_both_views, have_cameras, leave_out_queries
from ..tracklet import Case, DataSet, DatasetOptions, Tracklet
from .case_folders import AERIAL_TO_GROUND, GROUND_TO_AERIAL
from .listing import NUM_THREADS, find_tracklets, list_images
from .manifest import pack_tracklets
from .names import choose_beginning, number_words, sort_frames
from .tracklet_table import (
    BOTH,
    GALLERY,
    QUERY,
    TRAIN,
    TableRow,
    TrackletTable,
    choose_queries,
    make_tracklets,
    read_table,
)

_WILDCARD = re.compile(r"[*?[]")


def read_own_data(root: Path, options: DatasetOptions, problems: Problems) -> DataSet:
    """Read tracklets in folders of any layout, described by the table DATASETS.TABLE of the root.

    docs/datasets.md, 'Your own data', says how cases and protocol follow from views and cameras. A query that would
    find itself in the gallery, as the protocol does not leave it out or its camera is unknown, is no gallery tracklet,
    whatever the table says.
    """
    table = _read_table_of(root, options.table)
    scheme = AttributeScheme(table.attributes, (UNKNOWN,) * len(table.attributes)) if table.attributes else None
    numbered = make_tracklets(table.rows)
    rows = choose_queries(table.rows, numbered)
    splits = [row.split for row in rows]
    if options.with_train and TRAIN not in splits:
        raise Mistake(f"{table.path}: no tracklet has the split {TRAIN}.")
    num_queries, num_gallery = (sum(split in (side, BOTH) for split in splits) for side in (QUERY, GALLERY))
    if not num_queries or not num_gallery:
        counts = f"{num_queries} queries and {num_gallery} gallery tracklets"
        raise Mistake(f"{table.path}: the table has {counts}; at least one of each is needed (column split).")
    test = [tracklet for tracklet, split in zip(numbered, splits, strict=True) if split != TRAIN]
    protocol = options.protocol or (CROSS_CAMERA.name if have_cameras(test) else ALL_CAMERAS.name)
    if not have_cameras(test):
        text = f"{table.path} names fewer than two cameras of test tracklets: rankings are scored by the protocol"
        problems.add("loader's remark", f"{text} {protocol}.")
    wanted = [row for row in rows if options.with_train or row.split != TRAIN]
    frames = list_frames(root, table, wanted, problems)
    listed = [
        (row.split, replace(tracklet, frame_paths=frames[row.line]))
        for row, tracklet in zip(rows, numbered, strict=True)
        if row.line in frames
    ]
    tracklets = pack_tracklets([tracklet for _, tracklet in listed])
    train, query, gallery = (
        tuple(tracklet for tracklet, (split, _) in zip(tracklets, listed, strict=True) if split in side)
        for side in ((TRAIN,), (QUERY, BOTH), (GALLERY, BOTH))
    )
    if have_both_views(test):
        cases = _divide_by_view(table, query, gallery, problems)
    else:
        kept = leave_out_queries(query, gallery, protocol)
        if number := len(gallery) - len(kept):
            text = f"{table.path}: {number} tracklets are queries only, although their split is {BOTH}"
            problems.add("loader's remark", f"{text}: by the protocol {protocol} they would find themselves.")
        if gallery and not kept:
            raise Mistake(f"{table.path}: no gallery is left; give some tracklets the split {GALLERY}.")
        title = "between cameras" if have_cameras(test) else "between tracklets"
        cases = {"case1": Case("search", title, query, kept)}
    columns = zip(table.attributes, zip(*(row.attributes for row in rows), strict=True), strict=False)
    words = {name: {code: word for word, code in number_words(own).items()} for name, own in columns}
    cases = {key: replace(case, protocol=protocol, scheme=scheme, attribute_words=words) for key, case in cases.items()}
    camera_words = {tracklet.camid: tracklet.camera_word for tracklet in numbered if tracklet.camid != UNKNOWN}
    return DataSet("a data set of your own", train, cases, scheme, camera_words=camera_words)


def read_unlabelled(root: str | Path, camera: int = UNKNOWN, view: str = "") -> tuple[Tracklet, ...]:
    """Return the records of ``listing.find_tracklets``, without identities (-1)."""
    found = find_tracklets(root).items()
    return pack_tracklets([Tracklet(name, paths, UNKNOWN, camera, view, altitude=None) for name, paths in found])


def _read_table_of(root: Path, name: str) -> TrackletTable:
    path = root / name
    command = f"python -m tools.dataset describe {root}"
    if not path.is_file():
        raise MissingFile(f"{path} is not a file: write this table with '{command}', or set DATASETS.TABLE to another.")
    table = read_table(path)
    if not table.rows[0].split:
        raise Mistake(f"{path}, line 1: there is no column split; add one, with '{command} --table {path} --force'.")
    return table


def _divide_by_view(
    table: TrackletTable, query: Sequence[Tracklet], gallery: Sequence[Tracklet], problems: Problems
) -> dict[str, Case]:
    """Make a case of each direction that has tracklets on both sides; with both views, at least one has."""
    cases = {}
    for key, layout in (("case1", AERIAL_TO_GROUND), ("case2", GROUND_TO_AERIAL)):
        searched = tuple(tracklet for tracklet in query if tracklet.view == layout.query_view)
        ranked = tuple(tracklet for tracklet in gallery if tracklet.view == layout.gallery_view)
        if searched and ranked:
            cases[key] = Case(layout.folder, layout.title, searched, ranked)
        else:
            text = f"{table.path}: {layout.title} has no queries or no gallery, so it is left out."
            problems.add("loader's remark", text)
    return cases


def list_frames(
    root: Path, table: TrackletTable, rows: Sequence[TableRow], problems: Problems = LOADING
) -> dict[int, tuple[str, ...]]:
    """Return the paths of the frames of some rows of a table, in natural order, by line."""
    rows_of: dict[str, list[tuple[TableRow, str]]] = defaultdict(list)  # with the pattern of names; '' for all images
    frames: dict[int, tuple[str, ...]] = {}
    paths = [os.path.join(root, row.path) for row in rows]
    with ThreadPoolExecutor(NUM_THREADS) as pool:
        for row, path, is_folder in zip(rows, paths, pool.map(os.path.isdir, paths), strict=True):
            folder, pattern = os.path.split(path)
            if is_folder or not _WILDCARD.search(pattern):
                folder, pattern = path, ""
            rows_of[folder].append((row, pattern))
        for listing in [pool.submit(_list_folder, table, *item) for item in rows_of.items()]:
            with problems.guard():
                frames |= listing.result()
    return frames


def _list_folder(table: TrackletTable, folder: str, rows: Sequence[tuple[TableRow, str]]) -> dict[int, tuple[str, ...]]:
    """Return the frames in a folder of each of its rows, by line."""
    where = table.where(rows[0][0])
    if not os.path.isdir(folder):
        raise MissingFile(f"{where}: {folder} is not a folder; a path may have * only in its last part.")
    try:
        names = list_images(folder)
    except (OSError, ValueError) as error:
        raise Mistake(f"{where}: {error}") from None
    frames: dict[int, tuple[str, ...]] = {}
    owner: dict[str, int] = {}
    for row, pattern in rows:
        own = fnmatch.filter(choose_beginning(names, _WILDCARD.split(pattern)[0]), pattern) if pattern else names
        if not own:
            raise Mistake(f"{table.where(row)}: none of the {len(names)} images in {folder} is named {pattern}.")
        for name in own:
            if owner.setdefault(name, row.line) != row.line:
                frame = os.path.join(folder, name)
                raise Mistake(f"{table.where(row)}: {frame} belongs to the tracklet on line {owner[name]}, too.")
        frames[row.line] = sort_frames(folder, own)
    return frames
