"""The files that an evaluation writes: tables, ranking files, pictures and a page."""

from .tables import format_results
from .write import write_report

__all__ = ["format_results", "write_report"]
