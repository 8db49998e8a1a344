"""Linear classifiers of attributes, trained or zero-shot: how they predict, how they are scored, and their files."""

import logging
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.tracklet import Tracklet
from utils.checkpoint import fitting, hash_file, read_checkpoint, write_weights
from utils.mistake import MissingFile, Mistake
from utils.text import format_table, percent

from ..evaluation.open_run import TrainedRun

logger = logging.getLogger(__name__)

HEADS_FILE = "attributes.safetensors"  # beside the checkpoint
# Columns that no classifier is kept of, unless TEST.PREDICT_SENSITIVE asks for it.
SENSITIVE = ("gender", "age", "ethnicity")
# Of the calibration error, as in Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.
NUM_BINS = 15

# By column, or by view and column, such as 'aerial.beard' and 'ground.beard', which have one set of codes.
Heads = Mapping[str, "AttributeHead"]
Scores = Mapping[str, Mapping[str, float]]  # by column, as of ``score_column``


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


def predict_columns(heads: Heads, vectors: Tensor, tracklets: Sequence[Tracklet]) -> dict[str, Tensor]:
    """Return the probabilities of n tracklets, of vectors (n, D), over the codes of each column, (n, C)."""
    aerial = torch.tensor([tracklet.view == "aerial" for tracklet in tracklets]).unsqueeze(1)
    predicted: dict[str, Tensor] = {}
    for name, head in heads.items():
        view, _, column = name.rpartition(".")
        own = head.probabilities(vectors)
        predicted[column] = torch.where(aerial == (view == "aerial"), own, predicted.get(column, own))
    return predicted


def score_column(
    codes: Sequence[int], probabilities: Tensor, truth: Tensor, pids: Tensor, most_frequent: Tensor
) -> dict[str, float]:
    """Score a column for people whom its classifier was neither fitted nor calibrated on.

    ``probabilities``, (n, C), are of ``codes``, C of them; other codes in ``truth``, (n,), count as wrong. Returns the
    numbers of people and tracklets, and in 0..1: accuracy, that of always ``most_frequent`` ('chance'), Cohen's kappa
    or 0 if it is negative ('agreement'), and the expected calibration error ('ece_after').
    """
    predicted = torch.tensor(codes)[probabilities.argmax(dim=1)]
    right = predicted == truth
    return {
        "num_people": len(pids.unique()),
        "num_tracklets": len(truth),
        "chance": float((truth == most_frequent).double().mean()),
        "accuracy": float(right.double().mean()),
        "agreement": max(0.0, cohen_kappa(truth, predicted)),
        "ece_after": calibration_error(probabilities, right),
    }


def calibration_error(probabilities: Tensor, right: Tensor) -> float:
    """Compute the expected calibration error of Guo et al.: how far confidence and accuracy differ, over equal bins.

    ``right`` says whether the most probable class of ``probabilities``, (n, C), is the annotated one, (n,).
    """
    confidence = probabilities.max(dim=1).values.double()
    bins = (confidence * NUM_BINS).ceil().long().clamp(1, NUM_BINS) - 1
    surplus = torch.zeros(NUM_BINS, dtype=torch.float64).index_add_(0, bins, confidence - right.double())
    return float(surplus.abs().sum() / len(confidence))


