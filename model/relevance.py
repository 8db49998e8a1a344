"""Relevance of patches for a score of descriptors: which patches the encoder's last blocks draw it from.

Axes: B clips, T frames, N tokens (patches + 1), n frames of all clips (B*T).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from timm.models.vision_transformer import Attention, Block
from torch import Tensor, nn
from torch.func import functional_call

from .xtfclip import XTFCLIP


def trace_relevance(
    model: XTFCLIP, clips: Tensor, camids: Tensor | None, score: Callable[[Tensor], Tensor], num_layers: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute a score of descriptors, how much each patch contributed to it, and how much each frame weighs.

    In each of the last blocks, the attention A of every head is multiplied by the score's gradient with respect to it;
    what is positive is averaged over the heads. R, at first the identity, becomes R + A R from block to block. The
    class token's row of R is the map; where a pool over all tokens makes the vector of a frame, it is the mean of all
    rows of R without the identity. No gradient of a parameter is computed.

    The model is in evaluation mode, in float32; ``score`` makes a scalar of descriptors, (B, width); ``num_layers`` is
    the number of blocks to go back, from the last.

    Returns:
        The score; maps, (B, T, rows, columns), at least 0, comparable between the frames of all clips; and weights of
        frames, (B, T), summing to 1 in a clip: the mean over the pools of the descriptor's parts.
    Reference:
        Chefer et al., "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
        Transformers", ICCV 2021, Eqs. (5) and (6), for a score of descriptors instead of one of a class.
    """
    attentions = [cast(Attention, cast(Block, block).attn) for block in model.encoder.blocks][-num_layers:]
    pools = (model.pool_image, model.pool_projected, model.pool_frames)
    constants = {name: parameter.detach() for name, parameter in model.named_parameters()}
    with torch.enable_grad(), _watched(attentions, pools) as (kept, weights):
        value = score(functional_call(model, constants, (clips, camids)))
        gradients = torch.autograd.grad(value, kept)
    rows, columns = model.encoder.grid_for(*clips.shape[-2:])
    prefix = model.encoder.num_prefix
    N = prefix + rows * columns  # tokens of the image; prompts, behind them, show none of its patches
    of_image, of_gradients = ([each.detach()[..., :N, :N] for each in part] for part in (kept, gradients))
    relevance = accumulate_relevance(of_image, of_gradients)
    relevance.diagonal(dim1=1, dim2=2).sub_(1)
    readers = relevance[:, :1] if model.encoder.frame_pool is None else relevance
    maps = readers.mean(dim=1)[:, prefix:]  # (n, rows * columns)
    maps = maps.unflatten(1, (rows, columns)).unflatten(0, clips.shape[:2])
    return value.detach(), maps, torch.stack(weights).mean(dim=0).detach()


def accumulate_relevance(attentions: Sequence[Tensor], gradients: Sequence[Tensor]) -> Tensor:
    """Return the relevance of input tokens (columns) for output tokens (rows), (n, N, N).

    Both lists have a tensor (n, heads, N, N) for each block, the lowest first.
    """
    N = attentions[0].shape[-1]
    relevance = torch.eye(N, device=attentions[0].device, dtype=attentions[0].dtype)
    for attention, gradient in zip(attentions, gradients, strict=True):
        relevance = relevance + (attention * gradient).relu().mean(dim=1) @ relevance
    return relevance


@contextmanager
def _watched(
    attentions: Sequence[Attention], pools: Sequence[nn.Module]
) -> Iterator[tuple[list[Tensor], list[Tensor]]]:
    """List softmax attention, (n, heads, N, N), with gradients, and the weights, (B, T), of each pool that is called.

    Attention is computed explicitly meanwhile; the modules are restored afterwards.
    """
    kept: list[Tensor] = []
    weights: list[Tensor] = []

    def keep(module: nn.Module, inputs: Any, attention: Tensor) -> None:
        # The lowest one starts the graph; those above it are part of it.
        kept.append(attention if attention.requires_grad else attention.requires_grad_())

    def weigh(pool: Any, inputs: tuple[Tensor], pooled: Tensor) -> None:
        weights.append(pool.weigh(inputs[0]))

    was_fused = [attention.fused_attn for attention in attentions]
    hooks = [attention.attn_drop.register_forward_hook(keep) for attention in attentions]
    hooks += [pool.register_forward_hook(weigh) for pool in pools]
    for attention in attentions:
        attention.fused_attn = False  # type: ignore[misc]  # final for TorchScript only
    try:
        yield kept, weights
    finally:
        for hook in hooks:
            hook.remove()
        for attention, fused in zip(attentions, was_fused, strict=True):
            attention.fused_attn = fused  # type: ignore[misc]
