"""Patterns that say what the names of folders and files mean, and a guess at the pattern of some names.

A pattern such as ``{person}/cam{camera}_{tracklet}`` is matched against paths of folders that hold frames, relative to
the root; one with ``{frame}`` is matched against paths of the frames themselves. A field stands for one or more
characters but ``/``, as few as fit, ``*`` for any number of them. A field that occurs twice must be the same twice.
"""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from utils.mistake import Mistake
from utils.text import shorten

from ..tracklet import VIEWS
from .tracklet_table import GALLERY, QUERY, TEST, TRAIN

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
# Words that announce a field, as in 'cam3', 'person_12' or 'C3T7'.
_ANNOUNCES = {
    **dict.fromkeys(("person", "pid", "id", "identity", "subject", "p"), "person"),
    **dict.fromkeys(("camera", "cam", "c"), "camera"),
    **dict.fromkeys(("tracklet", "track", "sequence", "seq", "clip", "t"), "tracklet"),
    **dict.fromkeys(("frame", "img", "image", "f"), "frame"),
    **dict.fromkeys(("altitude", "alt"), "altitude"),
}
_CLOSED = {"split": {TRAIN, QUERY, GALLERY, TEST}, "view": set(VIEWS)}  # recognised by their words alone
_SHARE = 0.9  # of the names that must have one form for it to count as the form of all


class FolderPattern:
    """A pattern that is ready to be matched; ``names_frames`` says whether it does so with frames instead of folders.

    Raises:
        ValueError: If a field does not exist, if there is no person, or if the frame is not in the last part.
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


@dataclass
class _Piece:
    """A part of a path: fixed text, or a field that differs between paths.

    Attributes:
        text: The fixed text; '' for a field.
        values: The texts of a field, one for each path that has the common form.
        field: What the field means; '' while it is not known.
    """

    text: str = ""
    values: Sequence[str] = ()
    field: str = ""

    @property
    def num_values(self) -> int:
        return len(set(self.values))


def guess_pattern(paths: Sequence[str], names_frames: bool = False) -> str:
    """Guess what the parts of paths mean, from words that announce them and from how often their values repeat.

    Args:
        paths: At least one path, relative, with ``/`` between folders.
        names_frames: Whether these are the paths of frames rather than of folders.
    Returns:
        The text of a pattern that fits most of the paths. The guess can be wrong, so people are shown what follows.
    """
    depth, _ = Counter(path.count("/") for path in paths).most_common(1)[0]
    levels = zip(*(path.split("/") for path in paths if path.count("/") == depth), strict=True)
    pieces: list[_Piece] = []
    for level in levels:
        pieces += [*_take_apart(level), _Piece("/")]
    pieces.pop()
    fields = [piece for piece in pieces if not piece.text]
    if names_frames and fields and all(piece.field != "frame" for piece in fields):
        fields[-1].field = "frame"
    _assign(fields, len(paths))
    if names_frames:
        end = max((place for place, piece in enumerate(pieces) if piece.field == "frame"), default=len(pieces) - 1)
        pieces = pieces[: end + 1]  # the rest, with the suffix, is the frame's
    return "".join(piece.text or (f"{{{piece.field}}}" if piece.field else "*") for piece in pieces)


def _take_apart(names: Sequence[str]) -> list[_Piece]:
    """Take the names of one level of folders apart, at ``_`` and ``-``, and at the numbers."""
    for separators in ("_-", "_", "-"):
        tokens = [re.split(f"([{separators}])", name) for name in names]
        form, count = Counter(tuple(token[1::2]) for token in tokens).most_common(1)[0]
        columns = list(zip(*(token[::2] for token in tokens if tuple(token[1::2]) == form), strict=True))
        pieces = [piece for place, column in enumerate(columns) for piece in _take_column(form, place, column)]
        _announce(pieces)
        # A second word, as in 'anna_m', may belong to the first: only numbers and announced words stand alone.
        words = [piece for piece in pieces[1:] if piece.values and not piece.field and not _are_numbers(piece.values)]
        if count >= _SHARE * len(names) and not words:
            return pieces
    pieces = _take_numbers_out(names)
    _announce(pieces)
    return pieces


def _take_column(form: Sequence[str], place: int, column: Sequence[str]) -> list[_Piece]:
    """Take one column of tokens apart; the separator before it comes first."""
    return [*([_Piece(form[place - 1])] if place else []), *_take_numbers_out(column)]


def _take_numbers_out(tokens: Sequence[str]) -> list[_Piece]:
    """Take tokens such as 'cam1' apart into text and numbers if the text is the same in nearly all."""
    for field, words in _CLOSED.items():
        if set(tokens) <= words and len(set(tokens)) > 1:
            return [_Piece(values=tokens, field=field)]
    runs = [re.split(r"([0-9]+)", token) for token in tokens]
    texts, count = Counter(tuple(run[::2]) for run in runs).most_common(1)[0]
    if count < _SHARE * len(tokens):
        return [_Piece(values=tokens)]
    numbers = list(zip(*(run[1::2] for run in runs if tuple(run[::2]) == texts), strict=True))
    pieces = [_Piece(texts[0])] if texts[0] else []
    for text, values in zip(texts[1:], numbers, strict=True):
        pieces.append(_Piece(values[0]) if len(set(values)) == 1 else _Piece(values=values))
        pieces += [_Piece(text)] if text else []
    return pieces or [_Piece(values=tokens)]


def _are_numbers(tokens: Iterable[str]) -> bool:
    return all(token.isdecimal() for token in tokens)


def _announce(pieces: Sequence[_Piece]) -> None:
    """Set the meaning of fields that follow a word for it, directly or behind a separator."""
    for place, piece in enumerate(pieces):
        before = "".join(other.text for other in pieces[max(0, place - 2) : place])
        word = re.search(r"([A-Za-z]+)[ _-]?$", before)
        if not piece.text and not piece.field and word:
            piece.field = _ANNOUNCES.get(word[1].lower(), "")


def _assign(fields: Sequence[_Piece], num_paths: int) -> None:
    """Set the meaning of fields that no word announces."""
    open_fields = [piece for piece in fields if not piece.field]
    known = {piece.field for piece in fields}
    order = [name for name in ("person", "camera", "tracklet") if name not in known]
    if open_fields and "camera" in order:
        place = 1 if "person" in order else 0  # of the camera, if people come first
        if len(open_fields) <= place:
            order = ["person"]
        elif _is_serial(open_fields[place], num_paths) and len(open_fields) == place + 1:
            order.remove("camera")
        elif place and open_fields[1].num_values > open_fields[0].num_values:
            order = ["camera", "person", *order[2:]]
    for piece, name in zip(open_fields, order, strict=False):
        piece.field = name


def _is_serial(piece: _Piece, num_paths: int) -> bool:
    """Return whether a field numbers tracklets: most of its values occur once."""
    return piece.num_values > num_paths / 2
