"""Pre-train the demo's small encoder on synthetic people, as CLIP was pre-trained: image against caption.

Renders people that no demo data set contains (their seeds are keyed apart), through cameras with other colours and
places, and trains the ViT of a configuration contrastively:

- every frame against the captions of all people in the batch, and every caption against all frames (CLIP's loss, with
  the several frames of a person all counted as positives);
- every ground frame against all aerial frames, and the reverse, frames of the same person being positives.

Only the image tower is kept, in timm's names and half precision, so that MODEL.PRETRAIN_PATH reads it like any other
CLIP file. On two CPU cores the defaults take about three quarters of an hour.

Reference: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021; Khosla et
al., "Supervised Contrastive Learning", NeurIPS 2020, Eq. (2).
"""

import argparse
import logging
import math
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn
from torchvision.transforms.v2.functional import normalize
from tqdm import tqdm

from configs import get_cfg
from datasets.clips.transforms import Normalizer
from datasets.synthetic.cameras import make_cameras
from datasets.synthetic.dataset import render_tracklet
from datasets.synthetic.people import Person
from model.encoder import ClipVideoEncoder, build_vit
from model.weights import TIMM_RENAMES
from utils.distances import pairwise_distance
from utils.metrics import evaluate_ranking
from utils.runtime import run_command

logger = logging.getLogger(__name__)

# Keys every seed of this tool, so that its people are not those of any data set that tools/render_synthetic.py renders.
SEED_KEY = 20_211_103
TRACKLETS_PER_VIEW = 3
FRAMES_PER_TRACKLET = 2
PEOPLE_PER_CAMERA_SET = 100
VALIDATION_PEOPLE = 100
FRAMES_PER_VIEW_AND_STEP = 2
INITIAL_LOGIT_SCALE = math.log(1 / 0.07)  # CLIP's temperature, and the limit that it clips at
MAX_LOGIT_SCALE = math.log(100)


@dataclass(frozen=True)
class Crowd:
    """Rendered people.

    Attributes:
        frames: (people, views, tracklets, frames, C, H, W), uint8; views are ground and aerial.
        captions: One sentence a person.
    """

    frames: Tensor
    captions: list[str]


