"""Describe folders of tracklets by a table: find frames, read names by a pattern, say what was understood."""

import glob
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from utils.mistake import Mistake
from utils.text import format_table, natural_key, shorten, spelling

from ..problems import printable
from ..tracklet import VIEWS
from .listing import find_images, find_root
from .names import IMAGE_SUFFIXES, NUM_EXAMPLES, count_kinds
from .tracklet_table import GALLERY, QUERY, SPLITS, TEST, TRAIN, TableRow, TrackletTable, check_spellings, parse_row

# What the names of folders mean, by the number of / in them, where no pattern is given.
USUAL_PATTERNS = {1: "{person}/{camera}", 2: "{person}/{camera}/{tracklet}"}
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


def compile_pattern(text: str) -> re.Pattern[str]:
    """Turn a pattern such as ``{person}/cam{camera}_{tracklet}`` into an expression with a group for each field.

    It matches whole paths, relative to the root: of folders that hold frames; with ``{frame}``, of the frames
    themselves. A field stands for one or more characters but ``/``, ``*`` for any number of them. A field may say what
    it spans, as ``{person:site_*/person_*}`` does.
    """
    expression, seen = "", set()
    for part in re.split(r"(\{[^{}]*\}|\*)", text.strip("/")):
        name, _, span = part[1:-1].partition(":")
        if not part.startswith("{"):
            expression += "[^/]*" if part == "*" else re.escape(part)
        elif name in FIELDS:
            own = "[^/]*".join(map(re.escape, span.split("*"))) or FIELDS[name]
            expression += f"(?P={name})" if name in seen else f"(?P<{name}>{own})"
            seen.add(name)
        else:
            fields = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise Mistake(f"--pattern: there is no field {part}; the fields are {fields}.")
    if "person" not in seen:
        raise Mistake(f"--pattern must say where the {{person}} stands, got {shorten(text)}.")
    if "frame" in seen and "{frame}" not in text.rpartition("/")[2]:
        raise Mistake(f"--pattern must have {{frame}} in its last part, behind the last /, got {shorten(text)}.")
    return re.compile(expression, re.DOTALL)


class Description(NamedTuple):
    """What is known of some tracklets before they are divided into splits."""

    table: TrackletTable  # those of folders are in natural order of the paths
    source: str  # where this comes from, for people
    unread: Sequence[str] = ()  # what is left out, each in one sentence
    notes: Sequence[str] = ()  # what to look at


def describe_folders(
    root: str | Path, output: Path, pattern: str = "", distractors: Collection[str] = ()
) -> Description:
    """Read the names of all folders with frames below a folder; ``output`` is the table's path, for messages.

    ``pattern`` says what the names mean, as in ``compile_pattern``; '' for ``USUAL_PATTERNS``. ``distractors`` are
    people who are nobody.
    """
    root = find_root(root, "folders of tracklets")
    images_of, unread = find_images(root)
    if not images_of:
        raise Mistake(f"{root}: no folder below it has images ({', '.join(IMAGE_SUFFIXES)}).")
    source = "as given" if pattern else "as usual; --pattern gives another"
    pattern = pattern or _choose_pattern(root, images_of)
    expression = compile_pattern(pattern)
    names_frames = "frame" in expression.groupindex
    paths = list(images_of)
    if names_frames:
        paths = [f"{place}/{name}".removeprefix("./") for place, names in images_of.items() for name in names]
    found: dict[str, TableRow] = {}
    nobody = {spelling(word): word for word in distractors}
    above: dict[str, set[str]] = defaultdict(set)  # a person's number -> what no field explains before it
    for path in sorted(paths, key=natural_key):
        match = expression.fullmatch(path)
        if match is None:
            unread.append(f"{printable(path)}: the pattern {pattern} does not fit this name.")
            continue
        place = path
        if names_frames:
            start, end = match.span("frame")
            name = path.rfind("/") + 1
            place = f"{path[:name]}{glob.escape(path[name:start])}*{glob.escape(path[end:])}"
        if printable(place) != place:
            unread.append(f"{printable(path)}: rename it; this name has unprintable characters.")
        elif place not in found:
            words = {**match.groupdict(), "path": place}
            above[words["person"]].add(_find_unexplained(match))
            words["person"] = "" if spelling(words["person"]) in nobody else words["person"]
            found[place] = parse_row(path, len(found) + 2, words)  # line 1 is the table's head
    if not found:
        kind = "images" if names_frames else "folders with images"
        examples = ", ".join(shorten(path) for path in paths[:3])
        raise Mistake(f"{root}: the pattern {pattern} fits none of the {len(paths)} {kind}, such as {examples}.")
    if unseen := nobody.keys() - set(map(spelling, above)):
        raise Mistake(f"--distractors: no person is called {shorten(nobody[min(unseen)])}.")
    table = TrackletTable(output, tuple(found.values()))
    check_spellings(table, lambda row: row.path)
    notes = [
        f"person {person} stands below {' and '.join(sorted(places)[:2])} and is one person in both; where people are "
        'numbered anew in each folder, say so with a person that spans it, as in --pattern "{person:site_*/*}/{camera}"'
        for person, places in above.items()
        if len(places) > 1
    ][:1]
    notes += [
        f"person {person}: false detections in sets named as Market-1501; --distractors {person} makes them distractors"
        for person in above
        if not person.strip("0") and spelling(person) not in nobody
    ]
    people, cameras = ({getattr(row, name) for row in table.rows} - {""} for name in ("person", "camera"))
    if len(people) < len(cameras):
        notes.append(
            f"{len(people)} people in {len(cameras)} cameras: if names mean something else, say so by --pattern"
        )
    if num_unknown := sum(not row.person for row in table.rows):
        notes.append(f"{num_unknown} tracklets show nobody known: they become distractors in the gallery")
    return Description(table, f"{pattern} ({source})", unread, notes)


