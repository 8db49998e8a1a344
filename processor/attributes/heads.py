"""Classifiers of attributes on a checkpoint's descriptors: their records, and the file beside the checkpoint."""

import logging
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.tracklet import Tracklet
from utils.checkpoint import fitting, hash_file, read_checkpoint, write_weights
from utils.mistake import MissingFile, Mistake
from utils.tables import format_table

from ..evaluation.features import FeatureSet
from ..evaluation.open_run import TrainedRun
from ..evaluation.results import PREDICTED, Mask

logger = logging.getLogger(__name__)

HEADS_FILE = "attributes.safetensors"  # beside the checkpoint
# Columns that no classifier is kept of, unless TEST.PREDICT_SENSITIVE asks for it.
SENSITIVE = ("gender", "age", "ethnicity")


@dataclass(frozen=True, eq=False)
class AttributeHead:
    """A calibrated linear classifier of one column: softmax((W f + b) / temperature)."""

    codes: tuple[int, ...]  # annotated code of each class, ascending; C of them
    # of shapes (C, D) and (C,), float32
    weight: Tensor
    bias: Tensor
    temperature: float = 1.0  # more than 1 makes the probabilities less sure

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits of descriptors (n, D) at temperature 1, (n, C)."""
        return F.linear(features, self.weight, self.bias)

    def probabilities(self, features: Tensor) -> Tensor:
        """Return the calibrated probabilities of descriptors (n, D), (n, C)."""
        return F.softmax(self.logits(features) / self.temperature, dim=1)


def predict_columns(
    heads: Mapping[str, AttributeHead], vectors: Tensor, tracklets: Sequence[Tracklet]
) -> dict[str, Tensor]:
    """Return the probabilities of tracklets over the codes of each column, (n, C).

    Args:
        heads: By column, or by view and column, such as 'aerial.beard' and 'ground.beard', which have one set of codes.
        vectors: Of the tracklets, (n, D).
        tracklets: n records.
    """
    aerial = torch.tensor([tracklet.view == "aerial" for tracklet in tracklets]).unsqueeze(1)
    predicted: dict[str, Tensor] = {}
    for name, head in heads.items():
        view, _, column = name.rpartition(".")
        own = head.probabilities(vectors)
        predicted[column] = torch.where(aerial == (view == "aerial"), own, predicted.get(column, own))
    return predicted


@dataclass(frozen=True)
class ColumnScores:
    """How well a column is predicted for training people whom its classifier was neither fitted nor calibrated on."""

    # those with a known code
    num_people: int
    num_tracklets: int
    chance: float  # share of the tracklets that have the code which is most frequent where the classifier was fitted
    accuracy: float  # share of the tracklets whose annotated code is the most probable one
    # Cohen's kappa of annotated and predicted codes, 0..1 (0 also if it is negative): what is left of the agreement
    # after that which two independent columns would have by chance
    agreement: float
    # expected calibration error, 0..1, at temperature 1 and at the calibrated one
    ece_before: float
    ece_after: float
    temperature: float  # the calibrated one


@dataclass(frozen=True, eq=False)
class AttributeHeads:
    """The classifiers of a checkpoint."""

    heads: dict[str, AttributeHead]  # by column; the sensitive ones are absent unless they were asked for
    scores: dict[str, ColumnScores]  # by column, of every column that could be learned, the sensitive ones included
    has_sensitive: bool  # whether the classifiers of sensitive columns were kept
    mask: ClassVar[Mask] = PREDICTED

    def predict(self, side: FeatureSet) -> dict[str, Tensor]:
        """Return the probabilities of n tracklets over the codes of each column, (n, C)."""
        return predict_columns(self.heads, side.features, side.tracklets)

    def reliabilities(self, columns: Sequence[str]) -> dict[str, float]:
        """Return how far pictures bear out each annotated column, 0..1; 0 if it could not be learned."""
        return {column: self.scores[column].agreement if column in self.scores else 0.0 for column in columns}

    def format_scores(self) -> str:
        """Lay out the scores in percent."""
        in_percent = ("chance", "accuracy", "kappa", "ECE before", "after")
        rows = []
        for column, each in self.scores.items():
            shares = (each.chance, each.accuracy, each.agreement, each.ece_before, each.ece_after)
            percent = [f"{100 * share:.1f}" for share in shares]
            rows.append([column, each.num_people, each.num_tracklets, *percent, f"{each.temperature:.2f}"])
        return format_table(["attribute", "people", "tracklets", *in_percent, "temperature"], rows)


def find_heads(trained: TrainedRun) -> AttributeHeads | None:
    """Read the trained classifiers that TEST.MASK needs for a checkpoint; None if it needs none."""
    cfg = trained.cfg
    if cfg.TEST.MASK not in ("soft", "predicted") or cfg.TEST.TEXT_TOWER:
        return None
    heads = read_heads(trained)
    logger.info("Attributes of held-out training people, in percent:\n%s", heads.format_scores())
    if cfg.TEST.MASK == "soft":
        return heads
    path, sensitive = heads_path(trained), ", ".join(SENSITIVE)
    if not cfg.TEST.PREDICT_SENSITIVE:
        allowed = {column: head for column, head in heads.heads.items() if column not in SENSITIVE}
        heads = AttributeHeads(allowed, heads.scores, has_sensitive=False)
    elif not heads.has_sensitive:
        raise Mistake(
            f"{path} holds no classifier of {sensitive}, which TEST.PREDICT_SENSITIVE asks for: run "
            f"`{training_command(trained)} TEST.PREDICT_SENSITIVE True`."
        )
    if not heads.heads:
        raise Mistake(
            f"{path} holds no classifier that TEST.MASK predicted may use: the training people's table has no other "
            f"column to learn than {sensitive}, which need TEST.PREDICT_SENSITIVE."
        )
    return heads


def read_heads(trained: TrainedRun) -> AttributeHeads:
    """Read the file of a checkpoint's classifiers; errors as ``find_heads``."""
    path, command = heads_path(trained), training_command(trained)
    if not path.is_file():
        raise MissingFile(f"TEST.MASK {trained.cfg.TEST.MASK} needs {path}: run `{command}`.")
    content = read_checkpoint(path)
    descriptors = describe_descriptors(trained)
    with fitting(path):
        kept = dict(content["descriptors"])
    if changed := [name for name, value in descriptors.items() if kept.get(name) != value]:
        # Keys of the command line must be given to the training of the classifiers, too.
        keys = "".join(f" {name} {descriptors[name]}" for name in changed if name != "checkpoint")
        raise Mistake(
            f"{path} was trained on the descriptors of another {changed[0]} than {trained.checkpoint} gives now: run "
            f"`{command}{keys}`."
        )
    try:
        with fitting(path):
            heads = unpack_heads(content, trained.model.descriptor_width)
            scores = {column: ColumnScores(**values) for column, values in content["scores"].items()}
            if any(not math.isfinite(value) for each in scores.values() for value in asdict(each).values()):
                raise ValueError("its scores must be finite numbers")
    except Mistake as error:
        raise Mistake(f"{error}: run `{command}`.") from error
    return AttributeHeads(heads, scores, bool(content.get("has_sensitive")))


