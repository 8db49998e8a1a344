"""Predict attributes by their descriptions, without training.

A tracklet has the value whose description is nearest to it in the space of texts. Each value has a prompt, worded by
view, and prompts are the weights of a linear classifier on the vectors of tracklets (``AttributeHead``). Where people
are annotated, a factor and a bias for each value are fitted to them, which corrects for how often values occur and for
how readily CLIP calls them.

Reference: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
"""

import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datasets.attributes import AGVPREID_SCHEME, CODES, COLUMNS, UNKNOWN_CODES, AttributeScheme
from datasets.tracklet import Tracklet
from model.text_space import TextSpace
from utils.checkpoint import fitting, read_checkpoint
from utils.mistake import Mistake
from utils.pictures import UnreadableFrameError

from ..evaluation.features import FeatureExtractor, FeatureSet
from .fit import minimise, split_people
from .heads import AttributeHead, Heads, Scores, predict_columns, score_column, unpack_heads, write_heads

logger = logging.getLogger(__name__)

CALIBRATION_FILE = "zero_shot.safetensors"  # beside the checkpoint
BIAS_DECAY = 0.01  # L2 penalty of the biases: a value that nobody has would otherwise get an infinite one

# The first template whose words the text tower knows is used; a closed vocabulary has no words for views.
TEMPLATES = {"aerial": ("a photo of {}, seen from above", "{}"), "ground": ("a photo of {}", "{}")}


def _spell(pattern: str, *names: str) -> dict[str, str]:
    return {name: pattern.format(name) for name in names}


# What people with each code look like, "|" between phrases in the order of preference; no gender, age or ethnicity. A
# value without a prompt, or with words that a closed vocabulary lacks, is never predicted.
PROMPTS: dict[str, dict[str, str]] = {
    "height": _spell("a {} person", "short", "tall")
    | {"child": "a child", "medium": "a person of medium height|a person"},
    "body_volume": {"thin": "a thin person", "medium": "a person of medium build|a person", "fat": "a heavy person"},
    "hair_color": _spell("a person with {} hair", "black", "brown", "white", "red", "gray"),
    "hairstyle": {
        **_spell("a person with {} hair", "short", "long"),
        "bald": "a bald person|a person with no hair",
        "medium": "a person with medium-length hair|a person with medium hair",
        "horse tail": "a person with a ponytail|a person with hair in a horse tail",
    },
    "beard": {"yes": "a person with a beard", "no": "a person without a beard|a person"},
    "moustache": {"yes": "a person with a moustache", "no": "a person without a moustache"},
    "glasses": {
        "normal": "a person with glasses",
        "sun": "a person with sunglasses",
        "none": "a person without glasses",
    },
    "head_accessories": _spell("a person wearing a {}", "hat", "scarf", "necklace"),
    "upper_body_clothing": _spell("a person in a {}", *CODES["upper_body_clothing"])
    | {"naked": "a person with a naked upper body"},
    "lower_body_clothing": _spell("a person in {}", "jeans", "leggings", "pants", "shorts")
    | _spell("a person in a {}", "skirt", "bikini", "dress", "uniform", "suit"),
    "footwear": {
        **_spell("a person in {} shoes", "sport", "classic"),
        **_spell("a person in {}", "high heels", "boots", "sandals"),
        "nothing": "a person without shoes",
    },
    "accessories": {
        **_spell("a person with a {}", "backpack", "handbag", "sport bag"),
        "bag": "a person with a shoulder bag",
        "rolling bag": "a person with a rolling suitcase",
        "umbrella": "a person with an umbrella",
        "market bag": "a person with a shopping bag",
        "nothing": "a person carrying nothing|a person",
    },
}


def choose_prompt(space: TextSpace, phrases: str, view: str) -> str | None:
    """Return the first phrase, in the first template, whose words the text tower knows; None if there is none."""
    prompts = (template.format(phrase) for phrase in phrases.split("|") for template in TEMPLATES[view])
    return next((prompt for prompt in prompts if not space.texts.unknown_words(prompt)), None)


def make_zero_shot_heads(space: TextSpace, scheme: AttributeScheme = AGVPREID_SCHEME) -> Heads:
    """Make the classifiers of every column with at least two values that the text tower has words for."""
    if scheme != AGVPREID_SCHEME:
        raise Mistake(
            f"Zero-shot attributes have prompts for AG-VPReID's columns only; this data set has others: "
            f"{', '.join(scheme.columns)}."
        )
    heads: dict[str, AttributeHead] = {}
    for view in TEMPLATES:
        for column, values in PROMPTS.items():
            prompts = {
                CODES[column].index(name): prompt
                for name, phrases in values.items()
                if (prompt := choose_prompt(space, phrases, view)) is not None
            }
            if len(prompts) > 1:
                codes = tuple(sorted(prompts))
                weight = space.encode_texts([prompts[code] for code in codes]).cpu()
                heads[f"{view}.{column}"] = AttributeHead(codes, weight, torch.zeros(len(codes)), 1 / space.scale)
    if not heads:
        raise Mistake(f"{space.name} knows the words of no attribute: zero-shot attributes need another text tower.")
    return heads


