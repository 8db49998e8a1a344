"""Describe folders of tracklets by a table: find frames, read names by a pattern, say what was understood."""

import difflib
import glob
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from utils.mistake import Mistake
from utils.tables import format_table
from utils.text import natural_key, shorten

from ..problems import printable
from ..tracklet import VIEWS
from .listing import IMAGE_SUFFIXES, find_root, walk_folders
from .own_data import list_frames
from .tracklet_table import (
    GALLERY,
    QUERY,
    SPLITS,
    TEST,
    TRAIN,
    TableRow,
    TrackletTable,
    parse_row,
    read_table,
)

# What the names of folders mean, by the number of / in them, where no pattern is given.
USUAL_PATTERNS = {1: "{person}/{camera}", 2: "{person}/{camera}/{tracklet}"}
NUM_EXAMPLES = 5
# What each field of a pattern stands for, as a regular expression.
FIELDS = {
    "person": r"[^/]+?",
    "camera": r"[^/]+?",
    "tracklet": r"[^/]+?",
    "view": "|".join(VIEWS),
    "altitude": "[0-9]+",
    "day": "(?:20)?[0-9]{2}-?[0-9]{2}-?[0-9]{2}",
    "split": "|".join((TRAIN, QUERY, GALLERY, TEST)),
    "frame": r"[^/]+?",
}


