"""Reads data sets laid out as ``{split}/{identity}/{tracklet}/{frame}``, with query and gallery folders for every case.

AG-VPReID and DetReIDX are laid out so; a ``FolderLayout`` holds what differs between them.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from utils.metrics import CROSS_CAMERA
from utils.mistake import Mistake
from utils.unknown import UNKNOWN

from ..attributes import AttributeScheme, read_attributes
from ..problems import CHECKS, Findings, Problems, printable
from ..tracklet import AGVPREID_RANKING, Case, Tracklet
from .dataset import DataSet, DatasetOptions, PublishedCounts, report_odd_views
from .listing import TrackletFolder, last_integer, list_images, list_split, missing_path_error
from .manifest import open_index

Table = Mapping[int, tuple[int, ...]]
Value = TypeVar("Value")


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
    codes: tuple[int, ...] = ()  # attributes, for data sets that keep them in names


class Row(NamedTuple):
    """A tracklet's folder, its frames in order, and what all their names state: camera, altitude, day, codes."""

    folder: TrackletFolder
    paths: Sequence[str]
    values: list[int]


@dataclass(frozen=True)
class FolderLayout:
    """The layout of one data set."""

    title: str  # name of the data set, for messages
    cases: Mapping[str, CaseLayout]  # by key, such as 'case1'
    scheme: AttributeScheme
    parse: Callable[
        [str], Sighting
    ]  # reads a frame's name; one outside the grammar raises a Mistake that begins with it
    parser_version: str  # name and version of ``parse``; raise the version when its results change
    view_of: Callable[[int], str | None]  # 'ground' or 'aerial' by camera; None for one that the data set does not have
    published: PublishedCounts = PublishedCounts()
    protocol: str = CROSS_CAMERA.name
    ranking_form: str = AGVPREID_RANKING
    table_folder: str = ""  # of the attribute tables, ``{split}.csv``; '' if the codes are in the names
    # Takes the names of a case's tracklets by view; returns whether all are named as in a copy that renumbers the test
    # identities on each side. None if the names do not show it (DATASETS.IDENTITIES_MASKED).
    are_masked: Callable[[Mapping[str, Iterable[str]]], bool] | None = None

    def parse_tracklet(self, folder: TrackletFolder, names: list[str]) -> tuple[list[str], list[int]]:
        """Return the file names of a tracklet, sorted by their last number, then by name, and what all of them state.

        That is a ``Sighting`` as a list. What changes is ``UNKNOWN``; everything is, if a name is outside the grammar
        or the names do not state one camera of the data set.
        """
        # Names end in the frame number, so this is the order of ``listing.frame_order``, but quick for millions; and in
        # DetReIDX the altitude, which stands before it, may change while the drone flies.
        ordered = sorted(names, key=lambda name: (last_integer(name), name))
        unknown_codes = () if self.table_folder else self.scheme.unknown
        try:
            sightings = {self.parse(name) for name in names}
        except Mistake:
            sightings = set()
        cameras = {sighting.camid for sighting in sightings}
        if len(cameras) != 1 or self.view_of(min(cameras)) is None:
            return ordered, [UNKNOWN, UNKNOWN, UNKNOWN, *unknown_codes]
        altitude = _shared_value((sighting.altitude for sighting in sightings), UNKNOWN)
        day = _shared_value((sighting.day for sighting in sightings), UNKNOWN)
        codes = _shared_value((sighting.codes for sighting in sightings), unknown_codes)
        return ordered, [cameras.pop(), altitude, day, *codes]

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
    reader = _Reader(layout, root, options, problems)
    train = reader.read_split("train", reader.list_split("train")) if options.with_train else ()
    cases = {key: reader.read_case(case) for key, case in reader.find_cases().items()}
    return DataSet(layout.title, train, cases, layout.scheme, layout.published)


