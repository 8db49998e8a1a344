"""Read data sets laid out as ``{split}/{identity}/{tracklet}/{frame}``, with query and gallery folders for every case.

AG-VPReID and DetReIDX are laid out so; a ``FolderLayout`` holds what differs between them.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from utils.metrics import CROSS_CAMERA
from utils.mistake import Mistake
from utils.unknown import UNKNOWN

from ..attributes import AttributeScheme, read_attributes
from ..problems import CHECKS, Problems
from ..tracklet import AGVPREID_RANKING, Case, DataSet, DatasetOptions, Tracklet
from .listing import missing_path_error
from .manifest import Row, list_tracklets
from .names import last_integer


@dataclass(frozen=True)
class CaseLayout:
    """One matching direction: its folder, its title for people, and the view on either side."""

    folder: str
    title: str
    query_view: str
    gallery_view: str


AERIAL_TO_GROUND = CaseLayout("case1_aerial_to_ground", "aerial to ground", "aerial", "ground")
GROUND_TO_AERIAL = CaseLayout("case2_ground_to_aerial", "ground to aerial", "ground", "aerial")


class Sighting(NamedTuple):
    """Facts about a recording that the name of a frame states."""

    camid: int
    altitude: int = UNKNOWN  # metres; ``UNKNOWN`` on the ground, or if it is not known
    day: int = UNKNOWN  # YYMMDD
    angle: int = UNKNOWN  # degrees; as the altitude
    codes: tuple[int, ...] = ()  # attributes, for data sets that keep them in names


@dataclass(frozen=True)
class FolderLayout:
    """The layout of one data set."""

    title: str  # name of the data set, for messages
    cases: Mapping[str, CaseLayout]  # by key, such as 'case1'
    scheme: AttributeScheme
    # Reads a frame's name; one outside the grammar raises a Mistake that begins with it.
    parse: Callable[[str], Sighting]
    parser_version: str  # name and version of ``parse``; raise the version when its results change
    view_of: Callable[[int], str | None]  # 'ground' or 'aerial' by camera; None for one that the data set does not have
    protocol: str = CROSS_CAMERA.name
    ranking_form: str = AGVPREID_RANKING
    table_folder: str = ""  # of the attribute tables, ``{split}.csv``; '' if the codes are in the names
    # Names of tracklets, by view, in copies that number the test identities anew on each side; none if the names do not
    # show it (DATASETS.IDENTITIES_MASKED).
    masked_names: Mapping[str, re.Pattern[str]] = field(default_factory=dict)

    def parse_tracklet(self, names: list[str]) -> tuple[list[str], list[int]]:
        """Return the file names of a tracklet, in order, and what all of them state, a ``Sighting`` as a list.

        What changes is unknown; everything is, if a name is outside the grammar, or they do not state one camera.
        """
        # Names end in the frame number, so this is the order of ``names.frame_order``, but quick for millions; and in
        # DetReIDX the altitude, which stands before it, may change while the drone flies.
        ordered = sorted(names, key=lambda name: (last_integer(name), name))
        unknown = Sighting(UNKNOWN, codes=() if self.table_folder else self.scheme.unknown)
        try:
            sightings = {self.parse(name) for name in names}
        except Mistake:
            sightings = {unknown}
        cameras = {sighting.camid for sighting in sightings}
        if len(cameras) != 1 or self.view_of(min(cameras)) is None:
            sightings = {unknown}
        facts: Iterator[tuple[tuple[Any, ...], Any]] = zip(zip(*sightings, strict=True), unknown, strict=True)
        *numbers, codes = (values[0] if len(set(values)) == 1 else otherwise for values, otherwise in facts)
        return ordered, [*numbers, *codes]

    def find_name_faults(self, row: Row) -> Iterator[tuple[str, str]]:
        """Yield checks and places that say why the names of a tracklet do not state a camera."""
        cameras = set()
        for path in row.paths:
            try:
                cameras.add(self.parse(os.path.basename(path)).camid)
            except Mistake as error:  # noqa: PERF203
                yield "frame name", os.path.join(row.folder.path, str(error))
        if len(cameras) > 1:
            yield "several cameras", f"{row.folder.path}: the frames come from several cameras, {sorted(cameras)}."
        elif cameras and self.view_of(min(cameras)) is None:
            yield "unknown camera", f"{row.folder.path}: the data set has no camera {min(cameras)}."


def read_case_folders(layout: FolderLayout, root: Path, options: DatasetOptions, problems: Problems) -> DataSet:
    """Read a copy of a data set; a direction whose folder is missing is left out."""

    def list_rows(split: str) -> list[Row]:
        read, version = layout.parse_tracklet, layout.parser_version
        with problems.guard():
            return list_tracklets(root / split, layout.title, read, version, options.index_dir, problems)
        return []

    train: tuple[Tracklet, ...] = ()
    if options.with_train:
        train = _make_tracklets(layout, root, "train", list_rows("train"), problems)
    cases = {}
    for key, case in _find_cases(layout, root, problems).items():
        views = {f"{case.folder}/query": case.query_view, f"{case.folder}/gallery": case.gallery_view}
        rows = {split: list_rows(split) for split in views}
        masked = bool(layout.masked_names) and all(
            rows[split] and all(layout.masked_names[view].fullmatch(row.folder.name) for row in rows[split])
            for split, view in views.items()
        )
        query, gallery = (
            _make_tracklets(layout, root, split, rows[split], problems, view, masked) for split, view in views.items()
        )
        form = layout.ranking_form
        cases[key] = Case(case.folder, case.title, query, gallery, layout.protocol, layout.scheme, form, masked)
    return DataSet(layout.title, train, cases, layout.scheme)


def _find_cases(layout: FolderLayout, root: Path, problems: Problems) -> dict[str, CaseLayout]:
    """Return the matching directions that the copy holds; at least one is needed."""
    present, absent = {}, []
    for key, case in layout.cases.items():
        folder = root / case.folder
        if folder.is_dir():
            present[key] = case
        elif os.path.lexists(folder):
            problems.add("unusable entry", f"{folder} is not a folder, nor a link to one.")
        else:
            absent.append(folder)
    if present:
        for folder in absent:
            text = f"{root}: there is no folder {folder.name}, so this direction is left out."
            problems.add("missing direction", str(folder), summary=text)
    elif absent:
        with problems.guard():
            raise missing_path_error(absent[0], layout.title)
    return present


def _make_tracklets(
    layout: FolderLayout,
    root: Path,
    split: str,
    rows: Sequence[Row],
    problems: Problems,
    view: str | None = None,
    masked: bool = False,
) -> tuple[Tracklet, ...]:
    """Make the records of a split; ``view`` is the one that it should hold, None for both.

    What is wrong with the names of frames is reported; a masked split may have any.
    """
    faults: dict[str, list[str]] = defaultdict(list)
    tracklets = []
    for row, attributes in zip(rows, _find_attributes(layout, root, split, rows, problems), strict=True):
        camid, altitude, day, angle = row.values[:4]
        seen_from = layout.view_of(camid) or view or "ground"
        if camid == UNKNOWN:
            found = list(layout.find_name_faults(row))
            if masked and {check for check, _ in found} == {"frame name"}:
                found = [("masked frame name", row.folder.path)]
            for check, text in found:
                faults[check].append(text)
        elif seen_from == "aerial" and altitude == UNKNOWN:
            faults["altitude"].append(row.folder.path)
        metres, date, degrees = (None if number == UNKNOWN else number for number in (altitude, day, angle))
        pid, name, _ = row.folder
        tracklets.append(Tracklet(name, row.paths, pid, camid, seen_from, metres, attributes, date, degrees))
    for check in sorted(faults, key=list(CHECKS).index):
        summary = f"{split}: {len(faults[check])} of {len(rows)} tracklets: {CHECKS[check].meaning}."
        problems.add(check, *faults[check], summary=summary)
    if view is not None:
        report_odd_views(split, [tracklet for tracklet in tracklets if tracklet.camid != UNKNOWN], view, problems)
    return tuple(tracklets)


def _find_attributes(
    layout: FolderLayout, root: Path, split: str, rows: Sequence[Row], problems: Problems
) -> Sequence[tuple[int, ...] | None]:
    """Return the attributes of each tracklet, from the names or the split's table; None where there are none."""
    if not layout.table_folder:
        codes = [tuple(row.values[4:]) for row in rows]
        return codes if any(code != UNKNOWN for each in codes for code in each) else [None] * len(rows)
    path = root / layout.table_folder / f"{split}.csv"
    with problems.guard("attribute table"):
        if os.path.lexists(path):
            table = read_attributes(path, problems)
            pids = {row.folder.pid for row in rows}
            missing = sorted(pids - table.keys())
            problems.add(
                "people without attributes",
                *(f"{split}: identity {pid}" for pid in missing),
                summary=f"{split}: {len(missing)} of {len(pids)} identities are missing from the attribute table: all "
                "their attributes are unknown.",
            )
            return [table.get(row.folder.pid, layout.scheme.unknown) for row in rows]
        problems.add("no attribute table", str(path), summary=f"{split}: no attribute table {path}.")
    return [None] * len(rows)


def report_odd_views(split: str, tracklets: Sequence[Tracklet], view: str, problems: Problems) -> None:
    """Report tracklets on the wrong side of a case, which should hold one view."""
    odd = [tracklet for tracklet in tracklets if tracklet.view != view]
    problems.add(
        "other view",
        *(f"{os.path.dirname(tracklet.frame_paths[0])}: from the {tracklet.view}" for tracklet in odd),
        summary=f"{split}: {len(odd)} of {len(tracklets)} tracklets are not from the {view}, as this side should be.",
    )
