import math
from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime
import pytest

from tests.tiny import tiny_weights
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.cpu import SATURATING, int8_path
from trimseek.encoders.graph import build_graph
from trimseek.encoders.onnx_runtime import pad
from trimseek.encoders.pooling import Pooling, pooled_states
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.tokens import Tokens
from trimseek.encoders.weights import FloatArray

FLOAT32 = Quantization.everywhere(Precision.FLOAT32)
BATCH = [Tokens([2, 5, 9, 30, 3], False), Tokens([2, 7, 3], False), Tokens([2, 40, 41, 3], False)]


def run(weights: Any, texts: list[Tokens], pooling: Pooling = Pooling.MEAN, **build: Any) -> Any:
    build.setdefault("normalize", False)
    build.setdefault("quantization", FLOAT32)
    graph = build_graph(weights, pooling=pooling, **build)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    ids, mask = pad(texts)
    return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]


def token_vectors(tiny: Checkpoint, text: Tokens) -> FloatArray:
    """The last layer's vectors, by numpy, as the papers define them."""
    weights = tiny.weights
    assert weights.token_type_embeddings is not None

    def norm(x: Any, pair: Any) -> Any:
        centred = x - x.mean(1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(1, keepdims=True) + 1e-12) * pair[0] + pair[1]

    def gelu(x: Any) -> Any:
        return x * np.vectorize(lambda v: 0.5 * (1 + math.erf(v / math.sqrt(2))))(x)

    positions: Any = weights.position_embeddings
    x: Any = weights.token_embeddings[text.ids] + positions[: len(text.ids)]
    x = norm(x + weights.token_type_embeddings[0], weights.embedding_norm)
    for layer, heads in zip(weights.layers, weights.heads, strict=True):
        q, k, v = (x @ part.weight + part.bias for part in (layer.query, layer.key, layer.value))
        attended = []
        for h in range(heads):
            one = slice(h * 8, h * 8 + 8)
            scores = np.exp(q[:, one] @ k[:, one].T / np.sqrt(8))
            attended.append(scores / scores.sum(1, keepdims=True) @ v[:, one])
        output = np.concatenate(attended, 1) @ layer.attention_output.weight
        x = norm(x + output + layer.attention_output.bias, layer.attention_norm)
        hidden = gelu(x @ layer.intermediate.weight + layer.intermediate.bias)
        x = norm(x + hidden @ layer.output.weight + layer.output.bias, layer.output_norm)
    vectors: FloatArray = x.astype(np.float32)
    return vectors


@pytest.mark.parametrize("pooling", Pooling)
def test_poolings_ignore_padding(pooling: Pooling, tiny: Checkpoint) -> None:
    expected = np.stack([pooled_states(token_vectors(tiny, text), pooling) for text in BATCH])
    np.testing.assert_allclose(run(tiny.weights, BATCH, pooling), expected, atol=2e-5)


def test_normalized_vectors_have_unit_length(tiny: Checkpoint) -> None:
    vectors = run(tiny.weights, BATCH, normalize=True)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_results_do_not_depend_on_the_batch(tiny: Checkpoint) -> None:
    together = run(tiny.weights, BATCH)
    alone = np.concatenate([run(tiny.weights, [text]) for text in BATCH])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_layers_may_have_different_heads_and_neurons(tiny: Checkpoint) -> None:
    pruned = tiny_weights(heads=(3, 1), neurons=24)
    checkpoint = replace(tiny, weights=pruned)
    expected = np.stack([token_vectors(checkpoint, text).mean(0) for text in BATCH])
    np.testing.assert_allclose(run(pruned, BATCH), expected, atol=2e-5)


def test_every_token_is_of_type_0(tiny: Checkpoint) -> None:
    types = tiny.weights.token_type_embeddings
    assert types is not None
    vectors = run(tiny.weights, BATCH)
    others = replace(tiny.weights, token_type_embeddings=np.stack([types[0], types[1] + 1]))
    np.testing.assert_array_equal(run(others, BATCH), vectors)
    swapped = replace(tiny.weights, token_type_embeddings=types[::-1])
    assert np.abs(run(swapped, BATCH) - vectors).max() > 0.01


INT8 = Quantization()


@pytest.mark.parametrize(
    ("quantization", "least"),
    [
        (INT8, 0.995),
        (replace(INT8, reduced_range=True), 0.99),
        (replace(INT8, symmetric=False), 0.99),
        (replace(INT8, symmetric=False, reduced_range=True), 0.99),
        (replace(INT8, per_channel=False), 0.99),
        (replace(INT8, table=Precision.INT4), 0.97),
        (replace(INT8, table=Precision.FLOAT32), 0.995),
        (Quantization.everywhere(Precision.INT4), 0.9),
        (replace(INT8, kept=("layers.0.qkv", "layers.1.output")), 0.995),
    ],
    ids=str,
)
def test_every_storage_stays_close_to_float32(
    quantization: Quantization, least: float, tiny: Checkpoint
) -> None:
    if quantization.matrices is Precision.INT8 and int8_path() in SATURATING:
        # as write_encoder does: 8 bits saturate on this CPU
        quantization, least = replace(quantization, reduced_range=True), min(least, 0.99)
    exact = run(tiny.weights, BATCH, normalize=True)
    stored = run(tiny.weights, BATCH, normalize=True, quantization=quantization)
    assert (exact * stored).sum(1).min() > least
    assert not np.array_equal(exact, stored)


def test_what_is_kept_in_float_is_not_quantized(tiny: Checkpoint) -> None:
    names = [
        f"layers.{i}.{part}"
        for i in range(2)
        for part in ("qkv", "attention_output", "intermediate", "output")
    ]
    all_kept = Quantization(Precision.INT8, Precision.FLOAT32, kept=tuple(names))
    exact = run(tiny.weights, BATCH)
    np.testing.assert_array_equal(run(tiny.weights, BATCH, quantization=all_kept), exact)
