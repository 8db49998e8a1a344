"""CLIP ViT over the frames of a clip, with position, camera and frame embeddings (METHOD section 1).

The transformer itself is timm's; this module adds what turns an image encoder into X-TFCLIP's: a position embedding
resized to the input's patch grid, overlapping patches, and embeddings of camera and frame on the class token.
"""

import math

import timm
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

# Published names of OpenAI's models, and where timm keeps the same networks (QuickGELU, as they were trained).
TIMM_NAMES = {
    "ViT-B-16": "vit_base_patch16_clip_quickgelu_224.openai",
    "ViT-B-32": "vit_base_patch32_clip_quickgelu_224.openai",
    "ViT-L-14": "vit_large_patch14_clip_quickgelu_224.openai",
}
OPENAI_FILES = {name: f"{name}.pt" for name in TIMM_NAMES}
EMBEDDING_STD = 0.02
# timm's tag of weights that were fine-tuned as ImageNet classifiers: they have lost CLIP's projection.
FINE_TUNED = "_ft_"


def build_vit(
    name: str,
    embed_dim: int = 0,
    depth: int = 0,
    num_heads: int = 0,
    patch_size: int = 0,
    proj_dim: int = 0,
    from_hub: bool = False,
) -> VisionTransformer:
    """Create a CLIP-style ViT with its projection (``head``), at its own image size.

    Args:
        name: A key of TIMM_NAMES or a timm model name; a timm name without a tag gets its default weights.
        embed_dim, depth, num_heads, patch_size, proj_dim: Replace the named model's dimensions; 0 keeps them.
        from_hub: Let timm fetch the weights.
    Raises:
        ValueError: If timm does not know ``name``, or the model is not a CLIP-style (pre-normed) ViT.
    """
    timm_name = _resolve_name(name)
    dimensions = {
        "embed_dim": embed_dim,
        "depth": depth,
        "num_heads": num_heads,
        "patch_size": patch_size,
        "num_classes": proj_dim,
    }
    dimensions = {key: value for key, value in dimensions.items() if value}
    vit = timm.create_model(timm_name, pretrained=from_hub, **dimensions)
    if not isinstance(vit, VisionTransformer) or isinstance(vit.norm_pre, nn.Identity):
        raise ValueError(f"MODEL.NAME must name a CLIP-style ViT with a norm before its blocks, got {name!r}.")
    return vit


def _resolve_name(name: str) -> str:
    """timm's name and tag of CLIP weights for ``name``; a tag that is left out is OpenAI's, or the first of CLIP's."""
    timm_name = TIMM_NAMES.get(name, name)
    if timm.is_model(timm_name) and "." not in timm_name:
        tagged = timm.list_pretrained(f"{timm_name}.*")
        of_clip = [other for other in tagged if FINE_TUNED not in other]
        openai = [other for other in of_clip if other.endswith(".openai")]
        timm_name = (openai or of_clip or tagged or [timm_name])[0]
    if not timm.is_model(timm_name) or FINE_TUNED in timm_name:
        raise ValueError(
            f"MODEL.NAME must be one of {', '.join(TIMM_NAMES)} or a timm ViT with 'clip' in its name and no "
            f"classifier fine-tuned on top (such as vit_large_patch14_clip_224.openai), got {name!r}."
        )
    return timm_name


def resize_position_embedding(embedding: Tensor, grid: tuple[int, int], mode: str) -> Tensor:
    """Interpolate a position embedding to another patch grid; the class token's row is kept.

    Args:
        embedding: (1, 1 + n, D). n a square number means a square grid; any other n must already be grid's size.
        grid: Rows and columns of patches wanted.
        mode: "bicubic" or "bilinear", without antialiasing, corners not aligned (METHOD section 1).
    Returns:
        (1, 1 + rows * columns, D), same dtype.
    Raises:
        ValueError: If n is neither a square number nor the size of ``grid``.
    """
    num_patches = embedding.shape[1] - 1
    side = math.isqrt(num_patches)
    if side * side != num_patches:
        if num_patches != grid[0] * grid[1]:
            raise ValueError(
                f"A position embedding of {num_patches} patches fits neither a square grid nor the {grid[0]}x{grid[1]} "
                "patches of INPUT.SIZE_TRAIN; set INPUT.SIZE_TRAIN to the size it was trained at."
            )
        return embedding
    return _interpolate(embedding, (side, side), grid, mode)


def _interpolate(embedding: Tensor, source: tuple[int, int], target: tuple[int, int], mode: str) -> Tensor:
    """Interpolate (1, 1 + rows * columns, D) from one grid to another, in float32."""
    if source == target:
        return embedding
    D = embedding.shape[-1]
    patches = embedding[:, 1:].float().reshape(1, *source, D).permute(0, 3, 1, 2)
    patches = F.interpolate(patches, size=target, mode=mode, align_corners=False)
    patches = patches.permute(0, 2, 3, 1).reshape(1, -1, D).to(embedding.dtype)
    return torch.cat([embedding[:, :1], patches], dim=1)


