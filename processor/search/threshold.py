"""The distance beyond which a tracklet is nobody that was asked for."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..results import VISUAL


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
        ValueError: If it is another file, if nothing keeps to the rate, or if the descriptors had any length.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not a file: eval_main.py writes results.json to its results folder.")
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        settings, checkpoint = results["settings"], results["checkpoint"]
        chosen = [
            _choose_point(row, rate, f"{path}, {row['direction']}")
            for row in results["verification"]
            if row["method"] == str(VISUAL)
        ]
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a results.json of eval_main.py with a verification: {error!r}.") from error
    if "TEST.FEAT_NORM False" in settings:
        raise ValueError(
            f"{path} compares descriptors of any length (TEST.FEAT_NORM False), an index those of length 1."
        )
    if not chosen:
        raise ValueError(f"{path} verifies no pairs by the ranking {str(VISUAL)!r}: its identities may be masked.")
    strictest = min(chosen, key=lambda threshold: threshold.distance)
    of_several = f", the strictest of {len(chosen)} directions" if len(chosen) > 1 else ""
    return replace(strictest, reason=f"{strictest.reason}{of_several}, with the model {checkpoint}")


def _choose_point(row: Mapping[str, Any], rate: float, source: str) -> Threshold:
    points = [*row["operating_points"], *row["roc"]]
    kept = [point for point in points if point["threshold"] is not None and point["false_positive_rate"] <= rate]
    if not kept:
        raise ValueError(f"{source}: no threshold accepts at most {rate:g} of the pairs of two people. Allow more.")
    point = max(kept, key=lambda point: point["threshold"])
    return Threshold(
        float(point["threshold"]),
        f"{source}, true positive rate {point['true_positive_rate']:.4f}",
        float(point["false_positive_rate"]),
    )
