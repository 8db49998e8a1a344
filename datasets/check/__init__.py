"""The data check: what is in a copy of a data set, what is wrong with it, and whether training can start."""

from .check import check_dataset, count_cores
from .report import Report, format_report, report_as_dict

__all__ = ["Report", "check_dataset", "count_cores", "format_report", "report_as_dict"]
