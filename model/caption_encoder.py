"""A small text tower over the words of the synthetic people's captions, for the demo's image encoder.

Its vocabulary is closed: a word that no caption holds is refused, and the known words are listed.
"""

import difflib
import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from utils.mistake import Mistake

HEAD_WIDTH = 64  # channels of an attention head, as in CLIP
NUM_LAYERS = 2
WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")  # "T-shirt" is one word


class CaptionEncoder(nn.Module):
    """Encode texts as the projected mean over the words that a transformer has seen together.

    Args:
        vocabulary: All words, in lower case.
        length: Most words of a text.
        width: Width of words and output, P.
    """

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
            if not words:
                raise Mistake(f"A text must hold at least one word, got {text!r:.50}.")
            if len(words) > self.length:
                raise Mistake(
                    f"A text may have at most {self.length} words for this text tower, got {len(words)}: "
                    f"{' '.join(words[:5])!r:.100} ..."
                )
            if unknown := self.unknown_words(text):
                raise Mistake(describe_unknown(unknown, self.vocabulary))
            rows.append([self.vocabulary[word] for word in words])
        longest = max(map(len, rows), default=0)
        return torch.tensor([row + [0] * (longest - len(row)) for row in rows])

    def forward(self, tokens: Tensor) -> Tensor:
        """Encode word numbers, (n, at most length), as the mean over the words, (n, P)."""
        padding = tokens == 0
        encoded = self.layers(self.words(tokens) + self.positions[: tokens.shape[1]], src_key_padding_mask=padding)
        encoded = encoded.masked_fill(padding.unsqueeze(-1), 0.0).sum(dim=1) / (~padding).sum(dim=1, keepdim=True)
        return self.projection(encoded)


def split_words(text: str) -> list[str]:
    """Split a text into its words, in lower case and without punctuation."""
    return WORD.findall(text.lower())


def describe_unknown(words: Sequence[str], vocabulary: Iterable[str]) -> str:
    """Say which words are unknown, each with the known one that is spelt alike, and which words there are."""
    known = sorted(vocabulary)
    # Only typing errors have neighbours by spelling: trousers are not spelt like pants, so all words are listed, too.
    near = {word: difflib.get_close_matches(word, known, n=1) for word in words}
    return (
        f"This text tower does not know {', '.join(f'{w!r} ({near[w][0]}?)' if near[w] else repr(w) for w in words)}. "
        f"Say it with the {len(known)} words that it knows: {', '.join(known)}."
    )
