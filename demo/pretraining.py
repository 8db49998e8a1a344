"""Contrastive pre-training of a small image encoder on synthetic people, as CLIP was trained: image against caption.

Each step pulls together

- every frame and the caption of its person, against the captions of all people in the batch and all their frames
  (CLIP's loss; all frames of a person count as positives);
- every ground frame and the aerial frames of the same person, against all aerial frames, and the reverse.

Only the image tower is kept; ``save_timm`` writes it in timm's names. ``demo.caption_training`` then trains the
caption encoder that is kept.

Reference: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021; Khosla et
al., "Supervised Contrastive Learning", NeurIPS 2020, Eq. (2).
"""

import logging
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize
from yacs.config import CfgNode

from datasets.clips.transforms import Normalizer
from model.caption_encoder import CaptionEncoder
from model.encoder import ClipVideoEncoder, build_vit
from model.weights import TIMM_RENAMES, invert, rename
from utils.distances import squared_distances
from utils.files import write_whole
from utils.metrics import evaluate_ranking
from utils.progress import track

from .crowd import TRACKLETS_PER_VIEW, Crowd

logger = logging.getLogger(__name__)

FRAMES_PER_VIEW_AND_STEP = 2
VALIDATION_BATCH = 256  # clips
INITIAL_LOGIT_SCALE = math.log(1 / 0.07)  # CLIP's temperature; CLIP also limits the scale to 100
MAX_LOGIT_SCALE = math.log(100)


@dataclass(frozen=True)
class PretrainingSettings:
    """Settings of a pre-training run.

    Attributes:
        steps: Optimiser steps.
        batch: People in a step, at least 2, with ``FRAMES_PER_VIEW_AND_STEP`` frames from either view.
        lr: Peak learning rate of the one-cycle schedule.
        seed: Seed of the order of people, the choice of frames and their augmentation.
        log_period: Steps between two log lines with validation.
        mean: Mean of red, green and blue that frames are normalised with.
        std: Standard deviation, likewise.
    """

    steps: int
    batch: int
    lr: float
    seed: int
    log_period: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


def make_image_tower(cfg: CfgNode) -> tuple[ClipVideoEncoder, dict[str, Any]]:
    """Build the encoder of a config with random weights; the second value describes it, as ``write_captions`` does."""
    vit = {"name": cfg.MODEL.NAME, **{name.lower(): value for name, value in cfg.MODEL.VIT.items()}}
    size, stride = cfg.INPUT.SIZE_TRAIN, cfg.MODEL.STRIDE_SIZE
    encoder = ClipVideoEncoder(build_vit(**vit), size, stride, position_mode=cfg.MODEL.POSITION_RESIZE)
    pixels = {"size": size, "mean": cfg.INPUT.PIXEL_MEAN, "std": cfg.INPUT.PIXEL_STD}
    return encoder, {"vit": vit, "stride": stride, **pixels}


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


def contrast(queries: Tensor, keys: Tensor, query_people: Tensor, key_people: Tensor, scale: Tensor) -> Tensor:
    """Return the cross entropy of picking, for each query, the keys of the same person.

    Args:
        queries: Features, (n, P), unit length.
        keys: Features, (m, P), unit length. Keys of one person share the target equally.
        query_people: Person of each query, (n,).
        key_people: Person of each key, (m,); each query has a key of its person.
        scale: Factor on the similarities, a scalar.
    """
    log_probabilities = (scale * queries @ keys.T).log_softmax(dim=1)
    positive = (query_people.unsqueeze(1) == key_people.unsqueeze(0)).float()
    return -((log_probabilities * positive).sum(dim=1) / positive.sum(dim=1)).mean()