def cohen_kappa(first: Tensor, second: Tensor) -> float:
    """Compute the agreement of two codings (n,) beyond chance: 1 if always, 0 as by chance, or if neither varies."""
    agreement = float((first == second).double().mean())
    codes = torch.cat([first, second]).unique()
    by_chance = sum(float((first == code).double().mean() * (second == code).double().mean()) for code in codes)
    return (agreement - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0


def format_scores(scores: Scores) -> str:
    """Lay out the scores in percent, the temperature as it is."""
    columns = {"chance": "chance", "accuracy": "accuracy", "kappa": "agreement"}
    columns |= {"ECE before": "ece_before", "after": "ece_after"}
    rows = [
        [column, int(own["num_people"]), int(own["num_tracklets"])]
        + [percent(own[name]) if name in own else "-" for name in columns.values()]
        + [f"{own['temperature']:.2f}" if "temperature" in own else "-"]
        for column, own in scores.items()
    ]
    return format_table(["attribute", "people", "tracklets", *columns, "temperature"], rows)


def find_heads(trained: TrainedRun) -> tuple[Heads, Scores]:
    """Read the classifiers of a checkpoint that TEST.MASK may use, and the scores of all that could be learned."""
    cfg = trained.cfg
    path, command = heads_path(trained), training_command(trained)
    if not path.is_file():
        raise MissingFile(f"TEST.MASK {cfg.TEST.MASK} needs {path}: run `{command}`.")
    content = read_checkpoint(path)
    wanted = descriptor_identity(trained)
    with fitting(path):
        kept = dict(content["descriptors"])
    if cfg.TEST.MASK == "predicted" and cfg.TEST.PREDICT_SENSITIVE:
        wanted["TEST.PREDICT_SENSITIVE"] = True
        kept["TEST.PREDICT_SENSITIVE"] = content.get("has_sensitive")
    if changed := [name for name, value in wanted.items() if kept.get(name) != value]:
        # Keys of the command line must be given to the training of the classifiers, too.
        keys = "".join(f" {name} {wanted[name]}" for name in changed if name != "checkpoint")
        raise Mistake(
            f"{path} was trained with another {changed[0]} than {trained.checkpoint} has now: run `{command}{keys}`."
        )
    try:
        with fitting(path):
            heads = unpack_heads(content, trained.model.descriptor_width)
            scores = {column: {name: float(each[name]) for name in each} for column, each in content["scores"].items()}
    except Mistake as error:
        raise Mistake(f"{error}: run `{command}`.") from error
    logger.info("Attributes of held-out training people, in percent:\n%s", format_scores(scores))
    heads = keep_allowed(heads, cfg.TEST.PREDICT_SENSITIVE)
    if cfg.TEST.MASK == "predicted" and not heads:
        raise Mistake(
            f"{path} holds no classifier that TEST.MASK predicted may use: the training people's table has no other "
            f"column to learn than {', '.join(SENSITIVE)}, which need TEST.PREDICT_SENSITIVE."
        )
    return heads, scores


def keep_allowed(heads: Heads, with_sensitive: bool) -> Heads:
    """Drop the classifiers of sensitive columns unless they are asked for."""
    return {column: head for column, head in heads.items() if with_sensitive or column not in SENSITIVE}


def write_trained_heads(heads: Heads, scores: Scores, trained: TrainedRun) -> Path:
    """Write the classifiers beside the checkpoint whose descriptors they were trained on; returns the file."""
    has_sensitive = trained.cfg.TEST.PREDICT_SENSITIVE
    entries = {"descriptors": descriptor_identity(trained), "scores": scores, "has_sensitive": has_sensitive}
    write_heads(heads_path(trained), keep_allowed(heads, has_sensitive), entries)
    return heads_path(trained)


def write_heads(path: Path, heads: Heads, entries: Mapping[str, Any]) -> None:
    """Write classifiers with other entries of their file."""
    weights = {f"{column}.{name}": getattr(head, name) for column, head in heads.items() for name in ("weight", "bias")}
    columns = {column: {"codes": head.codes, "temperature": head.temperature} for column, head in heads.items()}
    write_weights(weights, {**entries, "columns": columns}, path)


def unpack_heads(content: Mapping[str, Any], width: int) -> Heads:
    """Return the classifiers of the content of a file that ``write_heads`` wrote, for vectors of ``width`` numbers."""
    heads: dict[str, AttributeHead] = {}
    for column, values in content["columns"].items():
        codes, temperature = tuple(map(int, values["codes"])), float(values["temperature"])
        weight, bias = (content["model"][f"{column}.{name}"] for name in ("weight", "bias"))
        if weight.shape != (len(codes), width) or bias.shape != (len(codes),):
            found = f"{tuple(weight.shape)} and {tuple(bias.shape)}"
            raise ValueError(f"its classifier of {column} is {found}, for {len(codes)} codes of {width} numbers")
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


def descriptor_identity(trained: TrainedRun) -> dict[str, Any]:
    """Return what decides the meaning of a run's descriptors: the hash of its checkpoint, and keys."""
    keys = {f"TEST.{name}": trained.cfg.TEST[name] for name in ("AVERAGED_WEIGHTS", "NECK_FEAT", "FEAT_NORM")}
    return {"checkpoint": hash_file(trained.checkpoint), **keys}
