"""Describes folders of tracklets by a table: finds the frames, reads the names, and says what it understood."""

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from utils.mistake import Mistake
from utils.tables import format_table
from utils.text import natural_key, shorten

from ..tracklet import VIEWS
from .folder_pattern import FolderPattern, guess_pattern
from .listing import IMAGE_SUFFIXES, find_root, is_image_name, printable
from .own_data import list_frames
from .tracklet_table import SPLITS, UNKNOWN_WORDS, TableRow, TrackletTable, parse_day, read_table

MIN_TRACKLETS = 6  # three people, seen twice each, are the fewest to train and test on
NUM_EXAMPLES = 5


@dataclass(frozen=True)
class Description:
    """What is known of some tracklets before they are divided into splits.

    Attributes:
        table: The tracklets; those of folders are in natural order of the paths.
        source: Where this comes from, for people.
        unread: What is left out, each in one sentence.
    """

    table: TrackletTable
    source: str
    unread: tuple[str, ...] = ()


def describe_table(path: Path) -> Description:
    """Read a table that has no splits yet.

    Raises:
        FileNotFoundError, ValueError: As ``read_table``, and if the table has splits.
    """
    table = read_table(path)
    if table.rows[0].split:
        raise Mistake(f"{path}, line 1: there is a column split already; remove it to have another drawn.")
    return Description(table, str(path))


def describe_folders(root: str | Path, output: Path, pattern: str = "") -> Description:
    """Read the names of all folders with frames below a folder.

    Args:
        root: The folder.
        output: Where the table will be, for messages.
        pattern: What the names mean, as in ``folder_pattern``; '' to guess.
    Raises:
        FileNotFoundError: If there is no such folder.
        ValueError: If there are no images, if the pattern is no pattern, if it fits nothing, or if none can be guessed.
    """
    root = find_root(root, "folders of tracklets")
    images_of, unread = _find_images(root)
    if not images_of:
        raise Mistake(f"{root}: no folder below it has images ({', '.join(IMAGE_SUFFIXES)}).")
    source = "as given" if pattern else "guessed; --pattern corrects it"
    pattern = pattern or _guess(root, images_of)
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
            found[place] = _make_row(len(found) + 2, place, fields)  # line 1 is the table's head
    if not found:
        kind = "images" if compiled.names_frames else "folders with images"
        examples = ", ".join(shorten(path) for path in paths[:3])
        raise Mistake(f"{root}: the pattern {pattern} fits none of the {len(paths)} {kind}, such as {examples}.")
    return Description(TrackletTable(output, tuple(found.values())), f"{pattern} ({source})", tuple(unread))


def count_frames(root: str | Path, table: TrackletTable) -> dict[int, int]:
    """Count the frames of each row of a table, by line.

    Raises:
        FileNotFoundError, ValueError: If a row has none, or shares one with another; the message names its line.
    """
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


def _find_images(root: Path) -> tuple[dict[str, list[str]], list[str]]:
    """Find the folders that have images.

    Links are followed, except into a folder that was seen already; what is hidden is left out.

    Returns:
        The names of the images by folder, relative to the root, which is '.'; and one sentence for each innermost
        folder without images, link that leads nowhere, and folder that cannot be listed.
    """
    images_of: dict[str, list[str]] = {}
    problems: list[str] = []
    seen = set()

    def note_error(error: OSError) -> None:
        problems.append(f"{printable(os.path.relpath(error.filename, root))}: it cannot be listed: {error.strerror}.")

    for folder, subfolders, names in os.walk(root, onerror=note_error, followlinks=True):
        place = os.path.realpath(folder)
        subfolders[:] = [] if place in seen else sorted(name for name in subfolders if not name.startswith("."))
        if place in seen:
            continue
        seen.add(place)
        relative = Path(folder).relative_to(root).as_posix()
        images = [name for name in names if is_image_name(name)]
        others = (os.path.join(folder, name) for name in set(names).difference(images))
        problems += [
            f"{printable(os.path.relpath(path, root))}: this link leads nowhere."
            for path in others
            if not os.path.exists(path)
        ]
        if images:
            images_of[relative] = images
        elif not subfolders:
            problems.append(f"{printable(relative)}: this folder has no images.")
    return images_of, sorted(problems, key=natural_key)


def _join_names(images_of: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the paths of all images, relative to the root."""
    return [name if folder == "." else f"{folder}/{name}" for folder, names in images_of.items() for name in names]


def _guess(root: Path, images_of: Mapping[str, Sequence[str]]) -> str:
    """Guess a pattern of the folders; of the frames, if the folders can be no tracklets that show people twice."""
    pattern = guess_pattern(list(images_of))
    matches = map(FolderPattern(pattern).match, images_of) if "{person}" in pattern else ()
    people = Counter(match["person"] for match in matches if match)
    if len(images_of) >= MIN_TRACKLETS and people and max(people.values()) > 1:
        return pattern
    paths = _join_names(images_of)
    pattern = guess_pattern(paths, names_frames=True)
    if "{person}" not in pattern:
        raise Mistake(
            f"{root}: the names of folders and images, such as {shorten(paths[0])}, do not show who is who; say it "
            'with --pattern, as in --pattern "{person}/{camera}".'
        )
    return pattern


def _make_row(line: int, path: str, fields: Mapping[str, str | None]) -> TableRow:
    """Make the row of a tracklet from the fields of its pattern."""
    texts = {name: (text or "").strip() for name, text in fields.items()}
    person, camera = ("" if (word := texts.get(name, "")) in UNKNOWN_WORDS else word for name in ("person", "camera"))
    return TableRow(
        line,
        path,
        person,
        camera,
        texts.get("view", VIEWS[0]),
        int(texts["altitude"]) if "altitude" in texts else None,
        parse_day(texts.get("day", ""), path),
        texts.get("split", ""),
    )
