"""X-TFCLIP as the equations of docs/method.md read: the reference of the tests, and the peer of ``full_model``.

It computes from the parameters of our network, by their names, but shares no other code with it: one function an
equation, no fused kernel. tests/model/test_parity.py compares it with the published numbers, and our network with it.

Axes: B clips, T frames, C channels, H and W pixels, N tokens, D width, K identities, P projected width.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from model.memory_prompt import PromptLayer, SequenceSpecificPrompt
from model.xtfclip import XTFCLIP

PROMPT_HEAD_WIDTH = 64


class PlainModel:
    """The whole network, on the parameters of one of ours, with all extras of X-TFCLIP on."""

    def __init__(self, network: XTFCLIP) -> None:
        self.network, self.weights = network, dict(network.named_parameters())
        self.num_heads, self.stride = network.encoder.num_heads, network.encoder.stride

    def dropout(self, x: Tensor) -> Tensor:
        """Dropout as in our prompt, which knows whether it trains."""
        prompt = cast(SequenceSpecificPrompt, self.network.memory_prompt)
        return cast(PromptLayer, prompt.layers[0]).dropout(x)

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias"))

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def attend_to_itself(self, name: str, x: Tensor) -> Tensor:
        """Self-attention with one matrix for queries, keys and values."""
        query, key, value = self.linear(f"{name}.qkv", x).chunk(3, dim=-1)
        return self.linear(f"{name}.proj", attend(query, key, value, self.num_heads))

    def apply_block(self, name: str, x: Tensor) -> Tensor:
        """x + MHA(LN(x)), then x + MLP(LN(x))."""
        x = x + self.attend_to_itself(f"{name}.attn", self.norm(f"{name}.norm1", x))
        hidden = self.linear(f"{name}.mlp.fc1", self.norm(f"{name}.norm2", x))
        return x + self.linear(f"{name}.mlp.fc2", quick_gelu(hidden))

    def pool(self, name: str, x: Tensor) -> Tensor:
        """score = Linear -> tanh -> Linear, softmax over axis 1, weighted sum (section 2)."""
        score = self.linear(f"{name}.score.2", self.linear(f"{name}.score.0", x).tanh())
        return (score.softmax(dim=1) * x).sum(dim=1)

    def encode_frames(self, frames: Tensor, extra: Tensor) -> Tensor:
        """Frames (n, C, H, W) and what is added to their class tokens (n, D) -> tokens (n, N, D) (section 1)."""
        patches = F.conv2d(frames, self.weights["encoder.patch_embed.weight"], stride=self.stride)
        patches = patches.flatten(2).transpose(1, 2)
        class_token = self.weights["encoder.class_token"] + extra.unsqueeze(1)
        x = torch.cat([class_token, patches], dim=1) + self.weights["encoder.position_embedding"]
        x = self.norm("encoder.norm_pre", x)
        depth = sum(name.startswith("encoder.blocks.") and name.endswith(".norm1.weight") for name in self.weights)
        for number in range(depth):
            x = self.apply_block(f"encoder.blocks.{number}", x)
        return self.norm("encoder.norm", x)

    def diffuse(self, tokens: Tensor, num_frames: int) -> Tensor:
        """Temporal memory diffusion of (B*T, N, D): messages between frames, then a block in each (section 3)."""
        messages = self.linear("temporal_memory.message", tokens.mean(dim=1)).unflatten(0, (-1, num_frames))
        rows = self.norm("temporal_memory.message_norm", messages)
        messages = messages + self.attend_to_itself("temporal_memory.message_attention", rows)
        return self.apply_block("temporal_memory.block", torch.cat([tokens, messages.flatten(0, 1)[:, None]], dim=1))

    def encode(self, clips: Tensor, camids: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Clips (B, T, C, H, W) -> f_img (B, D), f_proj (B, P), frames (B*T, D), f_tmp (B, D), P (B, T, N, P)."""
        B, T = clips.shape[:2]
        extra = self.weights["encoder.camera_embedding"][camids].unsqueeze(1) + self.weights["encoder.frame_embedding"]
        tokens = self.encode_frames(clips.flatten(0, 1), extra.flatten(0, 1))
        projected = (tokens @ self.weights["encoder.projection"]).unflatten(0, (B, T))
        f_img = self.pool("pool_image", tokens[:, 0].unflatten(0, (B, T)))
        f_proj = self.pool("pool_projected", projected[:, :, 0])
        f_frames = self.pool("pool_tokens", self.diffuse(tokens.detach(), T))
        f_tmp = self.pool("pool_frames", f_frames.unflatten(0, (B, T)))
        return f_img, f_proj, f_frames, f_tmp, projected

    def attend_prompt(self, name: str, x: Tensor, context: Tensor) -> Tensor:
        """Attention of memory rows to a context, with dropout on its output."""
        query, key = self.linear(f"{name}.query", x), self.linear(f"{name}.key", context)
        value = self.linear(f"{name}.value", context)
        attended = attend(query, key, value, num_heads=x.shape[-1] // PROMPT_HEAD_WIDTH)
        return self.dropout(self.linear(f"{name}.out", attended))

    def refine(self, memory: Tensor, video: Tensor) -> Tensor:
        """Memory (K, P), weighted with its prompt by the video's tokens (B, N, P) -> (B, K, P) (section 5)."""
        text = self.norm("memory_prompt.text.0", memory.expand(len(video), -1, -1))
        text = self.linear("memory_prompt.text.1", text)
        visual = self.linear("memory_prompt.visual.1", self.norm("memory_prompt.visual.0", video))
        visual = self.norm("memory_prompt.visual.2", visual)
        for layer in ("memory_prompt.layers.0", "memory_prompt.layers.1"):
            rows = self.norm(f"{layer}.self_norm", text)
            text = text + self.attend_prompt(f"{layer}.self_attention", rows, rows)
            text = text + self.attend_prompt(f"{layer}.cross_attention", self.norm(f"{layer}.cross_norm", text), visual)
            hidden = quick_gelu(self.linear(f"{layer}.mlp.0", self.norm(f"{layer}.mlp_norm", text)))
            text = text + self.dropout(self.linear(f"{layer}.mlp.3", self.dropout(hidden)))
        prompt = self.linear("memory_prompt.out.1", self.norm("memory_prompt.out.0", text))
        weight = self.weights["memory_weight"].sigmoid()
        return weight * memory + (1 - weight) * prompt

    def describe(self, clips: Tensor, camids: Tensor) -> Tensor:
        """The test descriptor before the neck, (B, 2 D + P)."""
        f_img, f_proj, _, f_tmp, _ = self.encode(clips, camids)
        return torch.cat([f_img, f_proj, f_tmp], dim=1)

    def compute_loss(self, clips: Tensor, camids: Tensor, labels: Tensor, memory: Tensor) -> Tensor:
        """The total loss of the first epoch (section 6)."""
        f_img, f_proj, f_frames, f_tmp, projected = self.encode(clips, camids)
        refined = self.refine(memory, self.pool("pool_video", projected))
        memory_logits = (refined @ f_proj.unsqueeze(-1)).squeeze(-1)
        heads = {"classifier_image": f_img, "classifier_projected": f_proj, "classifier_temporal": f_tmp}
        identity = sum(smooth_cross_entropy(self.linear(name, standardize(x)), labels) for name, x in heads.items())
        triplet = sum(batch_hard_triplet(x, labels) for x in heads.values())
        frame_logits = self.linear("classifier_temporal", standardize(f_frames))
        T = clips.shape[1]
        frame = smooth_cross_entropy(frame_logits, labels.repeat_interleave(T))
        return 0.25 * identity + triplet + smooth_cross_entropy(memory_logits, labels) + frame / T


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


def attend(query: Tensor, key: Tensor, value: Tensor, num_heads: int) -> Tensor:
    """Multi-head attention of (B, rows, D) to (B, S, D): softmax(Q K^T / sqrt(d)) V."""
    query, key, value = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (query, key, value))
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    return (scores.softmax(dim=-1) @ value).transpose(1, 2).flatten(2)


