"""Contrastive pre-training of a small CLIP on synthetic people, image against caption, and the scores of searches.

Each step pulls together

- every frame and the caption of its person (CLIP's loss; all frames of a person count as positives);
- every ground frame and the aerial frames of the same person.

Only the image tower is kept. Beside it, the caption encoder that is kept is then trained: the frames are encoded once,
and most texts name a few things only ("red shirt", "a woman in blue jeans").

Reference: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021; Khosla et
al., "Supervised Contrastive Learning", NeurIPS 2020, Eq. (2); Zhai et al., "LiT: Zero-Shot Transfer with Locked-image
text Tuning", CVPR 2022.
"""

import functools
import logging
import math
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save
from torch import Tensor, nn

from datasets.tracklet import VIEWS
from model.encoder import ClipVideoEncoder
from model.text_space import ClassToken, TextSpace
from model.text_towers import CaptionEncoder, split_words
from model.weights import TIMM_RENAMES, rename
from utils.files import write_whole
from utils.progress import track

from .cameras import make_cameras
from .people import Person
from .rendering import map_in_processes, render_tracklet

logger = logging.getLogger(__name__)

# Part of every seed here, so that no data set of ``render_dataset`` holds these people.
SEED_KEY = 20_211_103
TRACKLETS_PER_VIEW = 3
FRAMES_PER_TRACKLET = 2
PEOPLE_PER_CAMERA_SET = 100

PEOPLE_PER_STEP = 64
FRAMES_PER_VIEW_AND_STEP = 2
BATCH_OF_TRACKLETS = 64  # without gradients
INITIAL_LOGIT_SCALE = math.log(1 / 0.07)  # CLIP's temperature; CLIP also limits the scale to 100
MAX_LOGIT_SCALE = math.log(100)
WEIGHT_DECAY = 0.05
PEAK_RATE = 1e-3  # of both towers, in a one-cycle schedule
LOG_PERIOD = 200  # steps

MAX_WORDS = 48  # of a text; the longest captions have about 40
JOINTS = ("with", "in", "and", "wearing")
ANYBODY = "person"  # what a man, woman, girl or boy is called at times
ARTICLES = ("a", "an")
PEOPLE_WITH_ALL_WORDS = 2000  # so many use every word of the closed vocabulary
FULL_CAPTIONS, WITHOUT_ARTICLES, SHORTENED, WORD_DROPPED, UNNAMED = 0.2, 0.3, 0.4, 0.3, 0.3  # probabilities


class Crowd(NamedTuple):
    """Rendered people."""

    frames: Tensor  # (people, views, tracklets, frames, C, H, W), uint8; views in the order of VIEWS
    people: list[Person]


