"""Runs an encoder's graph with onnxruntime: any precision, on any CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from encoders.batches import token_batches
from encoders.tokens import Tokens
from encoders.weights import FloatArray
from trimseek.errors import EncoderError

ERRORS_ONLY = 3


class OnnxRuntime:
    """Vectors of tokenized texts; safe to call from several threads at once.

    EncoderError if the graph cannot be loaded.
    """

    name = "onnxruntime"

    def __init__(self, graph: Path, threads: int) -> None:
        self._session = open_session(graph, threads)

    def run(self, texts: Sequence[Tokens]) -> FloatArray:
        """Vectors ``(n, dim) float32``, in batches of similar length."""
        parts, order = [], []
        for batch in token_batches([len(text.ids) for text in texts]):
            ids, mask = pad([texts[i] for i in batch])
            inputs = {"input_ids": ids, "attention_mask": mask}
            parts.append(self._session.run(None, inputs)[0])
            order += batch
        joined = np.concatenate(parts)
        vectors: FloatArray = np.empty_like(joined)
        vectors[order] = joined
        return vectors


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
    import onnxruntime  # only where it runs: it takes longer to import than to encode

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base
        raise EncoderError(f"{graph}: onnxruntime cannot load it: {error}") from error
