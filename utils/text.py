"""Read small text files, words and integers, with errors that name file and line; sort names; lay out tables."""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path

from .mistake import MissingFile, Mistake

# How tables and data frames write that something is unknown, without punctuation; folders are called 'unknown', too.
_UNKNOWN = frozenset(("", "nan", "none", "na", "nat", "null", "nil", "missing", "undefined", "unknown"))
_UNKNOWN |= frozenset(("nul", "unk", "notavailable", r"\n", "1qnan", "1ind", "value!", "ref!", "null!", "div0!"))
_WHOLE = re.compile(r"([+-]?\d+)\.0*", re.ASCII)  # a whole number that went through a column of floats
_POWER = re.compile(r"-?\d(?:\.\d{1,18})?e[+]\d\d", re.ASCII | re.IGNORECASE)  # as NumPy and Excel write it
_SCIENTIFIC = re.compile(r"[1-9]\d{0,17}(?:\.(\d{0,18}))?e([+]?\d{1,2})", re.ASCII | re.IGNORECASE)
_AROUND_UNKNOWN = re.compile(r"[\s#<>()\[\]{}./?_\u2010-\u2015\u2212-]")
_NUMBER = re.compile(r"[+#]?([0-9]+)(?:[.,]([0-9]*))?")  # as people write it
_SEPARATOR = r"[\s_.,:;\u2010-\u2015-]+"  # of parts of a word
_BETWEEN_DIGITS = re.compile(rf"(?<=[0-9])(?!\.[0-9]){_SEPARATOR}(?=[0-9])")  # 1_1 is not 11
_BESIDE_LETTERS = re.compile(rf"(?<=[^\W\d_]){_SEPARATOR}(?=\w)|(?<=\w){_SEPARATOR}(?=[^\W\d_])")
_QUOTES = "'\"\u2019"
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_CONTROL = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")
_FORMULA = re.compile("'*[=+@\uff1d\uff0b\uff0d\uff20-]")  # ASCII and full-width signs
_GUARD = re.compile(rf"^'(?={_FORMULA.pattern})")
_PLAIN_NUMBER = re.compile(r"[+-]?(inf|nan|(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)", re.ASCII | re.IGNORECASE)
_QUOTED = 60  # characters of a bad value that a message repeats
INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1


def read_text(path: str | Path) -> str:
    """Read a whole UTF-8 text file, with or without a byte order mark; line ends stay as they are."""
    if not Path(path).is_file():  # reading a pipe would wait forever
        raise MissingFile(f"{path} is not a file.")
    content = Path(path).read_bytes()
    try:
        text, wrong = content.decode("utf-8-sig"), content.find(b"\0")  # NULs fill UTF-16, which may be valid UTF-8
    except UnicodeDecodeError as error:
        text, wrong = "", error.start
    if wrong >= 0:
        line = content[:wrong].count(b"\n") + 1
        raise Mistake(f"{path}, line {line}: the file is not UTF-8 text. Open it in an editor and save it as UTF-8.")
    return text


def read_lines(path: str | Path) -> list[str]:
    """Read the lines of a text file without their ends, which may be Unix's, Windows's or both; errors as above."""
    return io.StringIO(read_text(path), newline=None).read().split("\n")


