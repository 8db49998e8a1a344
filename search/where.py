"""Conditions on camera, view and time (--where), as a mask of rows in memory and as SQL of a database."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from .feature_file import FeatureTable

VIEWS = ("aerial", "ground")
EXPECTED = "expected camera=3,5 or view=aerial or time=2023-10-17T10:00..2023-10-17T12:00"
DATE_LENGTH = len("2023-10-17")


@dataclass(frozen=True)
class Condition:
    """Rows whose column has one of some values, or a time from the first to the last moment; unknown never fits."""

    column: str  # 'camera', 'view' or 'time'
    values: tuple[int, ...] | tuple[str, ...] = ()  # of a camera or view
    # moments, both included; None for no bound
    first: datetime | None = None
    last: datetime | None = None

    def mask(self, table: FeatureTable) -> np.ndarray:
        """Return which rows of a table fit, (n,), bool."""
        if self.column != "time":
            return np.isin(table.cameras if self.column == "camera" else np.array(table.views), self.values)
        fits = ~np.isnat(table.times)
        if self.first is not None:
            fits &= table.times >= np.datetime64(self.first)
        if self.last is not None:
            fits &= table.times <= np.datetime64(self.last)
        return fits

    def as_sql(self) -> str:
        """Return the condition in the SQL of DataFusion; views are of ``VIEWS``, so nothing needs to be escaped."""
        if self.column != "time":
            return f"{self.column} IN ({', '.join(map(repr, self.values))})"
        bounds = ((">=", self.first), ("<=", self.last))
        sql = [f"time {sign} timestamp '{moment:%Y-%m-%d %H:%M:%S}'" for sign, moment in bounds if moment is not None]
        return " AND ".join(sql)


def parse_condition(text: str) -> Condition:
    """Read a condition of the command line; an argparse type."""
    column, _, right = text.partition("=")
    try:
        if column == "camera":
            return Condition(column, tuple(int(word) for word in right.split(",")))
        if column == "view" and set(right.split(",")) <= {*VIEWS}:
            return Condition(column, tuple(right.split(",")))
        if column == "time" and right.strip("."):
            first, separator, last = right.partition("..")
            return Condition(column, (), *_parse_times(first, last if separator else first))
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{EXPECTED}, got {text!r}")


def _parse_times(first: str, last: str) -> tuple[datetime | None, datetime | None]:
    """Read both ends of a span; '' is open, and a day as the last end is the whole day."""
    ends = [datetime.fromisoformat(word) if word else None for word in (first, last)]
    if any(end is not None and end.tzinfo is not None for end in ends):
        raise ValueError("times have no time zone: they are those of the recording's clock")
    if ends[1] is not None and len(last) == DATE_LENGTH:
        ends[1] += timedelta(days=1, seconds=-1)
    return ends[0], ends[1]


def select_rows(table: FeatureTable, where: Sequence[Condition]) -> FeatureTable:
    """Return the rows that fit all conditions."""
    return table.select(np.all([condition.mask(table) for condition in where], axis=0)) if where else table
