"""Lay out tables as plain text, for logs and result files."""

from collections.abc import Sequence

from .text import escape_controls


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
