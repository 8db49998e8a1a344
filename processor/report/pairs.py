"""Verification of query-gallery pairs: one person or two, by a threshold on the distance."""

from collections.abc import Sequence
from typing import Any

from utils.tables import format_table
from utils.verification import OperatingPoint

from .survey import Survey

FALSE_POSITIVE_RATES = (1e-2, 1e-3, 1e-4)
# Where results.json shows the ROC curve: five points for each factor of ten.
CURVE_RATES = tuple(10 ** (exponent / 5) for exponent in range(-25, 1))


def describe_verification(surveys: Sequence[Survey]) -> list[dict[str, Any]]:
    """Describe the verification of every method and scored direction as plain data, rates as fractions of 1."""
    return [_describe(survey) for survey in surveys]


def _describe(survey: Survey) -> dict[str, Any]:
    verification = survey.verification
    equal = verification.equal_error()
    at_rate = verification.at_false_positive_rate
    return {
        "method": str(survey.method),
        "direction": survey.case.title,
        "num_positive_pairs": len(verification.thresholds),
        "num_negative_pairs": verification.num_negatives,
        "equal_error_rate": equal.error_rate,
        "equal_error_threshold": equal.threshold,
        "operating_points": [{"at_most": rate, **_as_dict(at_rate(rate))} for rate in FALSE_POSITIVE_RATES],
        "roc": [_as_dict(at_rate(rate)) for rate in CURVE_RATES],
    }


def _as_dict(point: OperatingPoint) -> dict[str, float | None]:
    return {
        "false_positive_rate": point.false_positive_rate,
        "true_positive_rate": point.true_positive_rate,
        "threshold": point.threshold,
    }


def format_verification(rows: Sequence[dict[str, Any]]) -> str:
    """Lay out the rates in percent, each with its distance threshold in brackets."""
    header = ["verification (threshold)", "direction", *(f"TPR at FPR {rate:.0e}" for rate in FALSE_POSITIVE_RATES)]
    cells = []
    for row in rows:
        points = [_format_rate(point["true_positive_rate"], point["threshold"]) for point in row["operating_points"]]
        equal = _format_rate(row["equal_error_rate"], row["equal_error_threshold"])
        cells.append([row["method"], row["direction"], *points, equal])
    return format_table([*header, "equal error rate"], cells, align="<<" + ">" * (len(FALSE_POSITIVE_RATES) + 1))


def _format_rate(rate: float, threshold: float | None) -> str:
    return f"{100 * rate:.2f} (-)" if threshold is None else f"{100 * rate:.2f} ({threshold:.4g})"
