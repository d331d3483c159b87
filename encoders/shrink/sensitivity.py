"""Which matrices lose most by quantization, measured on the ONNX graph."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnxruntime

from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.folder import graph_of
from trimseek.encoders.onnx_runtime import run_batches
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.calibration import Ids, probes
from trimseek.encoders.shrink.error_feedback import MATRICES
from trimseek.encoders.tokens import Tokens
from trimseek.encoders.weights import EncoderWeights, FloatArray
from trimseek.time_limit import check_time


def product_names(weights: EncoderWeights) -> list[str]:
    """The matrix products of an encoder, as ``Quantization.kept`` names them."""
    return list(product_sizes(weights))


def product_sizes(weights: EncoderWeights) -> dict[str, int]:
    """How many weights each of ``product_names`` has."""
    return {
        f"layers.{i}.{name}": sum(getattr(layer, part).weight.size for part in parts)
        for i, layer in enumerate(weights.layers)
        for name, parts in MATRICES.items()
    }


def sensitivities(
    checkpoint: Checkpoint, texts: Sequence[Ids], quantization: Quantization
) -> dict[str, float]:
    """Mean 1 - cosine of the vectors when one matrix alone is quantized; the worst first.

    Keys are those of ``product_names``. OutOfTimeError when a ``time_limit`` passes.
    """
    probed = probes(texts)
    names = product_names(checkpoint.weights)
    alone = replace(quantization, table=Precision.FLOAT32)
    exact = run(checkpoint, probed, replace(alone, kept=tuple(names)))
    losses = {}
    for name in names:
        check_time()
        others = tuple(other for other in names if other != name)
        vectors = run(checkpoint, probed, replace(alone, kept=others))
        cosines = (vectors * exact).sum(1) / np.linalg.norm(vectors, axis=1)
        losses[name] = float(1 - (cosines / np.linalg.norm(exact, axis=1)).mean())
    return dict(sorted(losses.items(), key=lambda item: -item[1]))


def run(checkpoint: Checkpoint, texts: Sequence[Ids], quantization: Quantization) -> FloatArray:
    """Vectors ``(n, dim)`` of tokenized texts by onnxruntime, without a file."""
    graph = graph_of(checkpoint, quantization)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    return run_batches(session, [Tokens(ids, False) for ids in texts])