def compute_loss(images: Tensor, texts: Tensor, num_people: int, scale: Tensor) -> Tensor:
    """Return the sum of the four contrastive terms.

    Args:
        images: Features of frames, (2 * people * frames, P), unit length, all ground frames first.
        texts: Features of captions, (people, P), unit length.
        num_people: People in the batch.
        scale: Factor on the similarities, a scalar.
    """
    people = torch.arange(num_people)
    owners = people.repeat_interleave(len(images) // (2 * num_people)).repeat(2)
    ground, aerial = images.chunk(2)
    ground_owners, aerial_owners = owners.chunk(2)
    return (
        contrast(images, texts, owners, people, scale)
        + contrast(texts, images, people, owners, scale)
        + contrast(ground, aerial, ground_owners, aerial_owners, scale)
        + contrast(aerial, ground, aerial_owners, ground_owners, scale)
    )


def pretrain(encoder: ClipVideoEncoder, crowd: Crowd, validation: Crowd, settings: PretrainingSettings) -> None:
    """Train the encoder in place on ``crowd``, and log its rank-1 accuracy on ``validation``."""
    captions = CaptionEncoder.for_texts(crowd.captions, encoder.projected_width)
    tokens = captions.tokenize(crowd.captions)
    logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
    weights = [*encoder.parameters(), *captions.parameters()]
    groups = [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": 0.05},
        {"params": [*(weight for weight in weights if weight.dim() < 2), logit_scale], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.lr, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.lr, total_steps=settings.steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.empty(0, dtype=torch.int64)
    mean_loss, start = 0.0, time.perf_counter()
    for step in track(range(1, settings.steps + 1), "pre-training", "step"):
        if len(order) < settings.batch:
            order = torch.randperm(len(crowd.captions), generator=generator)
        people, order = order[: settings.batch], order[settings.batch :]
        frames = crowd.frames[people].flatten(2, 3)  # (people, views, tracklets * frames, C, H, W)
        choice = torch.rand(frames.shape[:3], generator=generator).argsort(dim=2)[..., :FRAMES_PER_VIEW_AND_STEP]
        frames = frames.gather(2, choice[..., None, None, None].expand(-1, -1, -1, *frames.shape[3:]))
        frames = augment(frames.transpose(0, 1).flatten(0, 2).float() / 255, generator)
        tokens_of_images = encoder.encode_frames(normalize(frames, settings.mean, settings.std))
        images = F.normalize(encoder.project(tokens_of_images[:, 0]), dim=1)
        texts = F.normalize(captions(tokens[people]), dim=1)
        loss = compute_loss(images, texts, len(people), logit_scale.clamp(max=MAX_LOGIT_SCALE).exp())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        mean_loss += (loss.item() - mean_loss) / min(step, 100)
        if step % settings.log_period == 0 or step == settings.steps:
            logger.info(
                "step %d/%d: loss %.3f, R1 on %d unseen people %s, %.0f s",
                step,
                settings.steps,
                mean_loss,
                len(validation.captions),
                describe_rank1(encoder, validation, Normalizer(settings.mean, settings.std)),
                time.perf_counter() - start,
            )


@torch.inference_mode()
def describe_rank1(encoder: ClipVideoEncoder, crowd: Crowd, transform: Normalizer) -> str:
    """Describe the rank-1 accuracy of tracklet features, aerial to ground and back, by the projected class token."""
    clips = crowd.frames.flatten(0, 2)  # (people * views * tracklets, T, C, H, W)
    features = [
        encoder.project(encoder.encode_frames(transform(part).flatten(0, 1))[:, 0]).unflatten(0, part.shape[:2])
        for part in clips.split(VALIDATION_BATCH)
    ]
    features = F.normalize(torch.cat(features).mean(dim=1), dim=1).unflatten(0, crowd.frames.shape[:3])
    ground, aerial = (features[:, view].flatten(0, 1) for view in (0, 1))
    people = np.arange(len(crowd.captions)).repeat(TRACKLETS_PER_VIEW)
    distmat = squared_distances(aerial, ground).matrix()
    cameras = np.zeros_like(people)
    directions = {"aerial to ground": distmat, "ground to aerial": distmat.T}
    return ", ".join(
        f"{name} {100 * evaluate_ranking(d, people, people, cameras, cameras + 1).cmc[0]:.1f} %"
        for name, d in directions.items()
    )


def save_timm(encoder: ClipVideoEncoder, path: Path, metadata: dict[str, str]) -> None:
    """Write the image tower as a timm state dict in half precision, a file that MODEL.PRETRAIN_PATH reads."""
    names = invert(TIMM_RENAMES)
    state = {rename(name, names): value.half() for name, value in encoder.state_dict().items()}
    state["head.weight"] = state["head.weight"].T.contiguous()  # timm stores the projection transposed
    write_whole(lambda file: file.write(save(state, metadata)), path)
