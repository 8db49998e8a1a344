"""CLIP ViT over the frames of a clip, with position, camera and frame embeddings (docs/method.md section 1).

The transformer itself is timm's. This module resizes the position embedding to the input's patch grid, lets patches
overlap, adds embeddings of the camera and the frame to the class token, and puts a vector of each frame before its
patches, whatever the family of the ViT (see FAMILIES).
"""

import math
import re
from collections.abc import Sequence
from typing import Any, cast

import timm
import torch
import torch.nn.functional as F
from timm.models.eva import Eva
from timm.models.vision_transformer import Attention, Block, VisionTransformer
from torch import Tensor, nn

from utils.commands import first_line
from utils.mistake import Mistake
from utils.roles import ParameterRole
from utils.unknown import UNKNOWN

from .layers import MeanPool, QuickGELUMlp, run_block, speed_up_mlp
from .view_prompts import ViewPrompts, extend_rotary

# OpenAI's names of its models, and timm's names of the same networks (with QuickGELU, as OpenAI trained them).
TIMM_NAMES = {
    "ViT-B-16": "vit_base_patch16_clip_quickgelu_224.openai",
    "ViT-B-32": "vit_base_patch32_clip_quickgelu_224.openai",
    "ViT-L-14": "vit_large_patch14_clip_quickgelu_224.openai",
}
# In timm's tags and in names of files: CLIPs that were trained with QuickGELU, by open_clip's table of weights.
QUICK_GELU_TAG = re.compile(r"quickgelu|openai|dfn[0-9]+b(?!_)|metaclip[_-](?!altogether)", re.IGNORECASE)
# The families of timm's ViTs that the encoder takes, by timm's names. What tells them apart is read off timm's modules:
#             prefix of the patches      positions            vector of a frame           projection
# CLIP        class token                learned              class token                 CLIP's
# EVA02-CLIP  class token                learned and rotary   class token                 CLIP's
# PE-core     class token (giant: none)  learned and rotary   attention pool over tokens  its own
# DINOv3      class token, 4 registers   rotary               class token                 none: starts as the identity
# SigLIP      none                       learned              attention pool (gap: mean)  none: starts as the identity
FAMILIES = re.compile(r"vit_\w+_clip_\w+|eva02_\w+_clip_\w+|vit_pe_core_\w+|vit_\w+_dinov3|vit_\w+_siglip_\w+")
EMBEDDING_STD = 0.02
# timm marks weights that were fine-tuned as ImageNet classifiers by this tag; they have no CLIP projection.
FINE_TUNED = "_ft_"
# Parameters of the encoder that do not come from CLIP, and those above its last block.
NEW_PARAMETERS = ("camera_embedding", "frame_embedding", "view_prompts.rows")
TOP_LAYER = ("norm.", "frame_pool.", "projection")
TUNED = "tuned_"  # in the names of what model.tuning adds to the blocks


def build_vit(name: str, from_hub: bool = False, proj_dim: int = 0, **dimensions: int) -> VisionTransformer | Eva:
    """Create a ViT of one of the FAMILIES with its projection (``head``, if it has one), at its own image size.

    The name is a key of TIMM_NAMES or timm's; without a tag it means OpenAI's weights, or else the first CLIP weights
    that timm lists for it. ``from_hub`` lets timm load them; an OSError says that they cannot be downloaded. The
    projected width P and ``dimensions`` (embed_dim, depth, num_heads, patch_size) replace the named model's, but for 0.
    """
    changed: dict[str, Any] = {key: value for key, value in dimensions.items() if value}
    changed |= {"num_classes": proj_dim} if proj_dim else {}
    timm_name = _resolve_name(name)
    # With a dynamic size, timm computes rotary positions for any grid.
    changed["dynamic_img_size"] = True
    vit = timm.create_model(_choose_architecture(timm_name), from_hub, timm.get_pretrained_cfg(timm_name), **changed)
    return cast(VisionTransformer | Eva, vit)


def _choose_architecture(timm_name: str) -> str:
    """Return timm's architecture with the activation of the named weights, which timm also has with another one."""
    architecture, _, tag = timm_name.partition(".")
    variant = architecture.replace("_clip_", "_clip_quickgelu_")
    is_quick = QUICK_GELU_TAG.search(tag) or f"{variant}.{tag}" in timm.list_pretrained(f"{variant}.*")
    return variant if is_quick and "quickgelu" not in architecture and timm.is_model(variant) else architecture


