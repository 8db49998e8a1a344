"""The distance beyond which a tracklet is nobody that was asked for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from processor.evaluation.results import VISUAL
from utils.entries import describe
from utils.mistake import MissingFile, Mistake

# Entries of a point of the ROC curve, and the largest value of each. Rounding may put distances a little above 4.
THRESHOLD, FALSE_POSITIVES, TRUE_POSITIVES = "threshold", "false_positive_rate", "true_positive_rate"
ENTRIES = {THRESHOLD: 4.0001, FALSE_POSITIVES: 1.0, TRUE_POSITIVES: 1.0}


@dataclass(frozen=True)
class Threshold:
    """A largest distance of two tracklets of one person.

    Attributes:
        distance: Squared Euclidean; a tracklet at exactly this distance is accepted.
        reason: Where it comes from.
        false_positive_rate: Share of the pairs of two people that it accepted in an evaluation; None if unknown.
    """

    distance: float
    reason: str
    false_positive_rate: float | None = None

    def estimate_strangers(self, num_tracklets: int) -> str:
        """Say how many of some tracklets are accepted if all are of other people; '' if the rate is unknown."""
        if self.false_positive_rate is None:
            return ""
        expected = self.false_positive_rate * num_tracklets
        number = f"{expected:,.0f}" if expected >= 10 else f"{expected:.2g}"
        return (
            f"The threshold accepted {self.false_positive_rate:.2g} of the pairs of two people in that evaluation: if "
            f"all {num_tracklets:,} tracklets are of other people, {number} are expected to be accepted for a query. "
            "That was measured on another data set, and may differ here."
        )


def read_threshold(path: Path, rate: float) -> Threshold:
    """Read the threshold of the visual ranking from results.json of eval_main.py.

    The distances of an evaluation's visual ranking and of an index are the same: squared Euclidean ones of descriptors
    of length 1 (TEST.FEAT_NORM), whose largest is 4.

    Args:
        path: The file.
        rate: The largest share of pairs of two people that may be accepted, 0..1. Of the thresholds in the file, the
            highest that keeps to it is taken; of several directions, that of the strictest.
    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is another file or damaged, if nothing keeps to the rate, or if the descriptors had any
            length.
    """
    if not path.is_file():
        raise MissingFile(f"{path} is not a file: eval_main.py writes results.json to its results folder.")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        settings, checkpoint, rows = results["settings"], results["checkpoint"], results["verification"]
        named = [(f"{path}, {row['direction']}", _points_of(row)) for row in rows if row["method"] == str(VISUAL)]
    except (ValueError, KeyError, TypeError, RecursionError) as error:  # ValueError: of json, or of thousands of digits
        raise Mistake(f"{path} is not a results.json of eval_main.py with a verification: {error!r:.200}.") from error
    if not isinstance(settings, str):
        raise Mistake(f"{path}: its entry 'settings' must be text, got {describe(settings)}.")
    if "TEST.FEAT_NORM False" in settings:
        raise Mistake(f"{path} compares descriptors of any length (TEST.FEAT_NORM False), an index those of length 1.")
    if not named:
        raise Mistake(f"{path} verifies no pairs by the ranking {str(VISUAL)!r}: its identities may be masked.")
    chosen = [_choose_point(points, rate, source) for source, points in named]
    strictest = min(chosen, key=lambda threshold: threshold.distance)
    of_several = f", the strictest of {len(chosen)} directions" if len(chosen) > 1 else ""
    return replace(strictest, reason=f"{strictest.reason}{of_several}, with the model {checkpoint}")


def _points_of(row: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the points of a row by the names of their entries; KeyError, TypeError: if it has none."""
    points = {f"{name}[{i}]": point for name in ("operating_points", "roc") for i, point in enumerate(row[name])}
    if strange := [
        name for name, point in points.items() if not (isinstance(point, dict) and ENTRIES.keys() <= point.keys())
    ]:
        raise KeyError(f"{strange[0]} lacks one of {', '.join(ENTRIES)}")
    return points


def _choose_point(points: Mapping[str, Mapping[str, Any]], rate: float, source: str) -> Threshold:
    for name, point in points.items():
        for entry, largest in ENTRIES.items():
            value = point[entry]
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            none = entry == THRESHOLD and value is None  # no pair may be accepted
            if not none and not (is_number and 0 <= value <= largest):
                raise Mistake(
                    f"{source}: {entry!r} of {name} must be a number from 0 to {largest:.4g}, got {describe(value)}."
                )
    kept = [point for point in points.values() if point[THRESHOLD] is not None and point[FALSE_POSITIVES] <= rate]
    if not kept:
        raise Mistake(f"{source}: no threshold accepts at most {rate:g} of the pairs of two people. Allow more.")
    point = max(kept, key=lambda point: point[THRESHOLD])
    return Threshold(
        float(point[THRESHOLD]),
        f"{source}, true positive rate {point[TRUE_POSITIVES]:.4f}",
        float(point[FALSE_POSITIVES]),
    )