def standardize(x: Tensor) -> Tensor:
    """IN-BNNeck (section 4): each sample over its own channels."""
    return (x - x.mean(dim=1, keepdim=True)) / (x.var(dim=1, unbiased=False, keepdim=True) + 1e-5).sqrt()


def smooth_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Half hard, half soft cross entropy; the soft labels of the first epoch are those of label smoothing 0.1."""
    K = logits.shape[1]
    soft = torch.full_like(logits, 0.1 / (K - 1)).scatter(1, labels.unsqueeze(1), 0.9)
    log_p = logits.log_softmax(dim=1)
    return 0.5 * F.nll_loss(log_p, labels) - 0.5 * (soft * log_p).sum(dim=1).mean()


def batch_hard_triplet(x: Tensor, labels: Tensor, margin: float = 0.3) -> Tensor:
    """Farthest positive against nearest negative, Euclidean."""
    distances = (x.unsqueeze(0) - x.unsqueeze(1)).square().sum(dim=-1).clamp_min(1e-12).sqrt()
    same = labels.unsqueeze(0) == labels.unsqueeze(1)
    positive = distances.masked_fill(~same, 0.0).amax(dim=1)
    negative = distances.masked_fill(same, torch.inf).amin(dim=1)
    return (positive - negative + margin).clamp_min(0).mean()