def _resolve_name(name: str) -> str:
    """Return timm's model name for ``name``, with a tag of CLIP weights (see ``build_vit``)."""
    timm_name = TIMM_NAMES.get(name, name)
    if timm.is_model(timm_name) and "." not in timm_name:
        tagged = timm.list_pretrained(f"{timm_name}.*")
        of_clip = [other for other in tagged if FINE_TUNED not in other]
        openai = [other for other in of_clip if other.endswith(".openai")]
        timm_name = (openai or of_clip or tagged or [timm_name])[0]
    is_known = timm.is_model(timm_name) and FAMILIES.fullmatch(timm_name.partition(".")[0])
    if not is_known or FINE_TUNED in timm_name:
        raise Mistake(
            f"MODEL.NAME must be one of {', '.join(TIMM_NAMES)} or timm's name of a CLIP, EVA02-CLIP, PE-core, DINOv3 "
            "or SigLIP ViT, not fine-tuned as a classifier, such as vit_large_patch14_clip_quickgelu_224.openai or "
            f"vit_base_patch16_siglip_256, got {name!r}."
        )
    try:
        timm.get_pretrained_cfg(timm_name)
    except RuntimeError as error:
        tagged = timm.list_pretrained(f"{timm_name.partition('.')[0]}.*")
        raise Mistake(f"MODEL.NAME {name!r}: {first_line(error)} timm has {', '.join(tagged)}.") from error
    return timm_name


def resize_position_embedding(embedding: Tensor, grid: tuple[int, int], mode: str, num_prefix: int = 1) -> Tensor:
    """Interpolate a position embedding, (1, prefix + n, D), to the rows and columns of another patch grid.

    If n is a square number, its patches form a square grid; otherwise n must be the number of patches in ``grid``, and
    nothing is interpolated. The mode is "bicubic" or "bilinear", without antialiasing, corners not aligned
    (docs/method.md section 1).
    """
    num_patches = embedding.shape[1] - num_prefix
    side = math.isqrt(num_patches)
    if side * side == num_patches:
        return _interpolate(embedding, (side, side), grid, mode, num_prefix)
    if num_patches != grid[0] * grid[1]:
        raise Mistake(
            f"A position embedding of {num_patches} patches fits neither a square grid nor the {grid[0]}x{grid[1]} "
            "patches of INPUT.SIZE_TRAIN; set INPUT.SIZE_TRAIN to the image size of these weights."
        )
    return embedding


def _interpolate(
    embedding: Tensor, source: tuple[int, int], target: tuple[int, int], mode: str, num_prefix: int
) -> Tensor:
    """Interpolate (1, prefix + rows * columns, D) from one grid to another, in float32; rows of the prefix stay."""
    if source == target:
        return embedding
    D = embedding.shape[-1]
    patches = embedding[:, num_prefix:].float().reshape(1, *source, D).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, size=target, mode=mode, align_corners=False)
    patches = patches.permute(0, 2, 3, 1).reshape(1, -1, D).to(embedding.dtype)
    return torch.cat([embedding[:, :num_prefix], patches], dim=1)


