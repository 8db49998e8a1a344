"""X-TFCLIP as the equations of docs/method.md read: the peer that ``benchmarks.full_model`` compares the library with.

One module an equation, float32, attention as two matrix products and a softmax, no fused kernel, nothing computed once
that the equations compute per clip. Parameters carry the published names, so that the parity fixtures load into it:
tests/benchmarks/test_plain_model.py shows that it computes the same numbers.

Axes: B clips, T frames, C channels, H and W pixels, N tokens, D width, K identities, P projected width.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PATCH = 16
MLP_RATIO = 4
PROMPT_HEAD_WIDTH = 64
PROMPT_LAYERS = 2


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x)."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


def attend(query: Tensor, key: Tensor, value: Tensor, num_heads: int) -> Tensor:
    """Multi-head attention of (B, rows, D) to (B, S, D): softmax(Q K^T / sqrt(d)) V."""
    query, key, value = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Self-attention with one matrix for queries, keys and values."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        return self.out_proj(attend(query, key, value, self.num_heads))


class Block(nn.Module):
    """x + MHA(LN(x)), then x + MLP(LN(x))."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = SelfAttention(width, num_heads)
        self.ln_2 = nn.LayerNorm(width)
        self.mlp = nn.ModuleDict(
            {
                "c_fc": nn.Linear(width, MLP_RATIO * width),
                "gelu": QuickGELU(),
                "c_proj": nn.Linear(MLP_RATIO * width, width),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp["c_proj"](self.mlp["gelu"](self.mlp["c_fc"](self.ln_2(x))))


class Encoder(nn.Module):
    """CLIP ViT (docs/method.md section 1); positions are those of the input's grid."""

    def __init__(self, width: int, depth: int, num_heads: int, projected: int, num_patches: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.randn(width) * 0.02)
        self.positional_embedding = nn.Parameter(torch.randn(1 + num_patches, width) * 0.02)
        self.proj = nn.Parameter(torch.randn(width, projected) / width**0.5)
        self.conv1 = nn.Conv2d(3, width, PATCH, stride=PATCH, bias=False)
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = nn.ModuleDict({"resblocks": nn.ModuleList(Block(width, num_heads) for _ in range(depth))})
        self.ln_post = nn.LayerNorm(width)

    def forward(self, frames: Tensor, extra: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """Frames (n, C, H, W) and what is added to their class tokens (n, D) -> F (n, N, D) and P (n, N, P)."""
        patches = self.conv1(frames).flatten(2).transpose(1, 2)
        class_token = (self.class_embedding + extra).expand(len(frames), -1).unsqueeze(1)
        x = self.ln_pre(torch.cat([class_token, patches], dim=1) + self.positional_embedding)
        for block in cast(nn.ModuleList, self.transformer["resblocks"]):
            x = block(x)
        x = self.ln_post(x)
        return x, x @ self.proj


class AttentionPool(nn.Module):
    """score = Linear -> tanh -> Linear, softmax over axis 1, weighted sum (docs/method.md section 2)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attn_mlp = nn.Sequential(nn.Linear(width, width // 2), nn.Tanh(), nn.Linear(width // 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        return (self.attn_mlp(x).softmax(dim=1) * x).sum(dim=1)


class TemporalBlock(Block):
    """Temporal memory diffusion (docs/method.md section 3): messages between frames, then a block inside each frame."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__(width, num_heads)
        self.message_fc = nn.Linear(width, width)
        self.message_ln = nn.LayerNorm(width)
        self.message_attn = SelfAttention(width, num_heads)

    def diffuse(self, tokens: Tensor, num_frames: int) -> Tensor:
        """Tokens (B*T, N, D) -> (B*T, N + 1, D)."""
        messages = self.message_fc(tokens.mean(dim=1)).unflatten(0, (-1, num_frames))
        messages = messages + self.message_attn(self.message_ln(messages))
        return self(torch.cat([tokens, messages.flatten(0, 1).unsqueeze(1)], dim=1))


class PromptAttention(nn.Module):
    """Attention of text rows to a context, without q/k/v bias, dropout on its output."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_heads = width // PROMPT_HEAD_WIDTH
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        attended = attend(self.q_proj(x), self.k_proj(context), self.v_proj(context), self.num_heads)
        return self.dropout(self.proj(attended))


class PromptLayer(nn.Module):
    """Self-attention among the K rows, cross-attention to the video, MLP (docs/method.md section 5)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.self_attn = PromptAttention(width)
        self.cross_attn = PromptAttention(width)
        hidden = MLP_RATIO * width
        self.mlp = nn.Sequential(nn.Linear(width, hidden), QuickGELU(), nn.Dropout(0.1), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(0.1)

    def forward(self, text: Tensor, visual: Tensor) -> Tensor:
        rows = self.norm1(text)
        text = text + self.self_attn(rows, rows)
        text = text + self.cross_attn(self.norm2(text), visual)
        return text + self.dropout(self.mlp(self.norm3(text)))


class Prompt(nn.Module):
    """Sequence-specific prompt: (K, P) memory and (B, N, P) video tokens -> (B, K, P)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.text_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))
        self.memory_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.LayerNorm(width))
        self.decoder = nn.ModuleList(PromptLayer(width) for _ in range(PROMPT_LAYERS))
        self.out_proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width))

    def forward(self, memory: Tensor, video: Tensor) -> Tensor:
        text = self.text_proj(memory.expand(len(video), -1, -1))
        visual = self.memory_proj(video)
        for layer in self.decoder:
            text = layer(text, visual)
        return self.out_proj(text)


class PlainModel(nn.Module):
    """The whole network at ViT-B/16's dimensions."""

    def __init__(
        self,
        num_classes: int,
        num_cameras: int,
        num_frames: int,
        image_size: tuple[int, int],
        width: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        projected: int = 512,
    ) -> None:
        super().__init__()
        D, P, K = width, projected, num_classes
        self.image_encoder = Encoder(D, depth, num_heads, P, (image_size[0] // PATCH) * (image_size[1] // PATCH))
        self.cv_embed = nn.Parameter(torch.randn(num_cameras, D) * 0.02)
        self.video_embed = nn.Parameter(torch.zeros(num_frames, D))
        self.memory_alpha = nn.Parameter(torch.tensor(0.5))
        self.classifier2 = nn.Linear(D, K, bias=False)
        self.classifier_proj = nn.Linear(P, K, bias=False)
        self.classifier_proj_temp = nn.Linear(D, K, bias=False)
        self.SSP = Prompt(P)
        self.TMD = nn.ModuleDict({"resblocks": nn.ModuleList([TemporalBlock(D, num_heads)])})
        self.tap_img_feature, self.tap_img_feature_proj = AttentionPool(D), AttentionPool(P)
        self.tap_cls_f_sp, self.tap_cls_f_tp, self.tap_video = AttentionPool(D), AttentionPool(D), AttentionPool(P)

    def encode(self, clips: Tensor, camids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Clips (B, T, C, H, W) -> f_img (B, D), f_proj (B, P), frames (B*T, D), f_tmp (B, D), P (B, T, N, P)."""
        B, T = clips.shape[:2]
        extra = (self.cv_embed[camids].unsqueeze(1) + self.video_embed).flatten(0, 1)  # (B*T, D)
        tokens, projected = self.image_encoder(clips.flatten(0, 1), extra)
        projected = projected.unflatten(0, (B, T))
        f_img = self.tap_img_feature(tokens[:, 0].unflatten(0, (B, T)))
        f_proj = self.tap_img_feature_proj(projected[:, :, 0])
        temporal = cast(TemporalBlock, cast(nn.ModuleList, self.TMD["resblocks"])[0])
        f_frames = self.tap_cls_f_sp(temporal.diffuse(tokens.detach(), T))
        f_tmp = self.tap_cls_f_tp(f_frames.unflatten(0, (B, T)))
        return f_img, f_proj, f_frames, f_tmp, projected

    def describe(self, clips: Tensor, camids: Tensor) -> Tensor:
        """The test descriptor before the neck, (B, 2 D + P)."""
        f_img, f_proj, _, f_tmp, _ = self.encode(clips, camids)
        return torch.cat([f_img, f_proj, f_tmp], dim=1)

    def compute_loss(self, clips: Tensor, camids: Tensor, labels: Tensor, memory: Tensor, soft: Tensor) -> Tensor:
        """The total loss (docs/method.md section 6); ``soft`` (K, K) are the soft labels of online label smoothing."""
        T = clips.shape[1]
        f_img, f_proj, f_frames, f_tmp, projected = self.encode(clips, camids)
        weight = self.memory_alpha.sigmoid()
        refined = weight * memory + (1 - weight) * self.SSP(memory, self.tap_video(projected))
        memory_logits = (refined @ f_proj.unsqueeze(-1)).squeeze(-1)
        heads = ((self.classifier2, f_img), (self.classifier_proj, f_proj), (self.classifier_proj_temp, f_tmp))
        identity = sum(smooth_cross_entropy(head(standardize(x)), labels, soft) for head, x in heads)
        triplet = sum(batch_hard_triplet(x, labels) for x in (f_img, f_proj, f_tmp))
        memory_term = smooth_cross_entropy(memory_logits, labels, soft)
        frame_logits = self.classifier_proj_temp(standardize(f_frames))
        frame = smooth_cross_entropy(frame_logits, labels.repeat_interleave(T), soft)
        return 0.25 * identity + triplet + memory_term + frame / T


def standardize(x: Tensor) -> Tensor:
    """IN-BNNeck (docs/method.md section 4): each sample over its own channels."""
    return (x - x.mean(dim=1, keepdim=True)) / (x.var(dim=1, unbiased=False, keepdim=True) + 1e-5).sqrt()


def smooth_cross_entropy(logits: Tensor, labels: Tensor, soft: Tensor) -> Tensor:
    """Half hard, half soft cross entropy."""
    log_p = logits.log_softmax(dim=1)
    return 0.5 * F.nll_loss(log_p, labels) - 0.5 * (soft[labels] * log_p).sum(dim=1).mean()


def batch_hard_triplet(x: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Farthest positive against nearest negative, Euclidean."""
    distances = (x.unsqueeze(0) - x.unsqueeze(1)).square().sum(dim=-1).clamp_min(1e-12).sqrt()
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    positive = distances.masked_fill(~same, 0.0).amax(dim=1)
    negative = distances.masked_fill(same, torch.inf).amin(dim=1)
    return (positive - negative + margin).clamp_min(0).mean()


def initial_soft_labels(num_classes: int) -> Tensor:
    """Label smoothing 0.1, (K, K): the soft labels of the first epoch."""
    soft = torch.full((num_classes, num_classes), 0.1 / (num_classes - 1))
    return soft.fill_diagonal_(0.9)
