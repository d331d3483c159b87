"""Texts to vectors, from an encoder folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from encoders.card import EncoderCard
from encoders.folder import GRAPH, TOKENIZER, open_encoder
from encoders.runtime import Runtime, open_runtime
from encoders.tokens import TextTokenizer
from encoders.weights import FloatArray
from trimseek.settings import load_settings

# Texts tokenized at a time: bounds memory however many texts are given.
WINDOW = 4096


class Encoded(NamedTuple):
    """``vectors (n, dim) float32`` in input order, and what it took.

    ``tokens``: how many were encoded, special tokens included. ``truncated``: how many texts
    were longer than max_tokens and lost their end.
    """

    vectors: FloatArray
    tokens: int
    truncated: int


class EncodedEach(NamedTuple):
    """``vectors (n, dim) float32``; of each text, how many tokens and whether it lost its end."""

    vectors: FloatArray
    tokens: list[int]
    truncated: list[bool]


class Encoder:
    """Vectors of texts; safe to call from several threads at once.

    Vectors have unit length unless the card says ``normalize: false``. ``role`` picks the
    prompt. ``threads`` defaults to TRIMSEEK_THREADS. ``shared``: other callers use the CPUs as
    well, so that no thread may spin. EncoderError if the folder is damaged.
    """

    role = ""

    def __init__(self, folder: Path, threads: int | None = None, *, shared: bool = False) -> None:
        self.folder = folder
        self.card: EncoderCard = open_encoder(folder)
        self.tokenizer = TextTokenizer.from_file(
            folder / TOKENIZER, self.card.max_tokens, self.card.prompts.get(self.role, "")
        )
        threads = threads or load_settings().threads
        graph = folder / GRAPH
        self.runtime: Runtime = open_runtime(graph, self.card, threads, shared=shared)

    @property
    def dim(self) -> int:
        return self.card.dim

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode any number of texts."""
        each = self.encode_each(texts)
        return Encoded(each.vectors, sum(each.tokens), sum(each.truncated))

    def encode_each(self, texts: Sequence[str]) -> EncodedEach:
        """As ``encode``, and what each text took."""
        vectors = np.empty((len(texts), self.dim), np.float32)
        tokens: list[int] = []
        truncated: list[bool] = []
        for start in range(0, len(texts), WINDOW):
            window = self.tokenizer.encode(texts[start : start + WINDOW])
            vectors[start : start + len(window)] = self.runtime.run(window)
            tokens += (len(text.ids) for text in window)
            truncated += (text.truncated for text in window)
        return EncodedEach(vectors, tokens, truncated)


class DocumentEncoder(Encoder):
    """Encodes what is searched."""

    role = "document"


class QueryEncoder(Encoder):
    """Encodes what is searched for."""

    role = "query"
