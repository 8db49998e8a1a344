"""The data check ('doctor'): what is in a copy of a data set, what is wrong with it, and whether training can start."""

from .dataset_check import check_dataset, count_cores
from .findings import BLOCKING, CHECKS, REMARK, WARNING, Report
from .report import format_report, report_as_dict
from .settings import CheckSettings, make_check_settings

__all__ = [
    "BLOCKING",
    "CHECKS",
    "REMARK",
    "WARNING",
    "CheckSettings",
    "Report",
    "check_dataset",
    "count_cores",
    "format_report",
    "make_check_settings",
    "report_as_dict",
]
