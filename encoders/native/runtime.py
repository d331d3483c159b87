"""Runs an int8 encoder with the compiled kernels beside this file.

They compute what the ONNX graph computes, but differ from a general runtime in three ways: texts
follow one another without padding, every token's activations have their own scale, and threads
share the products of a single query. So a vector is the same, to the bit, in any batch.
"""

import ctypes
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trimseek.compiled import address
from trimseek.encoders.card import EncoderCard
from trimseek.encoders.native.library import STAGES, kernels, library
from trimseek.encoders.native.spec import SpecReader, read_constants
from trimseek.encoders.tokens import Tokens
from trimseek.encoders.transforms import transformed, unit
from trimseek.encoders.weights import FloatArray
from trimseek.errors import EncoderError

# Tokens in one call, which takes about a second and cannot be interrupted.
CALL_TOKENS = 16_384
# What encoder_run returns, unless it is 0.
PROBLEMS = {
    -1: "out of memory",
    -2: "the tokenizer gives a token that the encoder has no embedding of",
    -3: "a text has more tokens than the encoder has positions",
}


class NativeRuntime:
    """Vectors of tokenized texts; safe to call from several threads at once.

    ``graph``: a model.onnx that ``encoders.graph`` built with int8 matrices; ``card``: its
    encoder.json. EncoderError if they do not fit together or cannot be read. ``instructions``: one
    of ``KERNELS``, by default the fastest of this CPU.
    """

    name = "native"

    def __init__(
        self,
        graph: Path,
        card: EncoderCard,
        *,
        threads: int,
        instructions: str | None = None,
    ) -> None:
        functions, name = library(), instructions or kernels()
        if functions is None or name is None:
            raise EncoderError("trimseek has no compiled kernels for this CPU")
        reader = SpecReader(read_constants(graph), card)
        try:
            spec = reader.encoder()
            self._transforms = reader.transforms()
        except EncoderError as error:
            raise EncoderError(f"{graph}: not an encoder's graph: {error}") from error
        self.dim, self._functions, self._kept = card.dim, functions, reader.kept
        self._normalize = card.normalize
        handle = functions.encoder_new(ctypes.byref(spec), name.encode(), threads)
        if not handle:
            raise EncoderError(f"{graph}: no memory for it, or no {name} on this CPU")
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
        if not self._transforms:
            return vectors
        vectors = transformed(vectors, self._transforms)
        return unit(vectors) if self._normalize else vectors

    def stages(self, texts: Sequence[Tokens]) -> dict[str, float]:
        """Seconds that each of ``STAGES`` takes for these texts, on one thread."""
        seconds = np.zeros(len(STAGES))
        vectors = np.empty((len(texts), self.dim), np.float32)
        self._call(texts, vectors, address(seconds))
        return dict(zip(STAGES, seconds.tolist(), strict=True))

    def _call(
        self, texts: Sequence[Tokens], vectors: FloatArray, seconds: int | None = None
    ) -> None:
        start = np.zeros(len(texts) + 1, np.int32)
        np.cumsum([len(text.ids) for text in texts], out=start[1:])
        ids = np.fromiter((token for text in texts for token in text.ids), np.int32, int(start[-1]))
        problem = self._functions.encoder_run(
            self._handle, address(ids), address(start), len(texts), address(vectors), seconds
        )
        if problem:
            raise EncoderError(PROBLEMS[problem])