class FolderPattern:
    """A pattern such as ``{person}/cam{camera}_{tracklet}``, ready to be matched.

    It is matched against paths of folders that hold frames, relative to the root; one with ``{frame}``
    (``names_frames``) against paths of the frames themselves. A field stands for one or more characters but ``/``, as
    few as fit, ``*`` for any number of them. A field that occurs twice must be the same twice.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        expression, seen = "", set()
        for part in re.split(r"(\{[^{}]*\}|\*)", text.strip("/")):
            if not part.startswith("{"):
                expression += "[^/]*" if part == "*" else re.escape(part)
                continue
            name = part[1:-1]
            if name not in FIELDS:
                near = difflib.get_close_matches(name, FIELDS, 1, 0.5)
                hint = f" Did you mean {{{near[0]}}}?" if near else ""
                fields = ", ".join(f"{{{field}}}" for field in FIELDS)
                raise Mistake(f"--pattern: there is no field {part}.{hint} The fields are {fields}.")
            expression += f"(?P={name})" if name in seen else f"(?P<{name}>{FIELDS[name]})"
            seen.add(name)
        if "person" not in seen:
            raise Mistake(f"--pattern must say where the {{person}} stands, got {shorten(text)}.")
        self.names_frames = "frame" in seen
        if self.names_frames and "{frame}" not in text.rpartition("/")[2]:
            raise Mistake(f"--pattern must have {{frame}} in its last part, behind the last /, got {shorten(text)}.")
        self._expression = re.compile(expression, re.DOTALL)

    def match(self, path: str) -> re.Match[str] | None:
        """Match a whole path, with ``/`` between folders; the groups are the fields."""
        return self._expression.fullmatch(path)


@dataclass(frozen=True)
class Description:
    """What is known of some tracklets before they are divided into splits."""

    table: TrackletTable  # those of folders are in natural order of the paths
    source: str  # where this comes from, for people
    unread: tuple[str, ...] = ()  # what is left out, each in one sentence


def describe_table(path: Path) -> Description:
    """Read a table that has no splits yet."""
    table = read_table(path)
    if table.rows[0].split:
        raise Mistake(f"{path}, line 1: there is a column split already; remove it to have another drawn.")
    return Description(table, str(path))


def describe_folders(root: str | Path, output: Path, pattern: str = "") -> Description:
    """Read the names of all folders with frames below a folder; ``output`` is the table's path, for messages.

    ``pattern`` says what the names mean, as in ``FolderPattern``; '' for ``USUAL_PATTERNS``.
    """
    root = find_root(root, "folders of tracklets")
    folders, unread = walk_folders(root)
    images_of = {folder.place: folder.images for folder in folders if folder.images}
    if not images_of:
        raise Mistake(f"{root}: no folder below it has images ({', '.join(IMAGE_SUFFIXES)}).")
    source = "as given" if pattern else "as usual; --pattern gives another"
    pattern = pattern or _choose_pattern(root, images_of)
    compiled = FolderPattern(pattern)
    found: dict[str, TableRow] = {}
    paths = _join_names(images_of) if compiled.names_frames else list(images_of)
    for path in sorted(paths, key=natural_key):
        match = compiled.match(path)
        if match is None:
            unread.append(f"{printable(path)}: the pattern {pattern} does not fit this name.")
            continue
        fields = match.groupdict()
        place = path
        if compiled.names_frames:
            start, end = match.span("frame")
            name = path.rfind("/") + 1
            place = f"{path[:name]}{glob.escape(path[name:start])}*{glob.escape(path[end:])}"
        if printable(place) != place:
            unread.append(f"{printable(path)}: rename it; this name has unprintable characters.")
        elif place not in found:
            found[place] = parse_row(path, len(found) + 2, {**fields, "path": place})  # line 1 is the table's head
    if not found:
        kind = "images" if compiled.names_frames else "folders with images"
        examples = ", ".join(shorten(path) for path in paths[:3])
        raise Mistake(f"{root}: the pattern {pattern} fits none of the {len(paths)} {kind}, such as {examples}.")
    return Description(TrackletTable(output, tuple(found.values())), f"{pattern} ({source})", tuple(unread))


def count_frames(root: str | Path, table: TrackletTable) -> dict[int, int]:
    """Count the frames of each row of a table, by line; refuse a row that has none, or shares one with another."""
    return {line: len(frames) for line, frames in list_frames(Path(root), table, table.rows).items()}


def format_description(description: Description, num_frames: Mapping[int, int]) -> str:
    """Lay out the first tracklets, the counts, and what was not read; ``num_frames`` is of ``count_frames``."""
    rows, unread = description.table.rows, description.unread
    first = [
        [printable(row.path), row.person or "unknown", row.camera or "unknown", row.view, num_frames[row.line]]
        for row in rows[:NUM_EXAMPLES]
    ]
    lines = [f"Read by {description.source}", ""]
    lines += [format_table(["path", "person", "camera", "view", "frames"], first, "<<<<>")]
    lines += [f"... and {len(rows) - len(first)} more"] if len(rows) > len(first) else []
    lines += ["", format_counts([replace(row, split="") for row in rows], num_frames)]
    if unread:
        lines += ["", f"Not read ({len(unread)}):", *(f"  {text}" for text in unread[:NUM_EXAMPLES])]
    if len(unread) > NUM_EXAMPLES:
        lines.append(f"  ... and {len(unread) - NUM_EXAMPLES} more")
    return "\n".join(lines)


def format_counts(rows: Sequence[TableRow], num_frames: Mapping[int, int]) -> str:
    """Lay out how many people, cameras, tracklets and frames there are, and in each split if there are splits."""
    groups = {"all": rows} | {name: [row for row in rows if row.split == name] for name in SPLITS}
    counts = [
        [
            name,
            len({row.person for row in group} - {""}),
            len({row.camera for row in group} - {""}),
            len(group),
            sum(num_frames[row.line] for row in group),
        ]
        for name, group in groups.items()
        if group
    ]
    return format_table(["split", "people", "cameras", "tracklets", "frames"], counts)


def _join_names(images_of: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the paths of all images, relative to the root."""
    return [name if folder == "." else f"{folder}/{name}" for folder, names in images_of.items() for name in names]


def _choose_pattern(root: Path, folders: Collection[str]) -> str:
    """Return the usual pattern of folders that are as deep as most of these are."""
    depth, _ = Counter(folder.count("/") for folder in folders).most_common(1)[0]
    if depth not in USUAL_PATTERNS:
        raise Mistake(
            f"{root}: folders with images, such as {shorten(next(iter(folders)))}, do not say who is who, as "
            'person/camera would; say it with --pattern, as in --pattern "{person}/cam{camera}_{tracklet}".'
        )
    return USUAL_PATTERNS[depth]
