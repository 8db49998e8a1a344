"""What an evaluation leaves behind: tables, ranking files, pictures."""

from .tables import format_results
from .write import write_report

__all__ = ["format_results", "write_report"]