def _find_unexplained(match: re.Match[str]) -> str:
    """Return the path before the person, with a * for each field."""
    text, end = "", 0
    spans = sorted(map(match.span, match.groupdict()))
    for start, stop in spans[: spans.index(match.span("person"))]:
        text, end = f"{text}{match.string[end:start]}*", stop
    return text + match.string[end : match.start("person")]


def _choose_pattern(root: Path, folders: Collection[str]) -> str:
    """Return the usual pattern of folders that are as deep as most of these are."""
    depth, _ = Counter(folder.count("/") for folder in folders).most_common(1)[0]
    if depth not in USUAL_PATTERNS:
        raise Mistake(
            f"{root}: folders with images, such as {shorten(next(iter(folders)))}, do not say who is who, as "
            'person/camera would; say it with --pattern, as in --pattern "{person}/cam{camera}_{tracklet}".'
        )
    return USUAL_PATTERNS[depth]


def format_description(description: Description, frames: Mapping[int, Sized]) -> str:
    """Lay out the first tracklets, the counts, and what was not read; ``frames`` are of ``own_data.list_frames``."""
    rows, unread = description.table.rows, description.unread
    first = [
        [printable(row.path), row.person or "unknown", row.camera or "unknown", row.view, len(frames[row.line])]
        for row in rows[:NUM_EXAMPLES]
    ]
    lines = [f"Read by {description.source}", ""]
    lines += [format_table(["path", "person", "camera", "view", "frames"], first, "<<<<>")]
    lines += [f"... and {len(rows) - len(first)} more"] if len(rows) > len(first) else []
    lines += ["", format_counts([replace(row, split="") for row in rows], frames)]
    if unread:
        lines += ["", f"Not read ({len(unread)}):", *(f"  {text}" for text in count_kinds(unread))]
    lines += ["", *(f"Note: {text}." for text in description.notes)] if description.notes else []
    return "\n".join(lines)


def format_counts(rows: Sequence[TableRow], frames: Mapping[int, Sized]) -> str:
    """Lay out how many people, cameras, tracklets and frames there are, and in each split if there are splits."""
    groups = {"all": rows} | {name: [row for row in rows if row.split == name] for name in SPLITS}
    counts = [
        [
            name,
            len({row.person for row in group} - {""}),
            len({row.camera for row in group} - {""}),
            len(group),
            sum(len(frames[row.line]) for row in group),
        ]
        for name, group in groups.items()
        if group
    ]
    return format_table(["split", "people", "cameras", "tracklets", "frames"], counts)