class CaptionEncoder(nn.Module):
    """A small transformer over the words of a caption; the vocabulary is closed.

    Args:
        captions: All captions; their words are the vocabulary.
        width: Width of words and output.
    """

    def __init__(self, captions: list[str], width: int):
        super().__init__()
        words = sorted({word for caption in captions for word in _split(caption)})
        self.vocabulary = {word: index for index, word in enumerate(words, start=1)}  # 0 is padding
        self.length = max(len(_split(caption)) for caption in captions)
        self.words = nn.Embedding(len(words) + 1, width, padding_idx=0)
        self.positions = nn.Parameter(0.02 * torch.randn(self.length, width))
        layer = nn.TransformerEncoderLayer(
            width, nhead=max(width // 64, 1), dim_feedforward=4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, num_layers=2, enable_nested_tensor=False)
        self.projection = nn.Linear(width, width, bias=False)

    def tokenize(self, captions: list[str]) -> Tensor:
        """Captions to (n, length) word numbers, padded with 0."""
        rows = [[self.vocabulary[word] for word in _split(caption)] for caption in captions]
        return torch.tensor([row + [0] * (self.length - len(row)) for row in rows])

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, length) -> (n, width), the mean over the words."""
        padding = tokens == 0
        encoded = self.layers(self.words(tokens) + self.positions, src_key_padding_mask=padding)
        encoded = encoded.masked_fill(padding.unsqueeze(-1), 0.0).sum(dim=1) / (~padding).sum(dim=1, keepdim=True)
        return self.projection(encoded)


def _split(caption: str) -> list[str]:
    return caption.replace(",", "").split()


def render_person(index: int, seed: int, size: tuple[int, int]) -> tuple[np.ndarray, str]:
    """Frames (views, tracklets, frames, H, W, 3), uint8, and caption of one person."""
    rng = np.random.default_rng([SEED_KEY, seed, index])
    cameras = make_cameras(np.random.default_rng([SEED_KEY, seed, index // PEOPLE_PER_CAMERA_SET, 1]))
    person = Person.sample(rng)
    H, W = size
    frames = np.empty((2, TRACKLETS_PER_VIEW, FRAMES_PER_TRACKLET, H, W, 3), dtype=np.uint8)
    for view, name in enumerate(("ground", "aerial")):
        of_view = [camera for camera in cameras if camera.view == name]
        for tracklet in range(TRACKLETS_PER_VIEW):
            camera = of_view[rng.integers(len(of_view))]
            for number, crop in enumerate(render_tracklet(person, camera, FRAMES_PER_TRACKLET, rng)):
                frames[view, tracklet, number] = Image.fromarray(crop).resize((W, H), Image.Resampling.BILINEAR)
    return frames, person.caption()


def render_crowd(num_people: int, seed: int, size: tuple[int, int], num_workers: int) -> Crowd:
    """Render many people in parallel; the result does not depend on ``num_workers``."""
    render = partial(render_person, seed=seed, size=size)
    with ProcessPoolExecutor(num_workers) as pool:
        people = list(tqdm(pool.map(render, range(num_people), chunksize=25), "rendering", num_people, disable=None))
    frames = torch.from_numpy(np.stack([frames for frames, _ in people])).permute(0, 1, 2, 3, 6, 4, 5)
    return Crowd(frames.contiguous(), [caption for _, caption in people])


def augment(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Flip, shift and scale boxes, and cast colours of (n, C, H, W) floats in 0..1."""
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
    """Cross entropy of picking, for each query (n, P), the keys (m, P) of the same person; several share the target."""
    log_probabilities = (scale * queries @ keys.T).log_softmax(dim=1)
    positive = (query_people.unsqueeze(1) == key_people.unsqueeze(0)).float()
    return -((log_probabilities * positive).sum(dim=1) / positive.sum(dim=1)).mean()


def compute_loss(images: Tensor, texts: Tensor, num_people: int, scale: Tensor) -> Tensor:
    """Sum of the four contrastive terms.

    Args:
        images: (2 * people * frames, P), unit length, all ground frames first.
        texts: (people, P), unit length.
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


def pretrain(
    encoder: ClipVideoEncoder,
    crowd: Crowd,
    validation: Crowd,
    normalization: tuple[Sequence[float], Sequence[float]],
    args: argparse.Namespace,
) -> None:
    """Train the encoder in place; ``normalization`` is the mean and the standard deviation of R, G and B."""
    captions = CaptionEncoder(crowd.captions, encoder.projected_width)
    tokens = captions.tokenize(crowd.captions)
    logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
    weights = [*encoder.parameters(), *captions.parameters()]
    groups = [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": 0.05},
        {"params": [*(weight for weight in weights if weight.dim() < 2), logit_scale], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=args.lr, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, args.lr, total_steps=args.steps, pct_start=0.05)
    generator = torch.Generator().manual_seed(args.seed)
    order = torch.empty(0, dtype=torch.int64)
    mean_loss, start = 0.0, time.perf_counter()
    for step in tqdm(range(1, args.steps + 1), "pre-training", disable=None):
        if len(order) < args.batch:
            order = torch.randperm(len(crowd.captions), generator=generator)
        people, order = order[: args.batch], order[args.batch :]
        frames = crowd.frames[people].flatten(2, 3)  # (people, views, tracklets * frames, C, H, W)
        choice = torch.rand(frames.shape[:3], generator=generator).argsort(dim=2)[..., :FRAMES_PER_VIEW_AND_STEP]
        frames = frames.gather(2, choice[..., None, None, None].expand(-1, -1, -1, *frames.shape[3:]))
        frames = augment(frames.transpose(0, 1).flatten(0, 2).float() / 255, generator)
        tokens_of_images = encoder.encode_frames(normalize(frames, *normalization))
        images = F.normalize(encoder.project(tokens_of_images[:, 0]), dim=1)
        texts = F.normalize(captions(tokens[people]), dim=1)
        loss = compute_loss(images, texts, len(people), logit_scale.clamp(max=MAX_LOGIT_SCALE).exp())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        schedule.step()
        mean_loss += (loss.item() - mean_loss) / min(step, 100)
        if step % args.log_period == 0 or step == args.steps:
            logger.info(
                "step %d/%d: loss %.3f, R1 on %d unseen people %s, %.0f s",
                step, args.steps, mean_loss, len(validation.captions),
                validate(encoder, validation, Normalizer(*normalization)), time.perf_counter() - start,
            )  # fmt: skip


@torch.inference_mode()
def validate(encoder: ClipVideoEncoder, crowd: Crowd, transform: Normalizer) -> str:
    """Rank-1 of tracklet features, aerial to ground and back, by the projected class token alone."""
    clips = crowd.frames.flatten(0, 2)  # (people * views * tracklets, T, C, H, W)
    features = [
        encoder.project(encoder.encode_frames(transform(part).flatten(0, 1))[:, 0]).unflatten(0, part.shape[:2])
        for part in clips.split(256)
    ]
    features = F.normalize(torch.cat(features).mean(dim=1), dim=1).unflatten(0, crowd.frames.shape[:3])
    ground, aerial = (features[:, view].flatten(0, 1) for view in (0, 1))
    people = np.arange(len(crowd.captions)).repeat(TRACKLETS_PER_VIEW)
    distmat = pairwise_distance(aerial, ground)
    cameras = np.zeros_like(people)
    directions = {"aerial to ground": distmat, "ground to aerial": distmat.T}
    return ", ".join(
        f"{name} {100 * evaluate_ranking(d, people, people, cameras, cameras + 1).cmc[0]:.1f} %"
        for name, d in directions.items()
    )


def save_timm(encoder: ClipVideoEncoder, path: Path, metadata: dict[str, str]) -> None:
    """Write the image tower as a timm state dict, half precision."""
    back = {"class_token": "cls_token", "position_embedding": "pos_embed", "projection": "head.weight"}
    back["patch_embed.weight"] = "patch_embed.proj.weight"
    assert len(back) == len(TIMM_RENAMES)
    state = {back.get(name, name): value.half() for name, value in encoder.state_dict().items()}
    state["head.weight"] = state["head.weight"].T  # timm stores the projection transposed
    state = {name: value.contiguous() for name, value in state.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, path, metadata=metadata)


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--config_file", default="configs/demo.yml", help="names the ViT, the input size, normalisation"
    )
    parser.add_argument("--output", type=Path, default=Path("configs/demo_encoder.safetensors"))
    parser.add_argument("--people", type=int, default=3000, help="people to train on")
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--batch", type=int, default=64, help="people in a step, four frames of each")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="rendering processes")
    parser.add_argument("--log_period", type=int, default=250, help="steps between two log lines with validation")
    return parser.parse_args()


def main() -> None:
    """Render, train, save."""
    args = parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    cfg = get_cfg(args.config_file)
    torch.manual_seed(args.seed)
    size = cfg.INPUT.SIZE_TRAIN
    crowd = render_crowd(args.people, args.seed, size, args.workers)
    validation = render_crowd(VALIDATION_PEOPLE, args.seed + 1, size, args.workers)
    vit = build_vit(cfg.MODEL.NAME, **{name.lower(): value for name, value in cfg.MODEL.VIT.items()})
    encoder = ClipVideoEncoder(vit, size, cfg.MODEL.STRIDE_SIZE, position_mode=cfg.MODEL.POSITION_RESIZE)
    pretrain(encoder, crowd, validation, (cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD), args)
    options = {name: str(value) for name, value in vars(args).items() if name != "workers"}
    save_timm(encoder, args.output, {"license": "MIT", "made_by": "tools/pretrain_encoder.py", **options})
    logger.info("Wrote %s (%.1f MB)", args.output, args.output.stat().st_size / 1e6)


if __name__ == "__main__":
    sys.exit(run_command(main))