class ClipVideoEncoder(nn.Module):
    """Encode every frame of a clip into a vector of the frame and its patches.

    ``image_size`` is (H, W), pixels, multiples of the patch size; ``stride`` the vertical and horizontal step between
    patches, at most their size; ``num_cameras`` and ``num_frames`` (T) are rows of embeddings, and ``num_prompts``
    those of a view, 0 for none.

    Reference:
        Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021;
        He et al., "TransReID", ICCV 2021 (side information embedding, overlapping patches).
    """

    def __init__(
        self,
        vit: VisionTransformer | Eva,
        image_size: Sequence[int],
        stride: Sequence[int],
        num_cameras: int = 0,
        num_frames: int = 0,
        camera_coefficient: float = 1.0,
        position_mode: str = "bicubic",
        num_prompts: int = 0,
    ):
        super().__init__()
        self.patch_size: int = vit.patch_embed.patch_size[0]
        self.stride = tuple(stride)
        self.position_mode = position_mode
        self.camera_coefficient = camera_coefficient
        self.gradient_checkpointing = False
        if max(stride) > self.patch_size:
            raise Mistake(f"MODEL.STRIDE_SIZE must be at most the patch size {self.patch_size}, got {stride}.")
        self.grid = self.grid_for(*image_size)
        self.width: int = vit.embed_dim
        self.num_heads = cast(Attention, cast(Block, vit.blocks[0]).attn).num_heads
        self.patch_embed = vit.patch_embed.proj
        self.patch_embed.stride = self.stride
        self.class_token = vit.cls_token
        self.registers = vit.reg_token
        self.num_prefix: int = vit.num_prefix_tokens
        self.position_embedding: nn.Parameter | None = None
        if vit.pos_embed is not None:
            position = resize_position_embedding(vit.pos_embed.detach(), self.grid, position_mode, self.num_prefix)
            self.position_embedding = nn.Parameter(position.clone())
        self.norm_pre = vit.norm_pre
        self.rotary: Any = vit.rope if isinstance(vit, Eva) else None
        self.blocks = vit.blocks
        for block in self.blocks:
            speed_up_mlp(cast(Block, block))
        self.quick_gelu = isinstance(self.blocks[0].mlp, QuickGELUMlp)
        self.norm = vit.norm
        # None takes the class token.
        self.frame_pool: nn.Module | None = vit.attn_pool or (MeanPool() if vit.cls_token is None else None)
        # (D, P), as OpenAI's files hold it: gradient centralisation averages over P, as in the published training.
        is_projected = isinstance(vit.head, nn.Linear)
        projection = cast(nn.Linear, vit.head).weight.detach().T if is_projected else torch.eye(self.width)
        self.projection = nn.Parameter(projection.contiguous())
        self.projected_width = self.projection.shape[1]
        self.new_parameters = NEW_PARAMETERS if is_projected else (*NEW_PARAMETERS, "projection")
        self.camera_embedding = nn.Parameter(torch.empty(num_cameras, self.width)) if num_cameras else None
        self.frame_embedding = nn.Parameter(torch.zeros(num_frames, self.width)) if num_frames else None
        if self.camera_embedding is not None:
            nn.init.trunc_normal_(self.camera_embedding, std=EMBEDDING_STD)
        self.view_prompts = ViewPrompts(num_prompts, len(self.blocks), self.width) if num_prompts else None

    def parameter_roles(self) -> dict[str, ParameterRole]:
        """Return the role of every parameter.

        Each block is a layer; the last norm and the projection are the highest layer, all below the blocks the lowest.
        """
        depth = len(self.blocks)
        roles: dict[str, ParameterRole] = {}
        for name, _ in self.named_parameters():
            if name in self.new_parameters or TUNED in name:
                roles[name] = ParameterRole("new")
            elif name.startswith("blocks."):
                roles[name] = ParameterRole("encoder", depth - int(name.split(".")[1]))
            else:
                roles[name] = ParameterRole("encoder", 0 if name.startswith(TOP_LAYER) else depth + 1)
        return roles

    def freeze(self, num_blocks: int, embeddings: bool = False) -> None:
        """Freeze the first ``num_blocks`` blocks and, below them or if ``embeddings``, all of CLIP below the blocks.

        What ``model.tuning`` added to the blocks is frozen with them.
        """
        depth = len(self.blocks)
        if num_blocks > depth:
            raise Mistake(f"MODEL.FREEZE_BLOCKS must be at most the {depth} blocks of the encoder, got {num_blocks}.")
        blocks = tuple(f"blocks.{number}." for number in range(num_blocks))
        for name, role in self.parameter_roles().items():
            if name.startswith(blocks) or ((num_blocks or embeddings) and role.height > depth):
                self.get_parameter(name).requires_grad_(False)

    def grid_for(self, height: int, width: int) -> tuple[int, int]:
        """Return the rows and columns of patches in an image of this size, pixels, which must divide into patches."""
        if height % self.patch_size or width % self.patch_size:
            raise Mistake(
                f"INPUT.SIZE_TRAIN and INPUT.SIZE_TEST must be multiples of the patch size {self.patch_size}, "
                f"got {height}x{width}."
            )
        vertical, horizontal = self.stride
        return (height - self.patch_size) // vertical + 1, (width - self.patch_size) // horizontal + 1

    def forward(self, clips: Tensor, camids: Tensor | None = None) -> Tensor:
        """Encode clips, (B, T, C, H, W), normalised, with camera and frame embeddings.

        ``camids`` (B,) are indices of training cameras, -1 where unknown; None means that all are unknown. In (B, 4),
        the facts of ``ViewPrompts.forward`` follow each camera; else they are unknown. The tokens are those of
        ``encode_frames``, (B*T, N, D).
        """
        B, T = clips.shape[:2]
        if camids is None:
            camids = clips.new_full((B,), UNKNOWN, dtype=torch.int64)
        if camids.dim() == 1:
            camids = F.pad(camids.unsqueeze(1), (0, 3), value=UNKNOWN)
        cameras, facts = camids[:, :1], camids[:, 1:]
        extra = clips.new_zeros(B, T, self.width)
        if self.camera_embedding is not None:
            rows = self.camera_embedding[cameras.clamp(min=0)] * (cameras >= 0).unsqueeze(2)  # (B, 1, D)
            extra = extra + self.camera_coefficient * rows
        if self.frame_embedding is not None:
            if len(self.frame_embedding) != T:
                raise Mistake(
                    f"Clips must have INPUT.SEQ_LEN = {len(self.frame_embedding)} frames (the rows of the frame "
                    f"embedding), got {T}."
                )
            extra = extra + self.frame_embedding
        prompts = () if self.view_prompts is None else self.view_prompts(facts, T)
        return self.encode_frames(clips.flatten(0, 1), extra.flatten(0, 1).unsqueeze(1), prompts)

    def encode_frames(self, frames: Tensor, extra: Tensor | float = 0.0, prompts: Sequence[Tensor] = ()) -> Tensor:
        """Encode frames, (n, C, H, W), normalised, each by itself, as tokens after the last norm, (n, N, D).

        The vector of the frame comes first, then its patches. ``extra``, (n, 1, D), is added to the class token or, as
        in TransReID, to every patch where the ViT has none. The lowest blocks see ``prompts``, (n, tokens, D) each,
        beside the frame's tokens.
        """
        grid = self.grid_for(*frames.shape[-2:])
        tokens = self.norm_pre(self.embed_frames(frames, extra, grid))
        N = tokens.shape[1]
        rotary = [] if self.rotary is None else [self.rotary.get_embed(list(grid))]
        for number, block in enumerate(self.blocks):
            inputs = [tokens, *rotary]
            if number < len(prompts):
                prompt = prompts[number]
                inputs = [torch.cat([tokens, prompt], dim=1), *(extend_rotary(r, prompt.shape[1]) for r in rotary)]
            tokens = run_block(block, *inputs, recompute=self.gradient_checkpointing)[:, :N]
        tokens = self.norm(tokens)
        if self.frame_pool is None and self.num_prefix == 1:
            return tokens
        vector = tokens[:, 0] if self.frame_pool is None else self.frame_pool(tokens)
        return torch.cat([vector.unsqueeze(1), tokens[:, self.num_prefix :]], dim=1)

    def embed_frames(self, frames: Tensor, extra: Tensor | float, grid: tuple[int, int]) -> Tensor:
        """Embed frames as tokens with learned positions, (n, prefix + patches, D), before the first norm."""
        tokens = self.embed_patches(frames)
        if self.class_token is None:
            tokens = tokens + extra
        else:
            prefix = [each for each in (self.class_token + extra, self.registers) if each is not None]
            tokens = torch.cat([*(each.expand(frames.shape[0], -1, -1) for each in prefix), tokens], dim=1)
        if self.position_embedding is None:
            return tokens
        # INPUT.SIZE_TEST may differ from INPUT.SIZE_TRAIN.
        return tokens + _interpolate(self.position_embedding, self.grid, grid, self.position_mode, self.num_prefix)

    def embed_patches(self, frames: Tensor) -> Tensor:
        """Project the patches of frames (n, C, H, W), row by row, to tokens (n, patches, D)."""
        patch = self.patch_size
        if self.stride != (patch, patch):
            return self.patch_embed(frames).flatten(2).transpose(1, 2)
        # Patches that do not overlap need no convolution, which takes a GPU longer than this product.
        patches = frames.unflatten(3, (-1, patch)).unflatten(2, (-1, patch))  # (n, C, rows, patch, columns, patch)
        patches = patches.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (n, patches, C * patch * patch)
        return F.linear(patches, self.patch_embed.weight.flatten(1), self.patch_embed.bias)

    def project(self, tokens: Tensor) -> Tensor:
        """Project tokens (..., D) into CLIP's joint space, (..., P)."""
        return tokens @ self.projection
