"""Train classifiers of attributes on the descriptors of training people, after the network's own training.

People are drawn into three parts: a classifier is fitted on the first, its strength of regularisation and its
temperature are chosen on the second, and its scores are from the third. The network has been trained to tell all of
these people apart, so even the third part's scores may be better than those of people whom it never saw.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from datasets.attributes import AttributeScheme
from datasets.tracklet import DataSet, Tracklet
from utils.mistake import Mistake
from utils.processes import ALONE, Processes
from utils.progress import track

from ..evaluation.features import FeatureSet
from .heads import AttributeHead, Heads, Scores, score_column

logger = logging.getLogger(__name__)

FIT_SHARE, CALIBRATION_SHARE = 0.6, 0.2  # of the people; the rest is for the scores
MIN_PEOPLE = 10  # with attributes: two for the scores, and more cannot be asked of a small data set
DECAYS = (0.1, 0.01, 0.001, 0.0001)  # L2 penalties to choose from, of weights on inputs of length about 1
MAX_STEPS = 100  # of L-BFGS, for each penalty
# Temperatures to choose from: 1/20 to 20 in equal factors, 1 among them.
TEMPERATURES = torch.logspace(-1.3, 1.3, 261, dtype=torch.float64)


class Parts(NamedTuple):
    """Which tracklets belong to the people of each part, (n,), bool."""

    fit: Tensor
    calibration: Tensor
    scores: Tensor


def find_annotated(dataset: DataSet, name: str) -> tuple[list[Tracklet], AttributeScheme]:
    """Return the training tracklets that have attributes, and what these mean; ``name`` is DATASETS.NAMES."""
    if dataset.scheme is None:
        raise Mistake(f"DATASETS.NAMES {name} has no annotated attributes, so there is nothing to train on.")
    unknown = dataset.scheme.unknown
    tracklets = [each for each in dataset.train if each.attributes is not None and each.attributes != unknown]
    if (num_people := len({tracklet.pid for tracklet in tracklets})) < MIN_PEOPLE:
        raise Mistake(
            f"Classifiers of attributes need at least {MIN_PEOPLE} training people with known attributes in the table "
            f"of {name} in DATASETS.ROOT_DIR, because some are held out; it has {num_people}."
        )
    return tracklets, dataset.scheme


def split_people(pids: Sequence[int], seed: int) -> Parts:
    """Draw people into the three parts; all tracklets of a person go the same way."""
    people = np.unique(pids)
    drawn = np.random.default_rng(seed).permutation(people)
    first, second = (round(share * len(people)) for share in (FIT_SHARE, FIT_SHARE + CALIBRATION_SHARE))
    parts = (drawn[:first], drawn[first:second], drawn[second:])
    return Parts(*(torch.from_numpy(np.isin(pids, part)) for part in parts))


def train_heads(
    features: FeatureSet, scheme: AttributeScheme, seed: int, processes: Processes = ALONE
) -> tuple[Heads, Scores]:
    """Train and score a classifier of every column of which the people of each part show enough."""
    parts, pids = split_people(features.pids, seed), torch.tensor(features.pids)
    table = torch.tensor([tracklet.attributes for tracklet in features.tracklets])
    heads: dict[str, AttributeHead] = {}
    scores: dict[str, dict[str, float]] = {}
    skipped = []
    columns = track(scheme.columns, "training on attributes", "column", enabled=processes.is_main)
    for index, column in enumerate(columns):
        codes = table[:, index]
        own = Parts(*(part & (codes != scheme.unknown[index]) for part in parts))
        if len(codes[own.fit].unique()) < 2 or not (own.calibration.any() and own.scores.any()):
            skipped.append(column)
            continue
        heads[column] = head = train_head(features.features, codes, own)
        sides = codes[own.scores], pids[own.scores], codes[own.fit].mode().values
        before, after = (
            score_column(head.codes, each.probabilities(features.features[own.scores]), *sides)
            for each in (replace(head, temperature=1.0), head)
        )
        scores[column] = {**after, "ece_before": before["ece_after"], "temperature": head.temperature}
    if skipped and processes.is_main:
        logger.warning(
            "Not learned, because too few people are annotated or all have the same code: %s", ", ".join(skipped)
        )
    if not scores:
        raise Mistake("No attribute can be learned: each has only one known code among the people to fit on.")
    return heads, scores


def train_head(features: Tensor, codes: Tensor, parts: Parts) -> AttributeHead:
    """Fit a classifier, and choose its regularisation and temperature by the likelihood of the calibration people.

    Of the people in ``parts``, all codes, (n,), are known, and at least two occur in the first part; features (n, D).
    """
    known_codes = codes[parts.fit].unique()
    labels = torch.searchsorted(known_codes, codes[parts.fit])
    # A code that nobody was fitted on has no probability.
    usable = parts.calibration & torch.isin(codes, known_codes)
    held_out = torch.searchsorted(known_codes, codes[usable])
    fits = []
    for weight, bias in fit_logistic(features[parts.fit], labels, len(known_codes)):
        temperature, loss = choose_temperature(F.linear(features[usable], weight, bias), held_out)
        fits.append((loss, AttributeHead(tuple(known_codes.tolist()), weight, bias, temperature)))
    return min(fits, key=lambda fit: fit[0])[1]


def fit_logistic(features: Tensor, labels: Tensor, num_classes: int) -> list[tuple[Tensor, Tensor]]:
    """Fit multinomial logistic regressions, one for each of ``DECAYS``, each from the one before.

    Features, (n, D), are standardised here, which the returned weights, (C, D), and biases, (C,), undo. ``labels`` are
    classes from 0, (n,).
    """
    mean, scale = features.mean(dim=0), features.std(dim=0, correction=0).clamp_min(1e-6) * features.shape[1] ** 0.5
    inputs = (features - mean) / scale
    weight = torch.zeros(num_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    fits = []
    for decay in DECAYS:

        def measure_loss(decay: float = decay) -> Tensor:
            return F.cross_entropy(F.linear(inputs, weight, bias), labels) + decay * weight.square().sum() / 2

        minimise([weight, bias], measure_loss)
        unscaled = weight.detach() / scale
        fits.append((unscaled, bias.detach() - unscaled @ mean))
    return fits


def minimise(parameters: list[Tensor], measure_loss: Callable[[], Tensor]) -> None:
    """Change parameters in place until a loss of them is least, by L-BFGS."""
    optimizer = torch.optim.LBFGS(parameters, max_iter=MAX_STEPS, line_search_fn="strong_wolfe")

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = measure_loss()
        loss.backward()
        return loss

    optimizer.step(step)


def choose_temperature(logits: Tensor, labels: Tensor) -> tuple[float, float]:
    """Return the temperature under which held-out labels are most likely, and their mean negative log-likelihood.

    They are (n,), the logits (n, C). Without any, the temperature is 1 and the second number infinite.
    """
    if not len(labels):
        return 1.0, torch.inf
    losses = torch.stack([F.cross_entropy(logits.double() / each, labels) for each in TEMPERATURES])
    best = int(losses.argmin())
    return float(TEMPERATURES[best]), float(losses[best])
