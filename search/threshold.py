"""The distance beyond which a tracklet is nobody that was asked for, taken from an evaluation or typed."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from utils.mistake import MissingFile, Mistake

VISUAL = "visual only"  # the method whose distances are those of a search
POINT = ("threshold", "false_positive_rate", "true_positive_rate")


@dataclass(frozen=True)
class Threshold:
    """A largest distance of two tracklets of one person."""

    distance: float  # squared Euclidean; a tracklet at exactly this distance is accepted
    reason: str  # where it comes from
    false_positive_rate: float | None = None  # share of the pairs of two people that it accepted in an evaluation
    data: str = ""  # that it was measured on: 'NAME in FOLDER', as results.json has it; '' if it was not measured
    checkpoint: str = ""  # that it was measured with, 'FILE (WHICH)'; '' if it was not measured

    def is_of_other_data(self, pictures: Iterable[str]) -> bool:
        """Whether it was measured on data that lie elsewhere than some of the pictures."""
        root = os.path.join(os.path.realpath(self.data.partition(" in ")[2]), "")
        return bool(self.data) and not all(os.path.realpath(path).startswith(root) for path in pictures)

    def is_of_other_model(self, checkpoint: str) -> bool:
        """Whether it was measured with another checkpoint, by the names of its folder and file, wherever they lie."""
        return bool(self.checkpoint) and _names(self.checkpoint) != _names(checkpoint)


def _names(checkpoint: str) -> tuple[list[str], str]:
    file, _, which = checkpoint.partition(" (")
    return file.replace("\\", "/").split("/")[-2:], which


def read_threshold(path: Path, rate: float) -> Threshold:
    """Read the threshold of the visual ranking from results.json of eval_main.py.

    ``rate`` is the largest share of pairs of two people that may be accepted, 0..1. Of the thresholds in the file, the
    highest that keeps to it is taken; of several directions, that of the strictest.
    """
    if not path.is_file():
        raise MissingFile(f"{path} is not a file: eval_main.py writes results.json to its results folder.")
    directions: dict[str, list[tuple[float, ...]]] = {}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
        checkpoint, data, unit_length = results["checkpoint"], results["data"], results.get("unit_length", True)
        for row in [row for row in results["verification"] if row["method"] == VISUAL]:
            points = [tuple(point[name] for name in POINT) for point in (*row["operating_points"], *row["roc"])]
            directions[row["direction"]] = [point for point in points if point[0] is not None]  # None accepts no pair
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Mistake(f"{path} is not a results.json of eval_main.py with a verification: {error!r:.200}.") from error
    if not unit_length:
        raise Mistake(f"{path} compares descriptors of any length (TEST.FEAT_NORM False), a search those of length 1.")
    if not directions:
        raise Mistake(f"{path} verifies no pairs by the ranking {VISUAL!r}: its identities may be masked.")
    chosen = []
    for direction, points in directions.items():
        kept = [point for point in points if point[1] <= rate]
        if not kept:
            text = f"no threshold accepts at most {rate:g} of the pairs of two people. Allow more."
            raise Mistake(f"{path}, {direction}: {text}")
        chosen.append((max(kept), direction))
    (distance, false_positives, true_positives), direction = min(chosen)
    of_several = f", the strictest of {len(chosen)} directions" if len(chosen) > 1 else ""
    reason = f"{path}, {direction}, true positive rate {true_positives:.4f}{of_several}, with the model {checkpoint}"
    return Threshold(distance, reason, false_positives, data, checkpoint)
