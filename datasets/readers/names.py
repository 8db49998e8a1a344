"""Say what the names of files and folders, and the words of tables, mean: numbers, and the order of frames."""

import bisect
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

from utils.text import INT64_MAX, natural_key

from ..problems import Problems, printable

NUM_EXAMPLES = 5  # of things of one kind that a message names
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
OTHER_PICTURES = (".webp", ".bmp", ".gif", ".tif", ".tiff", ".jfif", ".jpe", ".jp2", ".heic", ".avif", ".ppm", ".pgm")
# What operating systems, network drives, archives and offices leave in folders.
_OF_A_SYSTEM = re.compile(
    r"[@~$].*|#recycle|#snapshot|system volume information|recycle[rd]|found\.\d{3}|lost\+found|network trash folder|"
    r"temporary items|thevolumesettingsfolder|__macosx|__pycache__|thumbs\.db|ehthumbs\.db|desktop\.ini|"
    r"(?:folder|albumart.*)\.jpg",
    re.IGNORECASE | re.DOTALL,
)
SHEETS_ENDING = "_contact_sheets"  # of the folders of pictures that tools.cut_tracklets writes beside tracklets

_FRAME_NUMBER = re.compile(r"f(?:rame)?[_-]?([0-9]+)$", re.IGNORECASE)
_LAST_INTEGER = re.compile(r"(\d+)\D*$", re.ASCII)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is left out wherever a data set is listed."""
    return name.startswith(".") or is_left_by_system(name)


def is_left_by_system(name: str) -> bool:
    """Whether a program left a file or folder that a user did not hide."""
    return _OF_A_SYSTEM.fullmatch(name) is not None or name.endswith(SHEETS_ENDING)


def is_image_name(name: str) -> bool:
    """Whether a file name is that of an image, and not hidden."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not is_hidden(name)


def is_utf8(name: str) -> bool:
    """Return whether a name from disk is UTF-8; Python shows other bytes as surrogates."""
    return os.fsencode(name) == name.encode(errors="replace")


def frame_order(name: str) -> tuple[object, ...]:
    """Return the key by which the frames of a tracklet are sorted: natural order, in which 9 comes before 10.

    A number at the end that an F announces, as in ``..E152K7F7528.jpg`` or ``frame_12.png``, comes before all else.
    """
    match = _FRAME_NUMBER.search(os.path.splitext(name)[0])
    return int(match[1]) if match else -1, natural_key(name)


def sort_frames(folder: str | os.PathLike[str], names: Iterable[str]) -> tuple[str, ...]:
    """Return paths of frames in their order in time."""
    return tuple(os.path.join(folder, name) for name in sorted(names, key=frame_order))


def choose_beginning(names: Sequence[str], beginning: str) -> Sequence[str]:
    """Return those of sorted names that have a beginning; of millions, no others are looked at."""
    start = bisect.bisect_left(names, beginning)
    return names[start : bisect.bisect_left(names, beginning + "\U0010ffff", start)]


def last_integer(name: str) -> int:
    """Return the last run of digits in a file name, its suffix excepted; -1 without one."""
    match = _LAST_INTEGER.search(os.path.splitext(name)[0])
    return int(match[1]) if match else -1


def count_kinds(sentences: Iterable[str]) -> list[str]:
    """Return a line for each kind of sentence, 'PATH: what is wrong.', with their number and the first paths."""
    places: dict[str, list[str]] = defaultdict(list)
    for sentence in sentences:
        place, _, fault = sentence.rpartition(": ")
        places[fault].append(place)
    return [
        f"{fault.rstrip('.')} ({len(found)}): {', '.join(found[:NUM_EXAMPLES])}{', ...' * (len(found) > NUM_EXAMPLES)}"
        for fault, found in places.items()
    ]


def number_words(words: Iterable[str]) -> dict[str, int]:
    """Number words for people, cameras or attributes; unknown ones ('') get no number.

    Words that are different whole numbers keep these; all other sets of words are numbered from 0 in natural order.
    """
    distinct = sorted(set(words) - {""}, key=natural_key)
    if all(re.fullmatch(r"\d{1,18}", word, re.ASCII) for word in distinct):
        numbers = {word: int(word) for word in distinct}
        if len(set(numbers.values())) == len(numbers):
            return numbers
    return {word: number for number, word in enumerate(distinct)}


def number_folders(folders: Iterable[os.DirEntry[str]], prefix: str, problems: Problems) -> dict[int, str]:
    """Return the paths of identities' folders by their numbers; report other names, and two spellings of a number."""
    path_of: dict[int, str] = {}
    for folder in folders:
        path, match = printable(folder.path), re.fullmatch(rf"{prefix}(\d+)", folder.name, re.ASCII)
        if match is None or int(match[1]) > INT64_MAX:
            example = f"like {prefix}001" if prefix else "that is a number"
            problems.add("identity folder", f"{path}: expected a folder name {example}, of at most 64 bits.")
        elif (other := path_of.setdefault(int(match[1]), folder.path)) != folder.path:
            problems.add("identity folder", f"{path} and {printable(other)} are the same identity, {int(match[1])}.")
    return path_of