def render_person(index: int, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, Person]:
    """Render one person; returns frames (views, tracklets, frames, H, W, 3), uint8, and the person."""
    rng = np.random.default_rng([SEED_KEY, seed, index])
    cameras = make_cameras(np.random.default_rng([SEED_KEY, seed, index // PEOPLE_PER_CAMERA_SET, 1]))
    person = Person(rng)
    H, W = size
    frames = np.empty((len(VIEWS), TRACKLETS_PER_VIEW, FRAMES_PER_TRACKLET, H, W, 3), dtype=np.uint8)
    for view, name in enumerate(VIEWS):
        of_view = [camera for camera in cameras if camera.view == name]
        for tracklet in range(TRACKLETS_PER_VIEW):
            camera = of_view[rng.integers(len(of_view))]
            for number, crop in enumerate(render_tracklet(person, camera, FRAMES_PER_TRACKLET, rng)):
                resized = Image.fromarray(crop).resize((W, H), Image.Resampling.BILINEAR)
                frames[view, tracklet, number] = np.asarray(resized)
    return frames, person


def render_crowd(num_people: int, seed: int, size: tuple[int, int], num_workers: int) -> Crowd:
    """Render many people in parallel; the result does not depend on ``num_workers``."""
    render = functools.partial(render_person, seed=seed, size=size)
    rendered = map_in_processes(render, range(num_people), num_workers, chunksize=25)
    frames, people = zip(*track(rendered, "rendering", "person", num_people), strict=True)
    return Crowd(torch.from_numpy(np.stack(frames)).movedim(-1, -3).contiguous(), list(people))


def augment(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Flip, shift, scale and tint frames at random; (n, C, H, W), float in 0..1, before and after."""
    n = len(frames)

    def draw(*shape: int) -> Tensor:
        return 2 * torch.rand(n, *shape, generator=generator) - 1  # -1..1

    affine = torch.zeros(n, 2, 3)
    affine[:, 0, 0] = (1 + 0.12 * draw()) * draw().sign()  # the sign flips
    affine[:, 1, 1] = 1 + 0.12 * draw()
    affine[:, :, 2] = 0.08 * draw(2)
    grid = F.affine_grid(affine, list(frames.shape), align_corners=False)
    frames = F.grid_sample(frames, grid, padding_mode="border", align_corners=False)
    gain = torch.exp(0.25 * draw(1, 1, 1) + 0.15 * draw(3, 1, 1))
    return (frames * gain).clamp(0, 1)


def contrast(left: Tensor, right: Tensor, left_people: Tensor, right_people: Tensor, scale: Tensor) -> Tensor:
    """Return the cross entropy of picking, for each vector, those of its person, which share the target equally.

    Vectors on the right (m, P) are picked for each on the left (n, P), and the reverse; the sum is returned.
    """
    logits = scale * left @ right.T
    positive = (left_people.unsqueeze(1) == right_people).float()
    there = F.cross_entropy(logits, positive / positive.sum(dim=1, keepdim=True))
    return there + F.cross_entropy(logits.T, (positive / positive.sum(dim=0)).T)


def optimise(weights: Sequence[nn.Parameter], compute_loss: Callable[[Tensor], Tensor], steps: int) -> float:
    """Take AdamW's steps down a loss, and log its mean; returns the factor on similarities, which is trained too.

    ``compute_loss`` draws a batch and takes the factor.
    """
    logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
    groups = [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [*(weight for weight in weights if weight.dim() < 2), logit_scale], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps, pct_start=0.05)
    mean_loss = 0.0
    for step in track(range(1, steps + 1), "training", "step"):
        loss = compute_loss(logit_scale.clamp(max=MAX_LOGIT_SCALE).exp())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        mean_loss += (loss.item() - mean_loss) / min(step, 100)
        if step % LOG_PERIOD == 0 or step == steps:
            logger.info("step %d/%d: loss %.3f", step, steps, mean_loss)
    return logit_scale.clamp(max=MAX_LOGIT_SCALE).exp().item()


def pretrain(space: TextSpace, crowd: Crowd, steps: int, seed: int) -> None:
    """Train both towers of an untrained text space in place; ``seed`` draws people, frames and augmentation."""
    space.train().requires_grad_(True)
    tokens = space.texts.tokenize([person.caption() for person in crowd.people])
    batch = min(PEOPLE_PER_STEP, len(crowd.people))
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    owners, texts_owners = torch.arange(batch).repeat_interleave(FRAMES_PER_VIEW_AND_STEP), torch.arange(batch)

    def compute_loss(scale: Tensor) -> Tensor:
        nonlocal order
        if len(order) < batch:
            order = torch.randperm(len(crowd.people), generator=generator)
        people, order = order[:batch], order[batch:]
        frames = crowd.frames[people].flatten(2, 3)  # (people, views, tracklets * frames, C, H, W)
        choice = torch.rand(frames.shape[:3], generator=generator).argsort(dim=2)[..., :FRAMES_PER_VIEW_AND_STEP]
        frames = frames.gather(2, choice[..., None, None, None].expand(-1, -1, -1, *frames.shape[3:]))
        frames = augment(frames.transpose(0, 1).flatten(0, 2).float() / 255, generator)  # ground frames first
        images = F.normalize(space.images((frames - space.mean) / space.std), dim=1)
        texts = F.normalize(space.texts(tokens[people]), dim=1)
        ground, aerial = images.chunk(2)
        return contrast(images, texts, owners.repeat(2), texts_owners, scale) + contrast(
            ground, aerial, owners, owners, scale
        )

    optimise(list(space.parameters()), compute_loss, steps)
    space.eval().requires_grad_(False)


@torch.no_grad()
def encode_crowd(space: TextSpace, crowd: Crowd) -> Tensor:
    """Encode the tracklets of a crowd, (people, views, tracklets, P), unit length."""
    clips = crowd.frames.flatten(0, 2)  # (people * views * tracklets, T, C, H, W)
    batches = track(clips.split(BATCH_OF_TRACKLETS), "encoding frames", "batch")
    return torch.cat([space.encode_frames(part) for part in batches]).unflatten(0, crowd.frames.shape[:3])


def save_timm(encoder: ClipVideoEncoder, path: Path, metadata: dict[str, str]) -> None:
    """Write the image tower as a timm state dict in half precision, a file that MODEL.PRETRAIN_PATH reads."""
    state = {rename(name, TIMM_RENAMES, back=True): value.half() for name, value in encoder.state_dict().items()}
    state["head.weight"] = state["head.weight"].T.contiguous()  # timm stores the projection transposed
    write_whole(lambda file: file.write(save(state, metadata)), path)


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
