"""A whole CLIP, image and text tower, from the names and shapes of its weights; open_clip computes it."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.checkpoint import fitting
from utils.mistake import Mistake

logger = logging.getLogger(__name__)

HEAD_WIDTH = 64  # channels of an attention head
# open_clip's ViTs with other heads (H, g and bigG), by the width of their image tower.
OTHER_HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104}
OPENAI_ENTRIES = ("input_resolution", "context_length", "vocab_size")  # of OpenAI's archives, beside the weights
# Words in the names of files whose network has QuickGELU, for files without OPENAI_ENTRIES.
QUICK_GELU_NAMES = ("quickgelu", "openai")
# Tensors that the dimensions of a CLIP with a ViT are read from, with their number of dimensions.
MEASURED = {
    "visual.conv1.weight": 4,
    "visual.positional_embedding": 2,
    "visual.proj": 2,
    "visual.transformer.resblocks.0.mlp.c_fc.weight": 2,
    "token_embedding.weight": 2,
    "positional_embedding": 2,
    "text_projection": 2,
}
# A word of more characters has more tokens than a text may have; splitting it into tokens would take minutes.
LONGEST_WORD = 500


def is_clip(state: Mapping[str, Tensor]) -> bool:
    """Whether a state dict has the names of a CLIP with a ViT and a text tower, in OpenAI's and open_clip's form."""
    return all(name in state and state[name].dim() == dims for name, dims in MEASURED.items())


def build_clip(state: Mapping[str, Tensor], path: Path) -> Any:
    """Build open_clip's ``CLIP`` with some weights; the dimensions are read from their shapes.

    The shapes do not say which activation a network was trained with. QuickGELU is that of OpenAI's archives, and of
    files whose name holds one of QUICK_GELU_NAMES; others get GELU, open_clip's own.

    Args:
        state: Weights for which ``is_clip``, in any precision.
        path: Their file.
    """
    import open_clip  # imported here, because it takes seconds

    quick_gelu = all(name in state for name in OPENAI_ENTRIES) or any(
        word in path.name.lower() for word in QUICK_GELU_NAMES
    )
    state = {name: value for name, value in state.items() if name not in OPENAI_ENTRIES}
    width, _, patch, _ = state["visual.conv1.weight"].shape
    context, text_width = state["positional_embedding"].shape
    head_width = OTHER_HEAD_WIDTHS.get(width, HEAD_WIDTH)
    if width % head_width or text_width % HEAD_WIDTH:
        raise Mistake(
            f"{path} holds a CLIP of widths {width} and {text_width}, which are no multiples of an attention head's "
            f"{head_width} and {HEAD_WIDTH}."
        )
    side = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
    vision = open_clip.CLIPVisionCfg(
        layers=_count_layers(state, "visual.transformer.resblocks."),
        width=width,
        head_width=head_width,
        mlp_ratio=len(state["visual.transformer.resblocks.0.mlp.c_fc.weight"]) / width,
        patch_size=patch,
        image_size=side * patch,
    )
    texts = open_clip.CLIPTextCfg(
        context_length=context,
        vocab_size=len(state["token_embedding.weight"]),
        width=text_width,
        heads=text_width // HEAD_WIDTH,
        layers=_count_layers(state, "transformer.resblocks."),
    )
    with torch.random.fork_rng(devices=[]):  # its initial values, which are replaced, use no random numbers of a run
        clip = open_clip.CLIP(state["text_projection"].shape[1], vision, texts, quick_gelu)
    with fitting(path):
        clip.load_state_dict({name: value.float() for name, value in state.items()})
    images = f"ViT of width {width}, {vision.layers} layers, patch {patch}, {side * patch} pixels"
    activation = "QuickGELU" if quick_gelu else "GELU"
    logger.info(
        "CLIP from %s: %s; text tower of width %d, %d layers; %s", path, images, text_width, texts.layers, activation
    )
    return clip


def _count_layers(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({name.removeprefix(prefix).split(".")[0] for name in state if name.startswith(prefix)})


class ClipTexts(nn.Module):
    """The text tower of open_clip's ``CLIP``, with CLIP's tokenizer."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        from open_clip import SimpleTokenizer  # imported here, because it takes seconds

        self.clip: Any = clip  # open_clip's types are not followed
        self.tokenizer = SimpleTokenizer(context_length=clip.context_length)
        self.width: int = clip.text_projection.shape[1]

    def unknown_words(self, text: str) -> list[str]:
        """Return no word: CLIP spells out what it does not know."""
        return []

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Turn texts into tokens, (n, context length). ValueError: if a text is empty or too long."""
        for each in texts:
            words = each.split()
            if not words:
                raise Mistake(f"A text must hold at least one word, got {each!r:.50}.")
            if (num_fitting := self._count_fitting(words)) < len(words):
                raise Mistake(
                    f"The text {each!r:.60} ... is too long: {num_fitting} of its {len(words)} words fit in the "
                    f"{self.tokenizer.context_length} tokens of this text tower. Leave the others out."
                )
        return self.tokenizer(list(texts))

    def _count_fitting(self, words: Sequence[str]) -> int:
        """Count the first words that fit between the tokens of start and end."""
        left = self.tokenizer.context_length - 2
        for number_before, word in enumerate(words):
            left -= len(word) if len(word) > LONGEST_WORD else len(self.tokenizer.encode(word))
            if left < 0:
                return number_before
        return len(words)

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode tokens, (n, L), as (n, P)."""
        return self.clip.encode_text(tokens)
