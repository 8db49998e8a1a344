"""Tables as plain text, for logs and result files."""

from collections.abc import Sequence

from .mistake import Mistake


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]], align: str = "") -> str:
    """Lay out a table with a title line, a rule below it, and columns as wide as their widest cell.

    Args:
        header: Title of each column.
        rows: Cells, shown as ``str`` shows them; numbers arrive formatted.
        align: '<' (left) or '>' (right) for each column; without it, the first column is left-aligned and the others
            right-aligned.
    Returns:
        Lines without a newline at the end and without trailing spaces.
    Raises:
        ValueError: If a row or ``align`` has another number of columns than the header.
    """
    align = align or "<" + ">" * (len(header) - 1)
    if len(align) != len(header) or not set(align) <= {"<", ">"}:
        raise Mistake(f"align needs one of '<' and '>' for each of {len(header)} columns, got {align!r}.")
    table = [[str(cell) for cell in row] for row in (header, *rows)]
    for cells in table:
        if len(cells) != len(header):
            raise Mistake(f"A row has {len(cells)} cells, but the table has {len(header)} columns: {cells}.")
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(cells, align, widths, strict=True)).rstrip()
        for cells in table
    ]
    return "\n".join([lines[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *lines[1:]])