def write_heads(heads: AttributeHeads, trained: TrainedRun) -> Path:
    """Write the classifiers beside the checkpoint whose descriptors they were trained on; returns the file."""
    weights, columns = pack_heads(heads.heads)
    values = {
        "descriptors": describe_descriptors(trained),
        "columns": columns,
        "scores": {column: asdict(scores) for column, scores in heads.scores.items()},
        "has_sensitive": heads.has_sensitive,
    }
    path = heads_path(trained)
    write_weights(weights, values, path)
    return path


def pack_heads(heads: Mapping[str, AttributeHead]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Turn classifiers into the tensors and the entry 'columns' of their file."""
    weights = {f"{column}.{name}": getattr(head, name) for column, head in heads.items() for name in ("weight", "bias")}
    return weights, {column: {"codes": head.codes, "temperature": head.temperature} for column, head in heads.items()}


def unpack_heads(content: Mapping[str, Any], width: int) -> dict[str, AttributeHead]:
    """Return the classifiers of a file that ``pack_heads`` filled, for vectors of ``width`` numbers."""
    heads = {}
    for column, values in content["columns"].items():
        codes, temperature = tuple(map(int, values["codes"])), float(values["temperature"])
        weight, bias = (content["model"][f"{column}.{name}"] for name in ("weight", "bias"))
        if weight.shape != (len(codes), width) or bias.shape != (len(codes),):
            found = f"{tuple(weight.shape)} and {tuple(bias.shape)}"
            raise ValueError(f"its classifier of {column} is {found}, for {len(codes)} codes of {width} numbers")
        if not (weight.isfinite().all() and bias.isfinite().all() and 0 < temperature < math.inf):
            raise ValueError(f"its classifier of {column} must hold finite numbers and a temperature above 0")
        heads[column] = AttributeHead(codes, weight, bias, temperature)
    return heads


def heads_path(trained: TrainedRun) -> Path:
    """Return where the classifiers of a checkpoint are."""
    return trained.checkpoint.parent / HEADS_FILE


def training_command(trained: TrainedRun) -> str:
    """Return the command that trains the classifiers of a run's checkpoint."""
    cfg = trained.cfg
    options = {"--config_file": trained.config_file, "--output_dir": cfg.OUTPUT_DIR, "--weight": cfg.TEST.WEIGHT}
    words = [word for name, value in options.items() if value for word in (name, value)]
    return f"python -m tools.train_attributes {shlex.join(words)}"


def describe_descriptors(trained: TrainedRun) -> dict[str, Any]:
    """Return what decides the meaning of a run's descriptors: the hash of its checkpoint, and keys."""
    keys = {f"TEST.{name}": trained.cfg.TEST[name] for name in ("AVERAGED_WEIGHTS", "NECK_FEAT", "FEAT_NORM")}
    return {"checkpoint": hash_file(trained.checkpoint), **keys}
