"""Texts to vectors, from an encoder folder."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trimseek.encoders.card import EncoderCard
from trimseek.encoders.folder import GRAPH, QUERY_TOWER, TEXT_TOWER, TOKENIZER, open_encoder
from trimseek.encoders.recommender.items import KnownItems
from trimseek.encoders.runtime import Runtime, open_runtime
from trimseek.encoders.tokens import TextTokenizer
from trimseek.encoders.transforms import unit
from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError, EncoderError
from trimseek.settings import load_settings

# Texts tokenized at a time, which bounds the memory for any number of texts.
WINDOW = 4096


class Encoded(NamedTuple):
    """``vectors (n, dim) float32`` in the order of the texts, and counts of tokens.

    ``tokens``: how many were encoded, special tokens included. ``truncated``: how many texts
    were longer than max_tokens and lost their end.
    """

    vectors: FloatArray
    tokens: int
    truncated: int


class EncodedEach(NamedTuple):
    """``vectors (n, dim) float32``; of each text, its count of tokens and whether it was cut."""

    vectors: FloatArray
    tokens: list[int]
    truncated: list[bool]


class Encoder:
    """Vectors of texts; safe to call from several threads at once.

    Of an encoder of two towers, the one for ``role``. ``by_text``: of a recommender that has one,
    the encoder for texts, of items that it does not know and of queries.

    Vectors have unit length unless the card says ``normalize: false``. ``role`` picks the
    prompt of the card, in whose place ``prompt`` comes. ``threads`` defaults to TRIMSEEK_THREADS.
    ``shared``: set when several encoders run at once; onnxruntime then gets one thread.
    EncoderError if the folder is damaged, ConfigError if the prompt leaves no room for a text.
    """

    role = ""

    def __init__(
        self,
        folder: Path,
        threads: int | None = None,
        *,
        shared: bool = False,
        prompt: str | None = None,
    ) -> None:
        self.card: EncoderCard = open_encoder(folder)
        self.by_text: Encoder | None = None
        if self.card.text_tower:
            self.by_text = type(self)(folder / TEXT_TOWER, threads, shared=shared)
        if self.card.query_tower and self.role == "query":
            folder = folder / QUERY_TOWER
            self.card = open_encoder(folder)
        self.folder = folder
        self.prompt = self.card.prompts.get(self.role, "") if prompt is None else prompt
        self.tokenizer = TextTokenizer.from_file(
            folder / TOKENIZER,
            self.card.max_tokens,
            self.prompt,
            self.card.left_out,
            histories=self.card.histories,
        )
        check_room(self.tokenizer)
        threads = threads or load_settings().threads
        graph = folder / GRAPH
        self.runtime: Runtime = open_runtime(graph, self.card, threads, shared=shared)

    @cached_property
    def items(self) -> KnownItems:
        """Of a recommender: the items that it knows."""
        return KnownItems(self.folder / TOKENIZER)

    @property
    def dim(self) -> int:
        """Size of a vector."""
        return self.card.vector_dim

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode any number of texts, in windows that bound the memory."""
        vectors, tokens, truncated = self.encode_each(texts)
        return Encoded(vectors, sum(tokens), sum(truncated))

    def encode_each(self, texts: Sequence[str]) -> EncodedEach:
        """As ``encode``, with the counts of each text.

        What a recommender does not know as an item is a text, if it has an encoder for these.
        """
        if self.by_text is not None and not self.card.histories:
            return self._encode_items(texts, self.by_text)
        return self._encode_each(texts)

    def _encode_items(self, texts: Sequence[str], by_text: "Encoder") -> EncodedEach:
        """Rows of the table, and vectors of texts."""
        known = np.array([text in self.items for text in texts], bool)
        vectors = np.empty((len(texts), self.dim), np.float32)
        tokens, truncated = [1] * len(texts), [False] * len(texts)
        vectors[known] = self._encode_each(
            [texts[i] for i in np.flatnonzero(known).tolist()]
        ).vectors
        others = np.flatnonzero(~known).tolist()
        encoded = by_text.encode_each([texts[i] for i in others])
        vectors[others] = encoded.vectors
        for place, count, cut in zip(others, encoded.tokens, encoded.truncated, strict=True):
            tokens[place], truncated[place] = count, cut
        return EncodedEach(vectors, tokens, truncated)

    def _encode_each(self, texts: Sequence[str]) -> EncodedEach:
        """As ``encode_each``, all alike."""
        vectors = np.empty((len(texts), self.dim), np.float32)
        tokens: list[int] = []
        truncated: list[bool] = []
        for start in range(0, len(texts), WINDOW):
            window = self.tokenizer.encode(texts[start : start + WINDOW])
            part = self.runtime.run(window)
            whole = self.card.projected_dim or self.card.dim
            if part.shape != (len(window), whole) or not np.isfinite(part).all():
                raise EncoderError(
                    f"{self.folder}: damaged: its vectors are not finite, or not of {self.dim} "
                    "dimensions; make or fetch the encoder anew"
                )
            if self.dim < whole:
                part = shortened(part, self.dim, normalize=self.card.normalize)
            vectors[start : start + len(window)] = part
            tokens += (len(text.ids) for text in window)
            truncated += (text.truncated for text in window)
        return EncodedEach(vectors, tokens, truncated)


def check_room(tokenizer: TextTokenizer) -> None:
    """ConfigError where a prompt leaves no room for a text."""
    if tokenizer.room < 1:
        raise ConfigError(
            f"the prompt {tokenizer.prompt!a:.60} leaves no room for a text in "
            f"{tokenizer.max_tokens} tokens; give a shorter one"
        )


def shortened(vectors: FloatArray, dim: int, *, normalize: bool) -> FloatArray:
    """The first dimensions of vectors, again of unit length if ``normalize``.

    For models that were trained for it (Matryoshka representations, Kusupati et al. 2022).
    """
    part = vectors[:, :dim]
    return unit(part) if normalize else np.ascontiguousarray(part)


class DocumentEncoder(Encoder):
    """Encodes the texts that are searched, with the prompt for documents."""

    role = "document"


class QueryEncoder(Encoder):
    """Encodes queries, with the prompt for queries."""

    role = "query"