def read_csv(path: str | Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a CSV file: the names of its columns; and the line on which each row begins, and its values by column.

    Empty rows are left out; errors as above. The reader is strict: a quotation mark that is never closed would
    otherwise swallow the rest of the table.
    """
    text = read_text(path)
    rows: list[tuple[int, list[str]]] = []
    line = 1
    limit = csv.field_size_limit(max(len(text), 1))  # of the whole process; a row of a ranking may be long
    try:
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        for cells in reader:
            rows.append((line, cells))
            line = reader.line_num + 1
    except csv.Error as error:
        raise Mistake(f"{path}, line {line}: this row is not valid CSV: {error}.") from None
    finally:
        csv.field_size_limit(limit)
    header = [name.strip() for name in rows[0][1]] if rows else []
    for name in header:
        if (count := header.count(name)) > 1:
            raise Mistake(f"{path}, line 1: the column {name!r} is there {count} times; keep one.")
    rows = [(line, cells) for line, cells in rows[1:] if any(cell.strip() for cell in cells)]
    for line, cells in rows:
        if len(cells) != len(header):
            counts = f"expected {len(header)} values as in the header, got {len(cells)}"
            raise Mistake(f'{path}, line {line}: {counts}; a value with a comma needs "quotes".')
    rows = [(line, [_GUARD.sub("", cell) for cell in cells]) for line, cells in rows]
    return header, [(line, dict(zip(header, cells, strict=True))) for line, cells in rows]


def format_csv(rows: Iterable[Iterable[object]]) -> str:
    """Lay out rows of a CSV file; None is an empty cell, control characters are escaped.

    What a spreadsheet would run as a formula gets an apostrophe in front, which ``read_csv`` takes away.
    """
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows(map(_guard, row) for row in rows)
    return file.getvalue()


def _guard(cell: object) -> str:
    text = "" if cell is None else escape_controls(str(cell))
    return f"'{text}" if _FORMULA.match(text) and not _PLAIN_NUMBER.fullmatch(text) else text


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]], align: str = "") -> str:
    """Lay out a table with a title line, a rule below it, and columns as wide as their widest cell.

    Control characters of cells are escaped. ``align`` has '<' (left) or '>' (right) for each column; without it, only
    the first column is left-aligned.
    """
    align = align or "<" + ">" * (len(header) - 1)
    table = [[escape_controls(str(cell)) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(cells, align, widths, strict=True)).rstrip()
        for cells in table
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])


def percent(fraction: float, sign: str = "") -> str:
    """Return a fraction in percent, with two digits, as tables, pages and pictures do; ``sign`` '+' adds a plus."""
    return f"{round(100 * fraction, 2) + 0.0:{sign}.2f}"  # -0.001 is 0.00


def escape_controls(text: str, kept: str = "") -> str:
    """Escape the characters that a terminal obeys in place of showing them, but for some."""
    return _CONTROL.sub(lambda match: match[0] if match[0] in kept else repr(match[0])[1:-1], text)


def read_word(text: str) -> str:
    """Return a word of a table or of a name: '' if it means unknown, and a whole number without its '.0'."""
    word = _strip(text)
    plain = _strip(_plain(word).replace("\u2212", "-"))
    return "" if plain == "-1" or _AROUND_UNKNOWN.sub("", plain) in _UNKNOWN else word


def _strip(text: str) -> str:
    word = text.strip()
    word = f"{Decimal(word):f}" if _POWER.fullmatch(word) else word
    return match[1] if (match := _WHOLE.fullmatch(word)) else word


def spelling(word: str) -> str:
    """Return what all spellings of a word share.

    They may differ in case, Unicode form, quotation marks, in what separates parts of the word, and as numbers do: in
    digits of another script, a '+', and zeros that change no number. Digits after a number and a point are decimals:
    1.05 is not 1.5, and a word that is 1.50 is 1.5.
    """
    plain = _plain(word).strip(" _.,:;")
    if _SCIENTIFIC.fullmatch(plain):
        plain = f"{Decimal(plain):f}"
    if number := _NUMBER.fullmatch(plain):
        plain = f"{number[1]}.{number[2]}".rstrip("0").rstrip(".") if number[2] else number[1]
    plain = _BESIDE_LETTERS.sub("", _BETWEEN_DIGITS.sub("/", plain))
    return re.sub(r"(?<![0-9])(?<![0-9]\.)0+(?=[0-9])", "", plain)


def _plain(word: str) -> str:
    """Return a word in small letters and one Unicode form, without quotation marks and what nobody sees."""
    plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", word).casefold())
    seen = (each for each in plain if unicodedata.category(each) != "Cf" and each not in _QUOTES)
    return "".join(str(unicodedata.decimal(each, each)) for each in seen)


def is_rounded(text: str) -> bool:
    """Whether a spreadsheet or data frame wrote a long number with fewer digits than it has, such as 9.87654E+16."""
    match = _SCIENTIFIC.fullmatch(text.strip())
    return match is not None and match[2][0] == "+" and int(match[2]) > max(10, len(match[1] or ""))


def parse_integer(text: str, where: str) -> int:
    """Read a decimal integer of 64 bits; ``where`` it stands, as 'list.txt, line 3: the pid', begins the message."""
    digits = _strip(text)
    if not _INTEGER.fullmatch(digits) or not INT64_MIN <= int(digits) <= INT64_MAX:
        raise Mistake(f"{where} must be an integer of 64 bits, got {shorten(text)}.")
    return int(digits)


def shorten(text: str) -> str:
    """Quote a value for a message, cut where it is long."""
    return repr(text) if len(text) <= _QUOTED else f"{text[:_QUOTED]!r}..."


def describe_origin(origin: Mapping[str, str]) -> str:
    """Say of which run, data and date results are, for titles; '' where nothing is known."""
    return ", ".join(origin[name] for name in ("checkpoint", "data", "date") if name in origin)


def natural_key(text: str) -> tuple[tuple[int, str], ...]:
    """Return a key that sorts texts by the numbers in them, so that 'cam2_9' comes before 'cam2_10' and 'cam10_1'."""
    parts = re.split(r"([0-9]+)", text)  # text and digits take turns
    numbers = [digits.lstrip("0") for digits in parts[1::2]]
    parts[1::2] = numbers
    return (*((len(part) if place % 2 else 0, part) for place, part in enumerate(parts)), (0, text))
