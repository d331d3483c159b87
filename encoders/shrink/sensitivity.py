"""Which matrices lose most by int8, measured on the graph that runs."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import onnxruntime

from encoders.checkpoint import Checkpoint
from encoders.graph import build_graph
from encoders.onnx_runtime import run_batches
from encoders.quantize import Precision, Quantization
from encoders.shrink.calibration import Ids, probes
from encoders.tokens import Tokens
from encoders.weights import EncoderWeights, FloatArray
from trimseek.time_limit import check_time

PRODUCTS = ("qkv", "attention_output", "intermediate", "output")


def product_names(weights: EncoderWeights) -> list[str]:
    """The matrix products of an encoder, as ``Quantization.kept`` names them."""
    return [f"layers.{i}.{name}" for i in range(len(weights.layers)) for name in PRODUCTS]


def sensitivities(
    checkpoint: Checkpoint, texts: Sequence[Ids], quantization: Quantization
) -> dict[str, float]:
    """Mean 1 - cosine of the vectors when one matrix alone is quantized; the worst first."""
    probed = probes(texts)
    names = product_names(checkpoint.weights)
    alone = replace(quantization, table=Precision.FLOAT32)
    exact = run(checkpoint, probed, replace(alone, kept=tuple(names)))
    found = {}
    for name in names:
        check_time()
        others = tuple(each for each in names if each != name)
        vectors = run(checkpoint, probed, replace(alone, kept=others))
        cosines = (vectors * exact).sum(1) / np.linalg.norm(vectors, axis=1)
        found[name] = float(1 - (cosines / np.linalg.norm(exact, axis=1)).mean())
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def run(checkpoint: Checkpoint, texts: Sequence[Ids], quantization: Quantization) -> FloatArray:
    """Vectors of tokenized texts by a graph in memory."""
    graph = build_graph(
        checkpoint.weights,
        pooling=checkpoint.pooling,
        normalize=checkpoint.normalize,
        quantization=quantization,
    )
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    return run_batches(session, [Tokens(each, False) for each in texts])
