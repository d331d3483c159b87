"""Runs an encoder's graph with onnxruntime: any precision, on any CPU."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.batches import token_batches
from trimseek.encoders.tokens import Tokens
from trimseek.encoders.weights import FloatArray
from trimseek.errors import EncoderError

ERRORS_ONLY = 3  # onnxruntime's severity level


class OnnxRuntime:
    """Vectors of tokenized texts; safe to call from several threads at once.

    EncoderError if the graph cannot be loaded.
    """

    name = "onnxruntime"

    def __init__(self, graph: Path, threads: int) -> None:
        self._graph = graph
        self._session = open_session(graph, threads)

    def run(self, texts: Sequence[Tokens]) -> FloatArray:
        """Vectors ``(n, dim) float32``."""
        return run_batches(self._session, texts)

    def stages(self, texts: Sequence[Tokens]) -> dict[str, float]:
        """Seconds that each ONNX operator takes for these texts, on one thread."""
        with tempfile.TemporaryDirectory() as folder:
            session = open_session(self._graph, 1, Path(folder, "profile"))
            run_batches(session, texts)
            events = json.loads(Path(session.end_profiling()).read_text("utf-8"))
        seconds: dict[str, float] = defaultdict(float)
        for event in events:
            if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
                seconds[event["args"]["op_name"]] += event["dur"] / 1e6
        return dict(seconds)


def run_batches(session: Any, texts: Sequence[Tokens]) -> FloatArray:
    """Vectors ``(n, dim) float32`` by a session, in batches of similar length."""
    parts, order = [], []
    for batch in token_batches([len(text.ids) for text in texts]):
        ids, mask = pad([texts[i] for i in batch])
        parts.append(session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
        order += batch
    joined = np.concatenate(parts)
    vectors: FloatArray = np.empty_like(joined)
    vectors[order] = joined
    return vectors


def pad(texts: Sequence[Tokens]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Ids and attention mask ``(batch, longest) int64``; padding is masked, so any id will do."""
    shape = (len(texts), max(len(text.ids) for text in texts))
    ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    for i, text in enumerate(texts):
        ids[i, : len(text.ids)] = text.ids
        mask[i, : len(text.ids)] = 1
    return ids, mask


def open_session(graph: Path, threads: int, profile: Path | None = None) -> Any:
    """An onnxruntime session on the CPU; EncoderError if the graph cannot be loaded.

    ``profile``: the beginning of the name of a profile to write.
    """
    import onnxruntime  # only here, because importing it takes longer than encoding a query

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
    try:
        return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common base
        raise EncoderError(f"{graph}: onnxruntime cannot load it: {error}") from error
