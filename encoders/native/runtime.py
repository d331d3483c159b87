"""Runs an int8 encoder with the compiled kernels beside this file.

They do what the ONNX graph does, with what a general runtime cannot assume: texts stand one after
another without padding, every token's activations have a scale of their own, and two threads share
the products of a single query. So vectors do not depend on what else is in a batch, to the bit.
"""

import ctypes
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from encoders.native.library import STAGES, kernels, library
from encoders.native.parts import Reader, read_graph
from encoders.pooling import Pooling
from encoders.tokens import Tokens
from encoders.weights import FloatArray
from trimseek.compiled import address
from trimseek.errors import EncoderError

# Tokens in one call, which cannot be interrupted: about a second.
CALL_TOKENS = 16_384
PROBLEMS = {
    -1: "out of memory",
    -2: "the tokenizer gives a token that the encoder has no embedding of",
    -3: "a text has more tokens than the encoder has positions",
}


class NativeRuntime:
    """Vectors of tokenized texts; safe to call from several threads at once.

    ``graph``: a model.onnx that ``encoders.graph`` built with int8 matrices. EncoderError if it
    cannot be read. ``instructions``: one of ``KERNELS``, by default the best here.
    """

    name = "native"

    def __init__(
        self,
        graph: Path,
        pooling: Pooling,
        *,
        normalize: bool,
        threads: int,
        instructions: str | None = None,
    ) -> None:
        functions, chosen = library(), instructions or kernels()
        if functions is None or chosen is None:
            raise EncoderError("trimseek has no compiled kernels for this CPU")
        found = read_graph(graph)
        reader = Reader(found.constants)
        try:
            parts = reader.parts(found, pooling, normalize)
        except EncoderError as error:
            raise EncoderError(f"{graph}: not an encoder's graph: {error}") from error
        self.dim, self._functions, self._kept = int(parts.dim), functions, reader.kept
        handle = functions.encoder_new(ctypes.byref(parts), chosen.encode(), threads)
        if not handle:
            raise EncoderError(f"{graph}: no memory for it, or no {chosen} on this CPU")
        self._handle = ctypes.c_void_p(handle)
        close = weakref.finalize(self, functions.encoder_free, self._handle)
        close.atexit = False  # a thread may still be encoding then

    def run(self, texts: Sequence[Tokens]) -> FloatArray:
        """Vectors ``(n, dim) float32``."""
        vectors = np.empty((len(texts), self.dim), np.float32)
        start = 0
        while start < len(texts):
            end, tokens = start, 0
            while end < len(texts) and (end == start or tokens < CALL_TOKENS):
                tokens += len(texts[end].ids)
                end += 1
            self._call(texts[start:end], vectors[start:end])
            start = end
        return vectors

    def stages(self, texts: Sequence[Tokens]) -> dict[str, float]:
        """Seconds that each part of the work takes for these texts, on one thread."""
        seconds = np.zeros(len(STAGES))
        vectors = np.empty((len(texts), self.dim), np.float32)
        self._call(texts, vectors, address(seconds))
        return dict(zip(STAGES, seconds.tolist(), strict=True))

    def _call(
        self, texts: Sequence[Tokens], vectors: FloatArray, seconds: int | None = None
    ) -> None:
        bounds = np.zeros(len(texts) + 1, np.int32)
        np.cumsum([len(text.ids) for text in texts], out=bounds[1:])
        ids = np.fromiter((each for text in texts for each in text.ids), np.int32, int(bounds[-1]))
        outcome = self._functions.encoder_run(
            self._handle, address(ids), address(bounds), len(texts), address(vectors), seconds
        )
        if outcome:
            raise EncoderError(PROBLEMS[outcome])
