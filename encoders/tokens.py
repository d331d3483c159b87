"""Texts to token ids, cut at a limit that is counted and never silent."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from encoders.checkpoint import load_tokenizer

# Text beyond max_tokens * this many characters is not even tokenized, so that an absurd query
# costs little. No text of words comes near: English has about 5 characters a token.
LONGEST_TOKEN = 128


class Tokens(NamedTuple):
    """Ids with the special tokens around them, and whether text was cut off."""

    ids: list[int]
    truncated: bool


class TextTokenizer:
    """Adds a prompt and the special tokens, and keeps at most ``max_tokens`` tokens."""

    def __init__(self, tokenizer: Tokenizer, max_tokens: int, prompt: str = "") -> None:
        probe = tokenizer.encode("a", add_special_tokens=True)
        word = probe.special_tokens_mask.index(0)
        end = len(probe.ids) - probe.special_tokens_mask[::-1].index(0)
        self._tokenizer = tokenizer
        self._before, self._after = probe.ids[:word], probe.ids[end:]
        self._prompt = prompt
        self._room = max_tokens - len(self._before) - len(self._after)
        self._longest_text = max_tokens * LONGEST_TOKEN
        self.max_tokens = max_tokens

    @classmethod
    def from_file(cls, path: Path, max_tokens: int, prompt: str = "") -> "TextTokenizer":
        return cls(load_tokenizer(path), max_tokens, prompt)

    @property
    def room(self) -> int:
        """How many tokens of text fit beside the special tokens and the prompt."""
        return self._room - self.count(self._prompt)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text."""
        shortened = [(self._prompt + text)[: self._longest_text] for text in texts]
        encoded = self._tokenizer.encode_batch_fast(shortened, add_special_tokens=False)
        return [
            Tokens(
                self._before + encoding.ids[: self._room] + self._after,
                len(encoding.ids) > self._room or len(self._prompt) + len(text) > len(short),
            )
            for encoding, text, short in zip(encoded, texts, shortened, strict=True)
        ]

    def count(self, text: str) -> int:
        """Tokens of a text alone."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each token of a text alone, in characters."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [(int(start), int(end)) for start, end in encoding.offsets]
