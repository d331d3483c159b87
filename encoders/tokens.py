"""Texts to token ids. Texts over the limit are cut, and marked as truncated."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple
from weakref import WeakValueDictionary

from tokenizers import Encoding, Tokenizer

from trimseek.encoders.checkpoint_files import load_tokenizer
from trimseek.errors import EncoderError

# Characters that are tokenized for each token that is kept. An absurdly long query then costs
# little; text made of words is never cut by this, since English has about 5 characters a token.
LONGEST_TOKEN = 128
MANY_CHARACTERS = 20_000  # about 2 ms of one thread's work
LEAST_ADDED = 2  # special tokens of a pair


class Tokens(NamedTuple):
    """Ids with the special tokens around them, and whether text was cut off."""

    ids: list[int]
    truncated: bool


_open: "WeakValueDictionary[tuple[object, ...], TextTokenizer]" = WeakValueDictionary()
_opening = Lock()


class TextTokenizer:
    """Adds a prompt and the special tokens, and keeps at most ``max_tokens`` tokens in all.

    ``left_out``: a token that counts as none. ``histories``: texts are histories, an item a line,
    of which the latest are kept.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        max_tokens: int,
        prompt: str = "",
        left_out: int | None = None,
        *,
        histories: bool = False,
    ) -> None:
        probe = tokenizer.encode("a", add_special_tokens=True)
        word = probe.special_tokens_mask.index(0)
        end = len(probe.ids) - probe.special_tokens_mask[::-1].index(0)
        self._tokenizer = tokenizer
        self._before, self._after = probe.ids[:word], probe.ids[end:]
        self.prompt = prompt
        self._room = max_tokens - len(self._before) - len(self._after)
        self._longest_text = max_tokens * LONGEST_TOKEN
        self.max_tokens, self._left_out = max_tokens, left_out
        self._histories = histories

    @classmethod
    def from_file(
        cls,
        path: Path,
        max_tokens: int,
        prompt: str = "",
        left_out: int | None = None,
        *,
        histories: bool = False,
    ) -> "TextTokenizer":
        """From a tokenizer.json; EncoderError if it is damaged or missing.

        While one of the same file and prompt is open, that one, which takes some MB.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise EncoderError(f"{path}: cannot be read: {error.strerror}") from error
        file = status.st_dev, status.st_ino, status.st_mtime_ns
        key = (*file, max_tokens, prompt, left_out, histories)
        with _opening:
            tokenizer = _open.get(key)
            if tokenizer is None:
                tokenizer = _open[key] = cls(
                    load_tokenizer(path), max_tokens, prompt, left_out, histories=histories
                )
        return tokenizer

    @property
    def room(self) -> int:
        """Tokens of a text that fit beside the special tokens and the prompt."""
        return self._room - self.count(self.prompt)

    def encode(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, with prompt and special tokens."""
        shortened = [self._shortened(self.prompt + text) for text in texts]
        encoded = [encoding.ids for encoding in self._encodings(shortened)]
        if self._left_out is not None:
            encoded = [[token for token in ids if token != self._left_out] for ids in encoded]
        return [
            Tokens(
                self._before + self._kept(ids) + self._after,
                len(ids) > self._room or len(self.prompt) + len(text) > len(short),
            )
            for ids, text, short in zip(encoded, texts, shortened, strict=True)
        ]

    def _shortened(self, text: str) -> str:
        """At most so many characters as could be kept."""
        if len(text) <= self._longest_text:
            return text
        if not self._histories:
            return text[: self._longest_text]
        return text[-self._longest_text :].partition("\n")[2]  # no half of an item

    def _kept(self, ids: list[int]) -> list[int]:
        """At most as many tokens as there is room for."""
        return ids[-self._room :] if self._histories else ids[: self._room]

    def _encodings(self, texts: Sequence[str]) -> Sequence[Encoding]:
        """What the tokenizer makes of texts.

        It gives the texts of a batch to several threads. A few queries take less time than one
        of them takes to wake up where all CPUs are busy.
        """
        if sum(map(len, texts)) >= MANY_CHARACTERS:
            return self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [
            self._tokenizer.encode_batch_fast([text], add_special_tokens=False)[0] for text in texts
        ]

    def count(self, text: str) -> int:
        """Tokens of a text without prompt and special tokens."""
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def offsets(self, text: str) -> list[tuple[int, int]]:
        """Start and end of each token in characters, without prompt and special tokens."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        return [(int(start), int(end)) for start, end in encoding.offsets]


class PairTokenizer:
    """A query and a text as one sequence of at most ``max_tokens``, cut as transformers does.

    Of the longer one first (``longest_first``). ``tokenizer`` is changed by it. EncoderError for a
    tokenizer that puts nothing between the two.
    """

    def __init__(self, tokenizer: Tokenizer, max_tokens: int) -> None:
        self.max_tokens = max_tokens
        self._longest_text = max_tokens * LONGEST_TOKEN
        self._tokenizer = tokenizer
        added = tokenizer.num_special_tokens_to_add(is_pair=True)
        if added < LEAST_ADDED:
            raise EncoderError("its tokenizer does not mark where a text of a pair ends")
        tokenizer.enable_truncation(max_tokens, strategy="longest_first")

    def encode(self, query: str, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of the query with each text; ``truncated`` also where the query was cut."""
        short = query[: self._longest_text]
        pairs = [(short, text[: self._longest_text]) for text in texts]
        encoded = self._tokenizer.encode_batch_fast(pairs)
        return [
            Tokens(
                encoding.ids,
                bool(encoding.overflowing) or max(len(query), len(text)) > self._longest_text,
            )
            for encoding, text in zip(encoded, texts, strict=True)
        ]
