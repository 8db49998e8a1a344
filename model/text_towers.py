"""The text towers: CLIP's, which open_clip computes, and the demo's small one over the words of its captions.

Each has ``width`` (P), ``tokenize(texts)``, which refuses texts that it cannot encode, ``unknown_words(text)``, and a
call that encodes tokens, (n, L), as (n, P).
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from utils.checkpoint import fitting
from utils.mistake import Mistake

from .weights import OPENAI_ENTRIES, has_quick_gelu

HEAD_WIDTH = 64  # channels of an attention head, as in CLIP
# open_clip's ViTs with other heads (H, g and bigG), by the width of their image tower.
OTHER_HEAD_WIDTHS = {1280: 80, 1408: 88, 1664: 104}
# Tensors of a whole CLIP with a ViT, in OpenAI's and open_clip's names.
CLIP_NAMES = ("visual.conv1.weight", "visual.proj", "token_embedding.weight", "positional_embedding", "text_projection")
NUM_LAYERS = 2  # of a caption encoder
WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")  # "T-shirt" is one word


def build_clip(state: Mapping[str, Tensor], path: Path) -> Any:
    """Build open_clip's ``CLIP``, image and text tower, with the weights of a file, in any precision.

    The dimensions are read from the shapes, which do not say the activation that a network was trained with:
    ``has_quick_gelu`` does; where it does not know, it is GELU, open_clip's own.
    """
    import open_clip  # imported here, because it takes seconds

    quick_gelu = bool(has_quick_gelu(state, path))
    state = {name: value for name, value in state.items() if name not in OPENAI_ENTRIES}
    with fitting(path), torch.random.fork_rng(devices=[]):  # initial values, to be replaced, use no number of a run
        width, _, patch, _ = state["visual.conv1.weight"].shape
        context, text_width = state["positional_embedding"].shape
        side = round((len(state["visual.positional_embedding"]) - 1) ** 0.5)
        vision = open_clip.CLIPVisionCfg(
            layers=_count_layers(state, "visual.transformer.resblocks."),
            width=width,
            head_width=OTHER_HEAD_WIDTHS.get(width, HEAD_WIDTH),
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
        clip = open_clip.CLIP(state["text_projection"].shape[1], vision, texts, quick_gelu)
        clip.load_state_dict({name: value.float() for name, value in state.items()})
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
        """Turn texts into tokens, (n, context length)."""
        for text in texts:
            _require_words(text.split(), text)
            most = self.tokenizer.context_length - 2  # start and end are tokens, too
            if (count := len(self.tokenizer.encode(text))) > most:
                raise Mistake(f"The text {text!r:.60} ... has {count} tokens; this text tower reads at most {most}.")
        return self.tokenizer(list(texts))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.clip.encode_text(tokens)


class CaptionEncoder(nn.Module):
    """Encode texts, of at most ``length`` words of the vocabulary, lower case, by a transformer and a projection."""

    def __init__(self, vocabulary: Sequence[str], length: int, width: int) -> None:
        super().__init__()
        self.vocabulary = {word: index for index, word in enumerate(vocabulary, start=1)}  # 0 is padding
        self.length, self.width = length, width
        self.words = nn.Embedding(len(vocabulary) + 1, width, padding_idx=0)
        self.positions = nn.Parameter(0.02 * torch.randn(length, width))
        num_heads = max(width // HEAD_WIDTH, 1)
        layer = nn.TransformerEncoderLayer(
            width, num_heads, dim_feedforward=4 * width, dropout=0.0, batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, NUM_LAYERS, enable_nested_tensor=False)
        self.projection = nn.Linear(width, width, bias=False)

    def unknown_words(self, text: str) -> list[str]:
        """Return the words of a text that are not in the vocabulary, in order."""
        return [word for word in dict.fromkeys(split_words(text)) if word not in self.vocabulary]

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Turn texts into word numbers, (n, words of the longest), padded with 0; case and punctuation do not count."""
        rows = []
        for text in texts:
            words = split_words(text)
            _require_words(words, text)
            if len(words) > self.length:
                raise Mistake(
                    f"A text may have at most {self.length} words for this text tower, got {len(words)}: "
                    f"{' '.join(words[:5])!r:.100} ..."
                )
            if unknown := self.unknown_words(text):
                known = sorted(self.vocabulary)
                raise Mistake(
                    f"This text tower does not know {', '.join(map(repr, unknown))}. "
                    f"Say it with the {len(known)} words that it knows: {', '.join(known)}."
                )
            rows.append(torch.tensor([self.vocabulary[word] for word in words]))
        return nn.utils.rnn.pad_sequence(rows, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        padding = tokens == 0
        encoded = self.layers(self.words(tokens) + self.positions[: tokens.shape[1]], src_key_padding_mask=padding)
        encoded = encoded.masked_fill(padding.unsqueeze(-1), 0.0).sum(dim=1) / (~padding).sum(dim=1, keepdim=True)
        return self.projection(encoded)


def split_words(text: str) -> list[str]:
    """Split a text into its words, in lower case and without punctuation."""
    return WORD.findall(text.lower())


def _require_words(words: Sequence[str], text: str) -> None:
    if not words:
        raise Mistake(f"A text must hold at least one word, got {text!r:.50}.")
