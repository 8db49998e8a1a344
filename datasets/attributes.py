"""Soft-biometric attributes of AG-VPReID: the code tables and the CSV files that hold them.

The fifteen columns, their order and their codes follow the AG-ReID.v2 and AG-VPReID READMEs. In every column the code
after the last known one means 'unknown'. The same code means something else in other data sets, so they must not share
these tables.
"""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

from utils.mistake import Mistake
from utils.text import parse_integer, read_csv, read_word

from .problems import LOADING, Problems

# Names of the codes from 0 on, by column.
CODES: dict[str, tuple[str, ...]] = {
    column: tuple(names.split(","))
    for column, names in {
        "gender": "male,female",
        "age": "0-11,12-17,18-24,25-34,35-44,45-54,55-64,over 65",
        "height": "child,short,medium,tall",
        "body_volume": "thin,medium,fat",
        "ethnicity": "White,Black,Asian,Indian",
        "hair_color": "black,brown,white,red,gray,occluded",
        "hairstyle": "bald,short,medium,long,horse tail",
        "beard": "yes,no",
        "moustache": "yes,no",
        "glasses": "normal,sun,none",
        "head_accessories": "hat,scarf,necklace,occluded",
        "upper_body_clothing": "T-shirt,blouse,sweater,coat,bikini,naked,dress,uniform,shirt,suit,hoodie,cardigan",
        "lower_body_clothing": "jeans,leggings,pants,shorts,skirt,bikini,dress,uniform,suit",
        "footwear": "sport,classic,high heels,boots,sandals,nothing",
        "accessories": "bag,backpack,handbag,rolling bag,umbrella,sport bag,market bag,nothing",
    }.items()
}
COLUMNS: tuple[str, ...] = tuple(CODES)
UNKNOWN_CODES: dict[str, int] = {column: len(names) for column, names in CODES.items()}


class AttributeScheme(NamedTuple):
    """The columns and unknown codes of ``Tracklet.attributes`` in a data set."""

    columns: tuple[str, ...]  # in order; TEST.MASK_ATTRIBUTES chooses among them
    unknown: tuple[int, ...]  # the code that means 'unknown', for each column


AGVPREID_SCHEME = AttributeScheme(COLUMNS, tuple(UNKNOWN_CODES.values()))


def read_attributes(path: str | Path, problems: Problems = LOADING) -> dict[int, tuple[int, ...]]:
    """Read an attribute table: codes by pid, in the order of ``COLUMNS``; those not in ``CODES`` become 'unknown'.

    It is a CSV file with a header: columns ``id`` and ``COLUMNS`` in any order, others are ignored.
    """
    table: dict[int, tuple[int, ...]] = {}
    out_of_range: Counter[tuple[str, int]] = Counter()
    header, rows = read_csv(path)
    for column in ("id", *COLUMNS):
        if column not in header:
            raise Mistake(f"{path}: the header has no column {column!r}.")
    for line, row in rows:
        where = f"{path}, line {line}"
        words = {column: read_word(row[column]) or str(code) for column, code in UNKNOWN_CODES.items()}
        words["id"] = row["id"]
        pid, *codes = [parse_integer(words[column], f"{where}: {column}") for column in ("id", *COLUMNS)]
        for index, (column, code) in enumerate(zip(COLUMNS, codes, strict=True)):
            if not 0 <= code <= UNKNOWN_CODES[column]:
                out_of_range[column, code] += 1
                codes[index] = UNKNOWN_CODES[column]
        attributes = tuple(codes)
        if table.setdefault(pid, attributes) != attributes:
            raise Mistake(f"{where}: id {pid} was given other attributes before.")
    for (column, code), num_rows in sorted(out_of_range.items()):
        text = f"code {code}, which is not in 0..{UNKNOWN_CODES[column]}, in {num_rows} row(s); it is read as unknown"
        problems.add("attribute code", f"{path}: {column} holds {text}.")
    return table
