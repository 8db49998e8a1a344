"""Train the demo's caption encoder against its image tower, which does not change any more, and score such searches.

The frames of synthetic people are encoded once. Each step draws a text about each of some people, which mostly names a
few things only ("red shirt", "a woman in blue jeans"), and pulls together its vector and those of the person's frames.

Reference: Zhai et al., "LiT: Zero-Shot Transfer with Locked-image text Tuning", CVPR 2022.
"""

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.encoder import ClipVideoEncoder
from model.text_space import ClassToken, TextSpace
from model.text_towers import CaptionEncoder, split_words

from .people import Person
from .pretraining import INITIAL_LOGIT_SCALE, PEOPLE_PER_STEP, VIEWS, Crowd, contrast, encode_crowd, optimise

MAX_WORDS = 48  # of a text; the longest captions have about 40
JOINTS = ("with", "in", "and", "wearing")
ANYBODY = "person"  # what a man, woman, girl or boy is called at times
ARTICLES = ("a", "an")
PEOPLE_WITH_ALL_WORDS = 2000  # so many use every word of the closed vocabulary
FULL_CAPTIONS, WITHOUT_ARTICLES, SHORTENED, WORD_DROPPED, UNNAMED = 0.2, 0.3, 0.4, 0.3, 0.3  # probabilities


def draw_text(person: Person, rng: random.Random) -> str:
    """Draw a text about a person: the whole caption, or some of the phrases in any order, at times shortened."""
    if rng.random() < FULL_CAPTIONS:
        return person.caption()
    phrases = person.phrases()
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


def start_text_space(encoder: ClipVideoEncoder, size: Sequence[int], mean: Any, std: Any) -> TextSpace:
    """Put an untrained caption encoder, which knows ``list_vocabulary``, beside an image tower."""
    captions = CaptionEncoder(list_vocabulary(), MAX_WORDS, encoder.projected_width)
    return TextSpace(ClassToken(encoder), captions, size, mean, std, scale=math.exp(INITIAL_LOGIT_SCALE))


def train_captions(space: TextSpace, crowd: Crowd, steps: int, seed: int) -> None:
    """Train the text tower of ``start_text_space`` in place, and set the scale; ``seed`` draws people and texts."""
    images = encode_crowd(space, crowd).flatten(1, 2)  # (people, tracklets, P)
    captions = space.texts.train().requires_grad_(True)
    rng = random.Random(seed)
    owners = torch.arange(min(PEOPLE_PER_STEP, len(images)))
    owners_of_tracklets = owners.repeat_interleave(images.shape[1])

    def compute_loss(scale: Tensor) -> Tensor:
        people = rng.sample(range(len(images)), len(owners))
        drawn = [draw_text(crowd.people[person], rng) for person in people]
        texts = F.normalize(captions(captions.tokenize(drawn)), dim=1)
        return contrast(texts, images[people].flatten(0, 1), owners, owners_of_tracklets, scale)

    space.scale = optimise(list(captions.parameters()), compute_loss, steps)
    captions.eval().requires_grad_(False)


def score_search(
    space: TextSpace, texts: Sequence[str], tracklets: Tensor, ranks: Sequence[int] = (1, 10)
) -> dict[int, tuple[float, float]]:
    """Score the search for people, whose tracklets are (people, tracklets, P), by a text about each.

    A text is asked once; any tracklet of anyone whom it describes is right. Returns by rank k the share of texts with a
    right tracklet among the k nearest, and the same in random order.
    """
    asked = list(dict.fromkeys(texts))
    right = torch.tensor([[text == other for other in texts] for text in asked])
    right = right.repeat_interleave(tracklets.shape[1], dim=1)  # (texts, people * tracklets)
    similarity = space.encode_texts(asked) @ tracklets.flatten(0, 1).T
    ranked = right.gather(1, similarity.argsort(dim=1, descending=True, stable=True))
    total, num_right = right.shape[1], right.sum(dim=1).tolist()
    scores = {}
    for k in (k for k in ranks if k <= total):
        missed = sum(math.comb(total - n, k) / math.comb(total, k) for n in num_right) / len(asked)
        scores[k] = ranked[:, :k].any(dim=1).double().mean().item(), 1 - missed
    return scores


def describe_search(space: TextSpace, crowd: Crowd) -> dict[str, str]:
    """Score whole captions and the clothes of the upper body of unseen people, in the tracklets of each view."""
    images = encode_crowd(space, crowd)
    asked = {
        "captions": [person.caption() for person in crowd.people],
        "upper body only": [person.phrases()["upper"] for person in crowd.people],
    }
    return {
        f"{what}, {view} tracklets": ", ".join(
            f"R{k} {100 * hit:.1f} % (chance {100 * chance:.1f} %)"
            for k, (hit, chance) in score_search(space, texts, images[:, index]).items()
        )
        for what, texts in asked.items()
        for index, view in enumerate(VIEWS)
    }
