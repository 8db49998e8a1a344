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
from collections.abc import Callable, Mapping, Sequence
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
from model.encoder import ClipVideoEncoder, build_vit
from model.text_towers import CaptionEncoder
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
WEIGHT_DECAY = 0.05


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
    """Return the cross entropy of picking, for each query, the keys of its person, which share the target equally.

    Args:
        queries, keys: Features, (n, P) and (m, P), unit length.
        query_people, key_people: Their people, (n,) and (m,); each query has a key of its person.
        scale: Factor on the similarities, a scalar.
    """
    log_probabilities = (scale * queries @ keys.T).log_softmax(dim=1)
    positive = (query_people.unsqueeze(1) == key_people.unsqueeze(0)).float()
    return -((log_probabilities * positive).sum(dim=1) / positive.sum(dim=1)).mean()


def contrast_both(left: Tensor, right: Tensor, left_people: Tensor, right_people: Tensor, scale: Tensor) -> Tensor:
    """Return the sum of ``contrast`` from left to right and back."""
    return contrast(left, right, left_people, right_people, scale) + contrast(
        right, left, right_people, left_people, scale
    )


def read_scale(logit_scale: Tensor) -> Tensor:
    """Return the factor on similarities that a trained logarithm means."""
    return logit_scale.clamp(max=MAX_LOGIT_SCALE).exp()


def optimise(
    groups: Sequence[dict[str, Any]],
    clipped: Sequence[nn.Parameter],
    compute_loss: Callable[[], Tensor],
    steps: int,
    lr: float,
    log_period: int,
    describe: Callable[[], str],
) -> None:
    """Take AdamW's steps down a loss, and log its mean.

    Args:
        groups: Parameters and their weight decay.
        clipped: Those whose gradient is limited to length 1.
        compute_loss: Draws a batch.
        steps: Number of steps.
        lr: Peak learning rate of the one-cycle schedule.
        log_period: Steps between two log lines.
        describe: Returns the rest of a log line.
    """
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=steps, pct_start=0.05)
    mean_loss = 0.0
    for step in track(range(1, steps + 1), "training", "step"):
        loss = compute_loss()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(clipped, 1.0)
        optimizer.step()
        schedule.step()
        mean_loss += (loss.item() - mean_loss) / min(step, 100)
        if step % log_period == 0 or step == steps:
            logger.info("step %d/%d: loss %.3f, %s", step, steps, mean_loss, describe())


def pretrain(
    encoder: ClipVideoEncoder,
    tower: Mapping[str, Any],
    crowd: Crowd,
    validation: Crowd,
    steps: int,
    batch: int,
    lr: float,
    seed: int,
    log_period: int,
) -> None:
    """Train the encoder in place on ``crowd``, and log its rank-1 accuracy on ``validation``.

    Args:
        encoder, tower: As of ``make_image_tower``.
        crowd, validation: The people.
        steps, lr, log_period: As of ``optimise``.
        batch: People in a step, at least 2, with ``FRAMES_PER_VIEW_AND_STEP`` frames from either view.
        seed: Seed of the order of people, the choice of frames and their augmentation.
    """
    captions = CaptionEncoder.for_texts(crowd.captions, encoder.projected_width)
    tokens = captions.tokenize(crowd.captions)
    logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
    weights = [*encoder.parameters(), *captions.parameters()]
    groups = [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": WEIGHT_DECAY},
        {"params": [*(weight for weight in weights if weight.dim() < 2), logit_scale], "weight_decay": 0.0},
    ]
    generator = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    owners, texts_owners = torch.arange(batch).repeat_interleave(FRAMES_PER_VIEW_AND_STEP), torch.arange(batch)
    start = time.perf_counter()

    def compute_loss() -> Tensor:
        nonlocal order
        if len(order) < batch:
            order = torch.randperm(len(crowd.captions), generator=generator)
        people, order = order[:batch], order[batch:]
        frames = crowd.frames[people].flatten(2, 3)  # (people, views, tracklets * frames, C, H, W)
        choice = torch.rand(frames.shape[:3], generator=generator).argsort(dim=2)[..., :FRAMES_PER_VIEW_AND_STEP]
        frames = frames.gather(2, choice[..., None, None, None].expand(-1, -1, -1, *frames.shape[3:]))
        frames = augment(frames.transpose(0, 1).flatten(0, 2).float() / 255, generator)  # ground frames first
        class_tokens = encoder.encode_frames(normalize(frames, tower["mean"], tower["std"]))[:, 0]
        images = F.normalize(encoder.project(class_tokens), dim=1)
        texts = F.normalize(captions(tokens[people]), dim=1)
        scale = read_scale(logit_scale)
        ground, aerial = images.chunk(2)
        return contrast_both(images, texts, owners.repeat(2), texts_owners, scale) + contrast_both(
            ground, aerial, owners, owners, scale
        )

    def describe() -> str:
        rank1 = describe_rank1(encoder, validation, Normalizer(tower["mean"], tower["std"]))
        seconds = time.perf_counter() - start
        return f"R1 on {len(validation.captions)} unseen people {rank1}, {seconds:.0f} s"

    optimise(groups, weights, compute_loss, steps, lr, log_period, describe)


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
