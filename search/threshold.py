"""The distance beyond which a tracklet is nobody that was asked for, taken from an evaluation or typed."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.mistake import MissingFile, Mistake

VISUAL = "visual only"  # the method, in results.json, whose distances are those of a search
LARGEST = 4.0001  # squared distance of vectors of length 1, and rounding


@dataclass(frozen=True)
class Threshold:
    """A largest distance of two tracklets of one person."""

    distance: float  # squared Euclidean; a tracklet at exactly this distance is accepted
    reason: str  # where it comes from
    # share of the pairs of two people that it accepted in an evaluation; None if unknown
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

    Args:
        path: The file; its descriptors had length 1 (TEST.FEAT_NORM), as those of a search with a rate must.
        rate: The largest share of pairs of two people that may be accepted, 0..1. Of the thresholds in the file, the
            highest that keeps to it is taken; of several directions, that of the strictest.
    """
    if not path.is_file():
        raise MissingFile(f"{path} is not a file: eval_main.py writes results.json to its results folder.")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        checkpoint, unit_length = results["checkpoint"], results.get("unit_length", True)
        rows = {row["direction"]: _read_points(row) for row in results["verification"] if row["method"] == VISUAL}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Mistake(f"{path} is not a results.json of eval_main.py with a verification: {error!r:.200}.") from error
    if not unit_length:
        raise Mistake(f"{path} compares descriptors of any length (TEST.FEAT_NORM False), a search those of length 1.")
    if not rows:
        raise Mistake(f"{path} verifies no pairs by the ranking {VISUAL!r}: its identities may be masked.")
    chosen = {direction: _choose_point(points, rate, f"{path}, {direction}") for direction, points in rows.items()}
    direction, (distance, false_positives, true_positives) = min(chosen.items(), key=lambda item: item[1][0])
    of_several = f", the strictest of {len(chosen)} directions" if len(chosen) > 1 else ""
    reason = f"{path}, {direction}, true positive rate {true_positives:.4f}{of_several}, with the model {checkpoint}"
    return Threshold(distance, reason, false_positives)


def _read_points(row: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    """Return threshold, false and true positive rate of each point of a row that accepts pairs."""
    names = ("threshold", "false_positive_rate", "true_positive_rate")
    points = [tuple(point[name] for name in names) for point in (*row["operating_points"], *row["roc"])]
    points = [point for point in points if point[0] is not None]
    for point in points:
        if not all(0 <= value <= largest for value, largest in zip(point, (LARGEST, 1, 1), strict=True)):
            raise ValueError(f"{dict(zip(names, point, strict=True))} is out of range: descriptors must have length 1")
    return points


def _choose_point(points: Sequence[tuple[float, float, float]], rate: float, source: str) -> tuple[float, float, float]:
    kept = [point for point in points if point[1] <= rate]
    if not kept:
        raise Mistake(f"{source}: no threshold accepts at most {rate:g} of the pairs of two people. Allow more.")
    return max(kept)
