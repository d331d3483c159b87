"""Texts to vectors with onnxruntime, from an encoder folder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from encoders.batches import token_batches
from encoders.card import EncoderCard
from encoders.folder import GRAPH, TOKENIZER, open_encoder
from encoders.tokens import TextTokenizer, Tokens
from encoders.weights import FloatArray
from trimseek.errors import EncoderError
from trimseek.settings import load_settings

# Texts tokenized and sorted at a time: bounds memory however many texts are given.
WINDOW = 4096
ERRORS_ONLY = 3


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
    prompt. ``threads`` defaults to TRIMSEEK_THREADS. EncoderError if the folder is damaged.
    """

    role = ""

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        self.folder = folder
        self.card: EncoderCard = open_encoder(folder)
        self.tokenizer = TextTokenizer.from_file(
            folder / TOKENIZER, self.card.max_tokens, self.card.prompts.get(self.role, "")
        )
        self._session = open_session(folder / GRAPH, threads or load_settings().threads)

    @property
    def dim(self) -> int:
        return self.card.dim

    def encode(self, texts: Sequence[str]) -> Encoded:
        """Encode any number of texts, in batches of similar length."""
        each = self.encode_each(texts)
        return Encoded(each.vectors, sum(each.tokens), sum(each.truncated))

    def encode_each(self, texts: Sequence[str]) -> EncodedEach:
        """As ``encode``, and what each text took."""
        vectors = np.empty((len(texts), self.dim), np.float32)
        tokens: list[int] = []
        truncated: list[bool] = []
        for start in range(0, len(texts), WINDOW):
            window = self.tokenizer.encode(texts[start : start + WINDOW])
            for batch in token_batches([len(text.ids) for text in window]):
                vectors[[start + i for i in batch]] = self._run([window[i] for i in batch])
            tokens += (len(text.ids) for text in window)
            truncated += (text.truncated for text in window)
        return EncodedEach(vectors, tokens, truncated)

    def _run(self, texts: Sequence[Tokens]) -> FloatArray:
        ids, mask = pad(texts)
        result: FloatArray = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        return result


class DocumentEncoder(Encoder):
    """Encodes what is searched."""

    role = "document"


class QueryEncoder(Encoder):
    """Encodes what is searched for."""

    role = "query"


def pad(texts: Sequence[Tokens]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and attention mask ``(batch, longest) int64``; padding is masked, so its id is free."""
    shape = (len(texts), max(len(text.ids) for text in texts))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for i, text in enumerate(texts):
        ids[i, : len(text.ids)] = text.ids
        mask[i, : len(text.ids)] = 1
    return ids, mask


def open_session(graph: Path, threads: int) -> Any:
    """An onnxruntime session on the CPU; EncoderError if the graph cannot be loaded."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base
        raise EncoderError(f"{graph}: onnxruntime cannot load it: {error}") from error