def calibrate(head: AttributeHead, words: Tensor, codes: Tensor) -> AttributeHead:
    """Fit the temperature and the bias of a classifier to tracklets: vectors (n, P) and annotated codes (n,).

    Codes that the classifier does not have are left out; if there are no others, it is returned as it is.
    """
    own = torch.tensor(head.codes)
    usable = torch.isin(codes, own)
    if not usable.any():
        return head
    labels = torch.searchsorted(own, codes[usable])
    similarity = F.linear(words[usable], head.weight)
    mean = similarity.mean(dim=0)  # the biases that are fitted, and decay, are relative to it
    log_scale = torch.tensor(1 / head.temperature).log().requires_grad_()
    bias = torch.zeros(len(own), requires_grad=True)
    minimise(
        [log_scale, bias],
        lambda: (
            F.cross_entropy(log_scale.exp() * (similarity - mean) + bias, labels) + BIAS_DECAY * bias.square().sum() / 2
        ),
    )
    temperature = (-log_scale.detach()).exp()
    return replace(head, bias=bias.detach() * temperature - mean, temperature=temperature.item())


def encode_words(
    tracklets: Sequence[Tracklet],
    space: TextSpace,
    extractor: FeatureExtractor,
    make_loader: Callable[[Sequence[Tracklet]], DataLoader],
) -> Tensor:
    """Read tracklets, all with a readable frame, once more into the space of texts, (n, P), unit length, on the CPU."""
    raw = replace(extractor, transform=nn.Identity())
    words = raw.average_over_tracklets(
        lambda clips, camids: space.encode_frames(clips), make_loader(tracklets), tracklets, "frames beside texts"
    )
    if not words.counts.all():  # kept features need no frames
        gone = tracklets[int(words.counts[:, 0].argmin())].key
        raise UnreadableFrameError(
            f"No frame of {gone} can be read any more: delete the features that were kept of it."
        )
    return F.normalize(words.features, dim=1).cpu()


def find_zero_shot_heads(space: TextSpace, folder: Path) -> Heads:
    """Read the calibrated classifiers beside a checkpoint; those without calibration if there are none."""
    path = folder / CALIBRATION_FILE
    if not path.is_file():
        command = f"python -m tools.train_attributes --output_dir {folder} --text_tower FILE"
        logger.warning("No %s: zero-shot attributes are not calibrated, which `%s` does.", path, command)
        return make_zero_shot_heads(space)
    content = read_checkpoint(path)
    with fitting(path):
        if content["text_tower"] != space.sha256:
            raise Mistake(
                f"{path} was calibrated with another text tower than {space.name} (TEST.TEXT_TOWER): remove it, or "
                "write it again by tools/train_attributes.py with --text_tower."
            )
        return unpack_heads(content, space.texts.width)


def fit_zero_shot(
    plain: Heads, words: Tensor, features: FeatureSet, learned: Container[str], seed: int
) -> tuple[Heads, list[Scores]]:
    """Calibrate zero-shot classifiers on the people that trained ones are fitted and calibrated on.

    ``words`` are vectors of the tracklets of ``features`` in the space of texts, (n, P); ``learned`` names the columns
    to score. Returns the calibrated classifiers, and the scores of the plain ones and of these on the same people.
    """
    parts, tracklets, pids = split_people(features.pids, seed), features.tracklets, torch.tensor(features.pids)
    codes = dict(zip(COLUMNS, torch.tensor([tracklet.attributes for tracklet in tracklets]).T, strict=True))
    fitted: dict[str, AttributeHead] = {}
    for name, head in plain.items():
        view, _, column = name.partition(".")
        chosen = ~parts.scores & torch.tensor([tracklet.view == view for tracklet in tracklets])
        fitted[name] = calibrate(head, words[chosen], codes[column][chosen])
    scores: list[Scores] = []
    for heads in (plain, fitted):
        own: dict[str, dict[str, float]] = {}
        for column, probabilities in predict_columns(heads, words, tracklets).items():
            if column in learned:
                is_known = codes[column] != UNKNOWN_CODES[column]
                chosen = parts.scores & is_known
                most_frequent = codes[column][parts.fit & is_known].mode().values
                sides = probabilities[chosen], codes[column][chosen], pids[chosen]
                own[column] = score_column(heads[f"ground.{column}"].codes, *sides, most_frequent)
        scores.append(own)
    return fitted, scores


def write_zero_shot_heads(heads: Heads, space: TextSpace, folder: Path) -> Path:
    """Write classifiers beside a checkpoint, with the hash of their text tower; returns the file."""
    write_heads(folder / CALIBRATION_FILE, heads, {"text_tower": space.sha256})
    return folder / CALIBRATION_FILE