@dataclass
class _Reader:
    """Reads the splits of one copy."""

    layout: FolderLayout
    root: Path
    options: DatasetOptions
    problems: Problems

    def find_cases(self) -> dict[str, CaseLayout]:
        """Return the matching directions that the copy holds; at least one is needed."""
        cases = self.layout.cases
        present = {key: case for key, case in cases.items() if (self.root / case.folder).is_dir()}
        absent = [case.folder for key, case in cases.items() if key not in present]
        dead = [folder for folder in absent if os.path.lexists(self.root / folder)]
        texts = (f"{printable(self.root / folder)} is not a folder, nor a link to one." for folder in dead)
        self.problems.add("unusable entry", *texts)
        if not present:
            with self.problems.guard():
                raise missing_path_error(self.root / absent[0], self.layout.title)
        for folder in absent:
            if present and folder not in dead:
                text = f"{self.root}: there is no folder {folder}, so this direction is left out."
                self.problems.add("missing direction", str(self.root / folder), summary=text)
        return present

    def read_case(self, case: CaseLayout) -> Case:
        sides = {"query": case.query_view, "gallery": case.gallery_view}
        rows = {side: self.list_split(f"{case.folder}/{side}") for side in sides}
        names = {view: [row.folder.name for row in rows[side]] for side, view in sides.items()}
        layout = self.layout
        masked = layout.are_masked is not None and all(names.values()) and layout.are_masked(names)
        query, gallery = (
            self.read_split(f"{case.folder}/{side}", rows[side], view, masked) for side, view in sides.items()
        )
        form = layout.ranking_form
        return Case(case.folder, case.title, query, gallery, layout.protocol, layout.scheme, form, masked)

    def list_split(self, split: str) -> list[Row]:
        """List a split by its frame index, which exists only of sound folders; a data check lists others itself."""
        layout, folder = self.layout, self.root / split
        try:
            index = open_index(
                folder, layout.title, layout.parse_tracklet, layout.parser_version, self.options.index_dir
            )
            paths = map(index.frame_paths, range(len(index)))
            return [Row(*row) for row in zip(index.tracklets(), paths, index.values.tolist(), strict=True)]
        except (OSError, ValueError):
            if not isinstance(self.problems, Findings):
                raise
        listed: list[Row] = []
        with self.problems.guard():
            for tracklet in list_split(folder, layout.title, self.problems)[0]:
                with self.problems.guard():
                    names, values = layout.parse_tracklet(tracklet, list_images(tracklet.path, self.problems))
                    if names:
                        listed.append(Row(tracklet, [os.path.join(tracklet.path, name) for name in names], values))
        return listed

    def read_split(
        self, split: str, rows: Sequence[Row], view: str | None = None, masked: bool = False
    ) -> tuple[Tracklet, ...]:
        """Make the records of a split, sorted by pid, then name, and report what is wrong with their names.

        Args:
            view: The view that the split should hold; None for both.
            masked: Whether frame names outside the grammar are allowed.
        """
        attributes_of = self._read_attributes(split, rows)
        faults: dict[str, list[str]] = defaultdict(list)
        tracklets = []
        for row in rows:
            camid, altitude, day = row.values[:3]
            seen_from = self.layout.view_of(camid) or view or "ground"
            if camid == UNKNOWN:
                found = list(self.layout.find_name_faults(row))
                if masked and {check for check, _ in found} == {"frame name"}:
                    found = [("masked frame name", row.folder.path)]
                for check, text in found:
                    faults[check].append(text)
            elif seen_from == "aerial" and altitude == UNKNOWN:
                faults["altitude"].append(row.folder.path)
            tracklets.append(
                Tracklet(
                    row.folder.name,
                    row.paths,
                    row.folder.pid,
                    camid,
                    seen_from,
                    None if altitude == UNKNOWN else altitude,
                    attributes_of(row),
                    None if day == UNKNOWN else day,
                )
            )
        for check in sorted(faults, key=list(CHECKS).index):
            places = faults[check]
            summary = f"{split}: {len(places)} of {len(rows)} tracklets: {CHECKS[check].meaning}."
            self.problems.add(check, *places, summary=summary)
        if view is not None:
            known = [tracklet for tracklet in tracklets if tracklet.camid != UNKNOWN]
            report_odd_views(split, known, view, self.problems)
        return tuple(tracklets)

    def _read_attributes(self, split: str, rows: Sequence[Row]) -> Callable[[Row], tuple[int, ...] | None]:
        """Return a function that finds the attributes of a tracklet: in the split's table, or in the names."""
        if not self.layout.table_folder:
            has_codes = any(code != UNKNOWN for row in rows for code in row.values[3:])
            return lambda row: tuple(row.values[3:]) if has_codes else None
        table: Table | None = None
        path = self.root / self.layout.table_folder / f"{split}.csv"
        with self.problems.guard("attribute table"):
            if has_table(path, self.root):
                table = read_attributes(path, self.problems)
            else:
                self.problems.add("no attribute table", str(path), summary=f"{split}: no attribute table {path}.")
        if table is None:
            return lambda row: None
        pids = {row.folder.pid for row in rows}
        missing = sorted(pids - table.keys())
        self.problems.add(
            "people without attributes",
            *(f"{split}: identity {pid}" for pid in missing),
            summary=f"{split}: {len(missing)} of {len(pids)} identities are missing from the attribute table: all "
            "their attributes are unknown.",
        )
        return lambda row: table.get(row.folder.pid, self.layout.scheme.unknown)


def has_table(path: Path, root: Path) -> bool:
    """Return whether there is a table, be it a link that leads nowhere; refuse a file in the place of a folder."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise Mistake(f"{path}: {error.strerror}.") from error
    else:
        return True
    folder = next(folder for folder in path.parents if folder == root or os.path.lexists(folder))
    if not folder.is_dir():
        raise Mistake(f"{printable(folder)} is not a folder, nor a link to one.")
    return False


def _shared_value(values: Iterable[Value], otherwise: Value) -> Value:
    """Return the value that all frames of a tracklet share; another one if they differ."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else otherwise