class ClipVideoEncoder(nn.Module):
    """Encode every frame of a clip into CLIP tokens.

    Args:
        vit: CLIP-style ViT of timm; its ``head`` becomes the bias-free projection to CLIP's joint space.
        image_size: (H, W) in pixels, multiples of the patch size.
        stride: Steps between patches (vertical, horizontal), pixels; at most the patch size.
        num_cameras: Rows of the camera embedding; 0 for none.
        num_frames: Rows of the frame embedding, T; 0 for none.
        camera_coefficient: Factor of the camera embedding.
        position_mode: Interpolation of the position embedding, "bicubic" or "bilinear".
    Raises:
        ValueError: If the image does not divide into patches, or the stride does not fit the patch.
    Reference:
        Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021;
        He et al., "TransReID", ICCV 2021 (side information embedding, overlapping patches).
    """

    def __init__(
        self,
        vit: VisionTransformer,
        image_size: tuple[int, int],
        stride: tuple[int, int],
        num_cameras: int = 0,
        num_frames: int = 0,
        camera_coefficient: float = 1.0,
        position_mode: str = "bicubic",
    ):
        super().__init__()
        self.patch_size = vit.patch_embed.patch_size[0]
        self.stride = tuple(stride)
        self.position_mode = position_mode
        self.camera_coefficient = camera_coefficient
        if max(stride) > self.patch_size:
            raise ValueError(f"MODEL.STRIDE_SIZE must be at most the patch size {self.patch_size}, got {stride}.")
        self.check_size(*image_size)
        self.grid = self.grid_for(*image_size)
        self.width = vit.embed_dim
        self.num_heads = vit.blocks[0].attn.num_heads
        self.patch_embed = vit.patch_embed.proj
        self.patch_embed.stride = self.stride
        self.class_token = vit.cls_token
        position = resize_position_embedding(vit.pos_embed.detach(), self.grid, position_mode)
        self.position_embedding = nn.Parameter(position.clone())
        self.norm_pre = vit.norm_pre
        self.blocks = vit.blocks
        self.norm = vit.norm
        self.projection = nn.Linear(self.width, vit.head.out_features, bias=False)
        self.projection.weight = vit.head.weight
        self.camera_embedding = nn.Parameter(torch.empty(num_cameras, self.width)) if num_cameras else None
        self.frame_embedding = nn.Parameter(torch.zeros(num_frames, self.width)) if num_frames else None
        if num_cameras:
            nn.init.trunc_normal_(self.camera_embedding, std=EMBEDDING_STD)

    @property
    def projected_width(self) -> int:
        return self.projection.out_features

    def check_size(self, height: int, width: int) -> None:
        """Raise ValueError unless an image of this size divides into patches."""
        if height % self.patch_size or width % self.patch_size:
            raise ValueError(
                f"INPUT.SIZE_TRAIN and INPUT.SIZE_TEST must be multiples of the patch size {self.patch_size}, "
                f"got {height}x{width}."
            )

    def grid_for(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches that an image of this size gives."""
        return (
            (height - self.patch_size) // self.stride[0] + 1,
            (width - self.patch_size) // self.stride[1] + 1,
        )

    def forward(self, clips: Tensor, camids: Tensor | None = None) -> Tensor:
        """Encode clips with camera and frame embeddings.

        Args:
            clips: (B, T, C, H, W), normalised.
            camids: (B,) indices of training cameras, -1 where unknown; None means all unknown.
        Returns:
            Tokens after the last norm, (B*T, N, D), the class token first.
        Raises:
            ValueError: If T differs from the rows of the frame embedding.
        """
        B, T = clips.shape[:2]
        extra = clips.new_zeros(B, T, self.width)
        if self.camera_embedding is not None and camids is not None:
            known = (camids >= 0).unsqueeze(1)
            rows = self.camera_embedding[camids.clamp(min=0)] * known  # (B, D)
            extra = extra + self.camera_coefficient * rows.unsqueeze(1)
        if self.frame_embedding is not None:
            if len(self.frame_embedding) != T:
                raise ValueError(
                    f"Clips must have INPUT.SEQ_LEN = {len(self.frame_embedding)} frames (the rows of the frame "
                    f"embedding), got {T}."
                )
            extra = extra + self.frame_embedding
        return self.encode_frames(clips.flatten(0, 1), extra.flatten(0, 1).unsqueeze(1))

    def encode_frames(self, frames: Tensor, class_token_extra: Tensor | None = None) -> Tensor:
        """Encode independent frames (n, C, H, W) to tokens (n, N, D); ``class_token_extra``: (n, 1, D) or None."""
        patches = self.patch_embed(frames).flatten(2).transpose(1, 2)  # (n, N - 1, D)
        class_token = self.class_token.expand(len(frames), -1, -1)
        if class_token_extra is not None:
            class_token = class_token + class_token_extra
        position = self.position_embedding
        grid = self.grid_for(*frames.shape[-2:])
        if grid != self.grid:  # INPUT.SIZE_TEST differs from INPUT.SIZE_TRAIN
            position = _interpolate(position, self.grid, grid, self.position_mode)
        tokens = torch.cat([class_token, patches], dim=1) + position  # (n, N, D)
        return self.norm(self.blocks(self.norm_pre(tokens)))

    def project(self, tokens: Tensor) -> Tensor:
        """Project tokens (..., D) into CLIP's joint space, (..., P)."""
        return self.projection(tokens)
