"""Texts and tracklets in one space: a text tower beside the image tower that it was trained with.

Training moves the network's own encoder away from CLIP's space, so tracklets are compared with texts through CLIP's
untouched image tower. Two kinds of files are read: whole CLIPs in OpenAI's or open_clip's form, and the caption encoder
of the demo, which is beside the demo's image encoder.

Reference: Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from timm.data.constants import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from torch import Tensor, nn

from utils.checkpoint import fitting, hash_file, log_identity, read_checkpoint, write_weights
from utils.mistake import MissingFile, Mistake

from .encoder import ClipVideoEncoder, build_vit
from .text_towers import CLIP_NAMES, CaptionEncoder, ClipTexts, build_clip
from .weights import describe_names, load_clip_weights, unwrap

TOWER = "tower"  # entry of a caption file: its image tower


class TextSpace(nn.Module):
    """Compare texts with tracklets: the inner product of their vectors is their similarity.

    ``images`` turns normalised frames, (n, C, H, W), resized to ``image_size`` (H, W), into vectors, (n, P); ``texts``
    is a tower of ``text_towers``; ``scale`` makes similarities logits, as the towers were trained.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        images: nn.Module,
        texts: nn.Module,
        image_size: Sequence[int],
        mean: Sequence[float],
        std: Sequence[float],
        scale: float,
        name: str = "",
        sha256: str = "",
    ) -> None:
        super().__init__()
        self.images = images
        self.texts: Any = texts
        self.image_size = tuple(image_size)
        self.scale, self.name, self.sha256 = scale, name, sha256
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1))
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def encode_frames(self, frames: Tensor) -> Tensor:
        """Encode tracklets, (B, T, C, H, W), uint8, as the mean of their frames' vectors, (B, P), of unit length."""
        pixels = frames.flatten(0, 1).float()
        if pixels.shape[-2:] != self.image_size:
            pixels = F.interpolate(pixels, self.image_size, mode="bicubic", antialias=True).clamp(0, 255)
        vectors = F.normalize(self.images((pixels / 255 - self.mean) / self.std), dim=1)
        return F.normalize(vectors.unflatten(0, frames.shape[:2]).mean(dim=1), dim=1)

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str]) -> Tensor:
        """Encode texts, (n, P), float32, unit length."""
        return F.normalize(self.texts(self.texts.tokenize(texts).to(self.mean.device)), dim=1)


class ClassToken(nn.Module):
    """The projected class token, (n, P), of a ViT that encodes normalised frames, (n, C, H, W)."""

    def __init__(self, vit: ClipVideoEncoder) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, frames: Tensor) -> Tensor:
        return self.vit.project(self.vit.encode_frames(frames)[:, 0])


def open_text_space(path: str | Path) -> TextSpace:
    """Open a text tower and its image tower, on the CPU.

    The file is OpenAI's archive of a CLIP with a ViT, or open_clip's state dict of one; or captions of
    demo/pretrain.py, which name the file of their image tower beside them.
    """
    path = Path(path)
    content = read_checkpoint(path, allow_torchscript=True)
    sha256 = hash_file(path)
    log_identity(path, sha256)
    if TOWER in content:
        return _open_captions(content, path, sha256)
    state = unwrap(content)
    if not all(name in state for name in CLIP_NAMES):
        raise Mistake(
            f"{path} is no text tower: expected a whole CLIP with a ViT in OpenAI's or open_clip's form "
            "(visual.conv1.weight, ..., text_projection), or captions of demo/pretrain.py "
            f"(demo/demo_captions.safetensors), got {describe_names(state)}"
        )
    clip = build_clip(state, path)
    look = clip.visual.image_size, OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
    return TextSpace(clip.visual, ClipTexts(clip), *look, clip.logit_scale.exp().item(), path.name, sha256)


def write_captions(space: TextSpace, tower: Mapping[str, Any], values: Mapping[str, Any], path: Path) -> None:
    """Write the caption encoder of a space as .safetensors, in half precision, with ``values`` in the metadata.

    ``tower`` is its image tower: 'file', which is beside ``path``, and 'sha256' of that; 'vit', the arguments of
    ``build_vit``; 'stride', 'size', 'mean' and 'std', as in ``ClipVideoEncoder`` and ``TextSpace``.
    """
    captions: CaptionEncoder = space.texts
    weights = {name: value.half() for name, value in captions.state_dict().items()}
    words = list(captions.vocabulary)
    entries = {TOWER: dict(tower), "vocabulary": words, "length": captions.length, "scale": space.scale}
    write_weights(weights, {**values, **entries}, path)


def _open_captions(content: Mapping[str, Any], path: Path, sha256: str) -> TextSpace:
    """Open a file of ``write_captions``, whose hash is ``sha256``, and its image tower."""
    with fitting(path):
        tower = content[TOWER]
        image_file = path.with_name(tower["file"])
        if not image_file.is_file():
            raise MissingFile(f"{path} needs its image tower beside it: there is no {image_file}.")
        if hash_file(image_file) != tower["sha256"]:
            raise Mistake(
                f"{path} was trained beside another {image_file} than this one: run `python -m demo.pretrain "
                f"--text_only --output {path.parent}`."
            )
        vit = ClipVideoEncoder(build_vit(**tower["vit"]), tower["size"], tower["stride"])
        captions = CaptionEncoder(content["vocabulary"], content["length"], vit.projected_width)
        captions.load_state_dict({name: value.float() for name, value in content["model"].items()})
        look = tower["size"], tower["mean"], tower["std"]
        space = TextSpace(ClassToken(vit), captions, *look, content["scale"], path.name, sha256)
    load_clip_weights(vit, image_file)
    return space
