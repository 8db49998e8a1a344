"""Train the demo's caption encoder against its image tower, which does not change any more, and score such searches.

The frames of synthetic people are encoded once. Each step draws a text about each of some people, which mostly names a
few things only ("red shirt", "a woman in blue jeans"), and pulls together its vector and those of the person's frames.

Reference: Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text Tuning", CVPR 2022.
"""

import math
import random
from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.caption_encoder import CaptionEncoder, split_words
from model.encoder import ClipVideoEncoder
from model.text_space import ClassToken, TextSpace
from utils.progress import track

from .crowd import VIEWS, Crowd
from .people import Person
from .pretraining import INITIAL_LOGIT_SCALE, WEIGHT_DECAY, contrast_both, optimise, read_scale

MAX_WORDS = 48  # of a text; the longest captions have about 40
JOINTS = ("with", "in", "and", "wearing")
ANYBODY = "person"  # what a man, woman, girl or boy is called at times
ARTICLES = ("a", "an")
PEOPLE_WITH_ALL_WORDS = 2000  # so many use every word of the closed vocabulary
FULL_CAPTIONS, WITHOUT_ARTICLES, SHORTENED, WORD_DROPPED, UNNAMED = 0.2, 0.3, 0.4, 0.3, 0.3  # probabilities
BATCH_OF_TRACKLETS = 64
PEOPLE_PER_STEP = 64
LOG_PERIOD = 100  # steps


def draw_text(caption: str, phrases: Mapping[str, str], rng: random.Random) -> str:
    """Draw a text about a person: the whole caption, or some of the phrases in any order, at times shortened."""
    if rng.random() < FULL_CAPTIONS:
        return caption
    chosen = rng.sample(sorted(phrases), rng.randint(1, len(phrases)))
    shortened, without_articles = rng.random() < SHORTENED, rng.random() < WITHOUT_ARTICLES
    parts = []
    for key in chosen:
        *described, noun = phrases[key].split()
        if key == "person" and rng.random() < UNNAMED:
            noun = ANYBODY
        if without_articles:
            described = [word for word in described if word not in ARTICLES]
        if shortened:
            described = [word for word in described if rng.random() > WORD_DROPPED]
        parts.append(" ".join([*described, noun]))
    if "person" not in chosen and rng.random() < UNNAMED:
        parts.insert(0, f"a {ANYBODY}")
    text = parts[0]
    for part in parts[1:]:
        text += f" {rng.choice(JOINTS)} {part}"
    return text


def list_vocabulary() -> list[str]:
    """List the words that ``draw_text`` may use."""
    people = (Person(np.random.default_rng(seed)) for seed in range(PEOPLE_WITH_ALL_WORDS))
    texts = [*(person.caption() for person in people), *JOINTS, *ARTICLES, ANYBODY]
    return sorted({word for text in texts for word in split_words(text)})


def start_text_space(
    encoder: ClipVideoEncoder, size: Sequence[int], mean: Sequence[float], std: Sequence[float]
) -> TextSpace:
    """Put an untrained caption encoder, which knows ``list_vocabulary``, beside an image tower, which is frozen."""
    captions = CaptionEncoder(list_vocabulary(), MAX_WORDS, encoder.projected_width)
    return TextSpace(ClassToken(encoder), captions, size, mean, std, scale=math.exp(INITIAL_LOGIT_SCALE))


@torch.no_grad()
def encode_crowd(space: TextSpace, crowd: Crowd) -> Tensor:
    """Encode the tracklets of a crowd, (people, views, tracklets, P), unit length."""
    clips = crowd.frames.flatten(0, 2)  # (people * views * tracklets, T, C, H, W)
    batches = track(clips.split(BATCH_OF_TRACKLETS), "encoding frames", "batch")
    return torch.cat([space.encode_frames(part) for part in batches]).unflatten(0, crowd.frames.shape[:3])


def train_captions(space: TextSpace, crowd: Crowd, steps: int, lr: float, seed: int) -> None:
    """Train the text tower of ``space``, a caption encoder, in place, and set the scale of ``space``.

    Args:
        space: As of ``start_text_space``.
        crowd: The people.
        steps, lr: As of ``optimise``.
        seed: Seed of the order of people and their texts.
    """
    images = encode_crowd(space, crowd).flatten(1, 2)  # (people, tracklets, P)
    captions = cast(CaptionEncoder, space.texts).train().requires_grad_(True)
    weights = list(captions.parameters())
    logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
    rng = random.Random(seed)
    owners = torch.arange(min(PEOPLE_PER_STEP, len(images)))
    owners_of_tracklets = owners.repeat_interleave(images.shape[1])

    def compute_loss() -> Tensor:
        people = rng.sample(range(len(images)), len(owners))
        drawn = [draw_text(crowd.captions[person], crowd.phrases[person], rng) for person in people]
        texts = F.normalize(captions(captions.tokenize(drawn)), dim=1)
        return contrast_both(texts, images[people].flatten(0, 1), owners, owners_of_tracklets, read_scale(logit_scale))

    optimise(
        [{"params": [*weights, logit_scale], "weight_decay": WEIGHT_DECAY}],
        weights,
        compute_loss,
        steps,
        lr,
        LOG_PERIOD,
        lambda: f"scale {read_scale(logit_scale).item():.1f}",
    )
    captions.eval().requires_grad_(False)
    space.scale = read_scale(logit_scale).item()


def score_search(
    space: TextSpace, texts: Sequence[str], tracklets: Tensor, ranks: Sequence[int] = (1, 10)
) -> dict[int, tuple[float, float]]:
    """Score the search for people by a text about each.

    A text is asked once, however many people it describes, and any tracklet of any of these people is right.

    Args:
        space: The space.
        texts: A text about each person.
        tracklets: Tracklets of each person, (people, tracklets, P).
        ranks: The k of the scores; those above the number of tracklets are left out.
    Returns:
        By k: the share of texts with a right tracklet among the k nearest, and the same in random order.
    """
    asked = list(dict.fromkeys(texts))
    right = torch.tensor([[text == other for other in texts] for text in asked])
    right = right.repeat_interleave(tracklets.shape[1], dim=1)  # (texts, people * tracklets)
    similarity = space.encode_texts(asked) @ tracklets.flatten(0, 1).T
    ranked = right.gather(1, similarity.argsort(dim=1, descending=True, stable=True))
    total, num_right = right.shape[1], right.sum(dim=1).tolist()
    return {
        k: (
            ranked[:, :k].any(dim=1).double().mean().item(),
            1 - sum(math.comb(total - n, k) / math.comb(total, k) for n in num_right) / len(asked),
        )
        for k in ranks
        if k <= total
    }


def describe_search(space: TextSpace, crowd: Crowd) -> dict[str, str]:
    """Score whole captions and the clothes of the upper body of unseen people, in the tracklets of each view."""
    images = encode_crowd(space, crowd)
    asked = {"captions": crowd.captions, "upper body only": [phrases["upper"] for phrases in crowd.phrases]}
    return {
        f"{what}, {view} tracklets": ", ".join(
            f"R{k} {100 * hit:.1f} % (chance {100 * chance:.1f} %)"
            for k, (hit, chance) in score_search(space, texts, images[:, index]).items()
        )
        for what, texts in asked.items()
        for index, view in enumerate(VIEWS)
    }
