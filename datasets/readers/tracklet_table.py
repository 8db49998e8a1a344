"""The table that describes tracklets in a user's own folders: its columns, reading, writing, and dividing its people.

A row is a tracklet. What can be wrong with the table alone is found here, before any folder of frames is touched.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from utils.files import write_text
from utils.mistake import Mistake
from utils.text import (
    escape_controls,
    format_csv,
    is_rounded,
    natural_key,
    parse_integer,
    read_csv,
    read_word,
    shorten,
    spelling,
)
from utils.unknown import UNKNOWN

from ..split import draw_people, find_queries, have_both_views, have_cameras
from ..tracklet import VIEWS, Tracklet
from .names import number_words

TABLE = "tracklets.csv"  # the name under which the command writes it, and DATASETS.TABLE looks for it
COLUMNS = ("path", "person", "camera", "view", "altitude", "day", "split")
REQUIRED = ("path", "person")
TEXTS = ("path", "view", "split")  # whose words mean what they say; in the other columns some mean unknown
OPTIONAL = ("view", "altitude", "day")  # a table that is written may lack them
ATTRIBUTE = "attribute:"  # begins the names of further columns
TRAIN, QUERY, GALLERY, BOTH, TEST = "train", "query", "gallery", "query+gallery", "test"
SPLITS = (TRAIN, QUERY, GALLERY, BOTH, TEST)

_DAY = re.compile(r"(?:20)?(\d\d)-?(\d\d)-?(\d\d)", re.ASCII)


@dataclass(frozen=True)
class TableRow:
    """One tracklet of the table."""

    line: int  # of the file on which the row begins, from 1
    path: str  # of the frames' folder, or a pattern of their names (``*``, ``?``, ``[...]``), relative to the root
    person: str  # '' if unknown (a distractor)
    camera: str = ""  # '' if unknown
    view: str = VIEWS[0]
    altitude: int | None = None  # metres above ground
    day: int | None = None  # YYMMDD
    split: str = ""  # one of ``SPLITS``; '' if the table has no such column
    attributes: tuple[str, ...] = ()  # words of the attribute columns, '' for unknown


@dataclass(frozen=True)
class TrackletTable:
    """A table of tracklets; ``attributes`` are the names of its attribute columns, without ``ATTRIBUTE``."""

    path: Path
    rows: tuple[TableRow, ...]
    attributes: tuple[str, ...] = ()

    def where(self, row: TableRow) -> str:
        """Return the place of a row, which begins a message about it."""
        return f"{self.path}, line {row.line}"


def read_table(path: str | Path) -> TrackletTable:
    """Read a table of tracklets: a CSV file with ``COLUMNS``, and those that begin with ``ATTRIBUTE``, in any order."""
    path = Path(path)
    header, lines = read_csv(path)
    _check_header(path, header)
    columns = tuple(name for name in header if name.startswith(ATTRIBUTE))
    rows = tuple(parse_row(f"{path}, line {line}", line, words, columns) for line, words in lines)
    if not rows:
        raise Mistake(f"{path}: this table has a header, but no tracklet below it.")
    table = TrackletTable(path, rows, tuple(name.removeprefix(ATTRIBUTE) for name in columns))
    check_spellings(table, table.where)
    _check_rows(table)
    return table


def write_table(path: str | Path, rows: Sequence[TableRow], attributes: Sequence[str] = ()) -> None:
    """Write a table of tracklets; ``OPTIONAL`` columns that say nothing about any of them are left out."""
    defaults = {name: getattr(TableRow, name) for name in OPTIONAL}
    names = [name for name in COLUMNS if any(getattr(row, name) != defaults.get(name) for row in rows)]
    table = [[*names, *(ATTRIBUTE + name for name in attributes)]]
    for row in rows:
        words = {**vars(row), "day": None if row.day is None else f"{row.day:06d}"}
        table.append([*(words[name] for name in names), *row.attributes])
    write_text(format_csv(table), path)


def make_tracklets(rows: Sequence[TableRow]) -> list[Tracklet]:
    """Make the records of a whole table's rows, without their frames.

    ``names.number_words`` numbers people, cameras and attributes. A name is the path, percent-encoded as in a URL where
    it has white space or unprintable characters: ranking files separate names by spaces.
    """
    people = number_words(row.person for row in rows)
    cameras = number_words(row.camera for row in rows)
    codes = [number_words(words) for words in zip(*(row.attributes for row in rows), strict=True)]
    return [
        Tracklet(
            name=_escape(row.path),
            frame_paths=(),
            pid=people.get(row.person, UNKNOWN),
            camid=cameras.get(row.camera, UNKNOWN),
            view=row.view,
            altitude=row.altitude,
            attributes=tuple(code.get(word, UNKNOWN) for code, word in zip(codes, row.attributes, strict=True)) or None,
            day=row.day,
            person_word=row.person,
            camera_word=row.camera,
        )
        for row in rows
    ]


def _escape(path: str) -> str:
    return "".join(
        quote(character, safe="", errors="surrogateescape")
        if character.isspace() or character == "%" or not character.isprintable()
        else character
        for character in path
    )


def draw_split(rows: Sequence[TableRow], fraction: float = 0.3, seed: int = 0) -> list[TableRow]:
    """Divide people by ``split.draw_people``, and choose the queries; unknown people go to the gallery."""
    tracklets = make_tracklets(rows)
    ordered = [tracklets[place] for place in _sort_naturally(rows, tracklets)]
    test = draw_people(ordered, fraction, seed, "--test_share") | {UNKNOWN}
    splits = [TEST if tracklet.pid in test else TRAIN for tracklet in tracklets]
    return choose_queries([replace(row, split=split) for row, split in zip(rows, splits, strict=True)], tracklets)


def choose_queries(rows: Sequence[TableRow], tracklets: Sequence[Tracklet]) -> list[TableRow]:
    """Replace the split 'test' by what each tracklet is in the search; all other rows stay as they are.

    The queries are those of ``split.find_queries``, in natural order of the paths. All tracklets are in the gallery;
    but where no cameras are known, a query is a query only.
    """
    places = [place for place in _sort_naturally(rows, tracklets) if rows[place].split == TEST]
    test = [tracklets[place] for place in places]
    queries = {places[number] for number in find_queries(test)}
    query = BOTH if have_cameras(test) or have_both_views(test) else QUERY
    return [
        replace(row, split=query if place in queries else GALLERY) if row.split == TEST else row
        for place, row in enumerate(rows)
    ]


def _sort_naturally(rows: Sequence[TableRow], tracklets: Sequence[Tracklet]) -> list[int]:
    """Return the places of rows in the order of people, then of paths."""
    return sorted(range(len(rows)), key=lambda place: (tracklets[place].pid, natural_key(rows[place].path)))


def _check_header(path: Path, header: Sequence[str]) -> None:
    """Refuse unknown and missing columns."""
    if len(header) == 1 and re.search(r"[;\t]", header[0]):
        raise Mistake(f"{path}, line 1: the columns must be separated by commas; save the table as CSV with commas.")
    first: dict[str, str] = {}
    for name in header:
        if (other := first.setdefault(spelling(name), name)) != name:
            raise Mistake(f"{path}, line 1: {name!a} and {other!a} are two spellings of one column; keep one.")
        if name not in COLUMNS and not (name.startswith(ATTRIBUTE) and name != ATTRIBUTE):
            known = f"the columns are {', '.join(COLUMNS)} and {ATTRIBUTE}NAME"
            raise Mistake(f"{path}, line 1: there is no column {shorten(name)}; {known}.")
    if missing := [name for name in REQUIRED if name not in header]:
        raise Mistake(f"{path}, line 1: the column {missing[0]} is missing.")


def parse_row(where: str, line: int, values: Mapping[str, str], columns: Sequence[str] = ()) -> TableRow:
    """Read a row from its words by column; ``where`` begins a message about it."""
    texts = {name: value.strip() if name in TEXTS else read_word(value) for name, value in values.items()}
    for name, value in values.items():
        if escape_controls(text := name + value.strip()) != text:
            raise Mistake(f"{where}: {escape_controls(name)} has control characters: {shorten(value)}; rename it.")
    if not texts["path"]:
        raise Mistake(f"{where}: path is empty; it names the tracklet's folder, or its frames by a pattern.")
    for name in ("person", "camera"):
        if re.fullmatch("-[0-9]+", texts.get(name, "")):
            raise Mistake(f"{where}: {name} {texts[name]} is negative; leave it empty where the {name} is unknown.")
        if is_rounded(word := values.get(name, "")):
            raise Mistake(f"{where}: {name} {word.strip()} is a rounded number; write all digits, as text.")
    view = texts.get("view", VIEWS[0])
    if view not in VIEWS:
        raise Mistake(f"{where}: view must be one of {', '.join(VIEWS)}, got {shorten(view)}.")
    split = texts.get("split", "")
    if "split" in texts and split not in SPLITS:
        raise Mistake(f"{where}: split must be one of {', '.join(SPLITS)}, got {shorten(split)}.")
    altitude = texts.get("altitude", "")
    return TableRow(
        line,
        os.path.normpath(values["path"]),
        texts["person"],
        texts.get("camera", ""),
        view,
        parse_integer(altitude, f"{where}: altitude") if altitude else None,
        _parse_day(texts.get("day", ""), where),
        split,
        tuple(texts[name] for name in columns),
    )


def _parse_day(text: str, where: str) -> int | None:
    """Read a day, YYMMDD, from a date such as '2026-04-27', '20260427' or '260427'; None for ''."""
    if not text:
        return None
    match = _DAY.fullmatch(text)
    try:
        digits = "".join(match.groups()) if match else ""
        datetime.strptime(digits, "%y%m%d")
    except ValueError:
        raise Mistake(f"{where}: day must be a date such as 2026-04-27 or 260427, got {shorten(text)}.") from None
    return int(digits)


def check_spellings(table: TrackletTable, where: Callable[[TableRow], str]) -> None:
    """Refuse a person, camera or attribute that is spelt in two ways; ``where`` says where a row is."""
    columns = {"person": [row.person for row in table.rows], "camera": [row.camera for row in table.rows]}
    columns |= {name: [row.attributes[place] for row in table.rows] for place, name in enumerate(table.attributes)}
    for name, words in columns.items():
        first: dict[str, tuple[str, TableRow]] = {}
        for word, row in zip(words, table.rows, strict=True):
            other, place = first.setdefault(spelling(word), (word, row))
            if word != other:
                both = f"{name} {ascii(word)} here and {ascii(other)} in {where(place)}"
                raise Mistake(f"{where(row)}: {both} are two spellings of one {name}; write it in one way.")


def _check_rows(table: TrackletTable) -> None:
    """Refuse unknown people who are not distractors, a path twice, and a person in train and test (no fair scores)."""
    line_of: dict[str, int] = {}
    training = {row.person: row.line for row in table.rows if row.split == TRAIN}
    for row in table.rows:
        where = f"{table.where(row)}:"
        if not row.person and row.split in (TRAIN, QUERY, BOTH):
            raise Mistake(
                f"{where} an unknown person cannot be in {row.split}; set split to {GALLERY}, or name the person."
            )
        if row.path in line_of:
            raise Mistake(f"{where} {shorten(row.path)} stands on line {line_of[row.path]} already.")
        line_of[row.path] = row.line
        if row.split and row.split != TRAIN and row.person in training:
            both = f"person {shorten(row.person)} is in {row.split} here and in {TRAIN} on line {training[row.person]}"
            raise Mistake(f"{where} {both}; a person must be in one of both only.")
