"""What the kernels compute, in numpy: int8 products of rows that have scales of their own."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.block_codes import LEVELS, code_matrix
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import (
    WHOLE_ROW,
    Precision,
    Quantization,
    quantize_matrix,
    quantize_nibbles,
    quantize_rows,
)
from trimseek.encoders.weights import (
    EncoderWeights,
    FloatArray,
    LayerNorm,
    LayerWeights,
    Linear,
    distance_table,
)

Array = NDArray[np.float64]

# Those of gelu() in forward.inc, from the highest power to the lowest.
GELU_COEFFICIENTS = (
    4.71154171e-11,
    -4.62782595e-09,
    2.0172491e-07,
    -5.19173816e-06,
    8.88289027e-05,
    -1.08040036e-03,
    9.72067526e-03,
    -6.61889953e-02,
    3.98815748e-01,
)


def encode(
    weights: EncoderWeights,
    texts: Sequence[Sequence[int]],
    pooling: Pooling,
    *,
    normalize: bool,
    quantization: Quantization,
    levels: int,
) -> Array:
    """Vectors ``(n, dim)``; activations are stored in ``levels + 1`` steps."""
    return np.stack(
        [one(weights, np.asarray(ids), pooling, normalize, quantization, levels) for ids in texts]
    )


def one(
    weights: EncoderWeights,
    ids: NDArray[np.int64],
    pooling: Pooling,
    normalize: bool,
    quantization: Quantization,
    levels: int,
) -> Array:
    def linear(matrix: Linear, x: Array, name: str) -> Array:
        weight, smooth = matrix.weight, weights.inputs.get(f"{name}.smooth")
        if smooth is not None:
            weight, x = weight * smooth[:, None], x * (1 / smooth)
        integers, scale = stored(weight, quantization)
        low = np.minimum(x.min(axis=1, keepdims=True), 0)
        high = np.maximum(x.max(axis=1, keepdims=True), 0)
        if f"{name}.range" in weights.inputs:
            low, high = calibrated(weights.inputs[f"{name}.range"])
        step = (high - low) / levels
        zero = np.floor(0.5 - low / step)
        q = np.clip(np.floor(x / step + zero + 0.5), 0, levels)
        product: Array = step * ((q - zero) @ integers) * scale
        return product + matrix.bias

    def norm(part: LayerNorm, x: Array) -> Array:
        spread = np.sqrt(x.var(axis=1, keepdims=True) + weights.layer_norm_eps)
        found: Array = (x - x.mean(axis=1, keepdims=True)) / spread * part.weight + part.bias
        return found

    x = table(weights.token_embeddings, quantization.table)[ids]
    if weights.position_embeddings is not None:
        x = x + weights.position_embeddings[: len(ids)].astype(float)
        if weights.token_type_embeddings is not None:
            x = x + weights.token_type_embeddings[0]
    if weights.embedding_norm is not None:
        x = norm(weights.embedding_norm, x)
    if weights.embedding_projection is not None:
        x = linear(weights.embedding_projection, x, "embedding_projection")
    for i, layer in enumerate(weights.layers):
        name = f"layers.{i}"
        scale = np.float32(weights.head_dim**-0.5)
        joined = Linear(
            np.concatenate([layer.query.weight * scale, layer.key.weight, layer.value.weight], 1),
            np.concatenate([layer.query.bias * scale, layer.key.bias, layer.value.bias]),
        )
        read = x
        if weights.pre_norm and layer.attention_norm is not None:
            read = norm(layer.attention_norm, x)
        split = linear(joined, read, f"{name}.qkv").reshape(len(ids), 3, -1, weights.head_dim)
        query, key = (turned(split[:, i], layer.rotary) for i in (0, 1))
        scores = np.einsum("qhd,khd->hqk", query, key) + added(weights, layer, len(ids))
        shares = np.exp(scores - scores.max(axis=2, keepdims=True))
        shares /= shares.sum(axis=2, keepdims=True)
        context = np.einsum("hqk,khd->qhd", shares, split[:, 2]).reshape(len(ids), -1)
        x = x + linear(layer.attention_output, context, f"{name}.attention_output")
        if not weights.pre_norm and layer.attention_norm is not None:
            x = norm(layer.attention_norm, x)
        read = norm(layer.output_norm, x) if weights.pre_norm else x
        hidden = linear(layer.intermediate, read, f"{name}.intermediate")
        if weights.gated:
            hidden, gate = np.split(hidden, 2, axis=1)
            hidden = activate(hidden, weights.activation) * gate
        else:
            hidden = activate(hidden, weights.activation)
        x = x + linear(layer.output, hidden, f"{name}.output")
        if not weights.pre_norm:
            x = norm(layer.output_norm, x)
    if weights.final_norm is not None:
        x = norm(weights.final_norm, x)
    pooled: Array = {
        Pooling.MEAN: x.mean(axis=0),
        Pooling.CLS: x[0],
        Pooling.MAX: x.max(axis=0),
        Pooling.MEAN_SQRT: x.sum(axis=0) / np.sqrt(len(x)),
        Pooling.WEIGHTED: np.average(x, axis=0, weights=np.arange(1, len(x) + 1)),
        Pooling.LAST: x[-1],
    }[pooling]
    return np.asarray(pooled / np.linalg.norm(pooled)) if normalize else pooled


def turned(x: Array, theta: float) -> Array:
    """Queries or keys ``(tokens, heads, head_dim)`` turned by the angles of their positions."""
    if not theta:
        return x
    half = x.shape[2] // 2
    angles = np.arange(len(x))[:, None] * theta ** (-np.arange(half) / half)
    cosines, sines = np.cos(angles)[:, None], np.sin(angles)[:, None]
    first, second = x[..., :half], x[..., half:]
    return np.concatenate([first * cosines - second * sines, second * cosines + first * sines], 2)


def calibrated(limits: FloatArray) -> tuple[float, float]:
    """The range as the graph has it: 0 is one of its 256 steps."""
    low, high = map(float, limits)
    step = np.float32((high - low) / 255)
    zero = np.rint(-low / step)
    return float(-step * zero), float(step * (255 - zero))


def stored(weight: FloatArray, quantization: Quantization) -> tuple[Array, FloatArray]:
    """Integers of a matrix, and the scale of each column."""
    if quantization.codes:
        codes = code_matrix(weight, LEVELS[quantization.matrices])
        return codes.integers().astype(float), codes.scale
    matrix = quantize_matrix(weight, per_channel=quantization.per_channel)
    return matrix.values.astype(float), matrix.scale


def added(weights: EncoderWeights, layer: LayerWeights, tokens: int) -> Array:
    """What is added to scores, ``(heads or 1, tokens, tokens)``."""
    found = np.zeros((1, tokens, tokens))
    for i in range(tokens):
        for j in range(tokens):
            if (layer.window and abs(i - j) > layer.window) or (weights.causal and j > i):
                found[:, i, j] = -np.inf
    if layer.distances is None:
        return found
    by_distance = distance_table(layer, tokens, weights.reach)
    places = np.arange(tokens)
    return found + by_distance[:, places[None, :] - places[:, None] + tokens - 1]


def table(tokens: FloatArray, precision: Precision) -> Array:
    if precision is Precision.FLOAT32:
        return tokens.astype(float)
    if precision is Precision.INT8:
        return quantize_rows(tokens).read_back().astype(float)
    stored = quantize_nibbles(tokens, WHOLE_ROW)
    return np.asarray(stored.scale * (stored.values.astype(float) - stored.zero))


def activate(x: Array, activation: str) -> Array:
    if activation == "relu":
        return np.maximum(x, 0)
    if activation == "gelu":
        return gelu_polynomial(x)
    if activation == "silu":
        return np.asarray(x / (1 + np.exp(-x)))
    return np.asarray(x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2)


def gelu_polynomial(x: Array) -> Array:
    """GELU as forward.inc approximates it: x (1/2 + c P(c^2)), c = x cut to [-4.2, 4.2]."""
    c = np.clip(x, -4.2, 4.2)
    return np.asarray(x * (0.5 + c * np.polyval(GELU_COEFFICIENTS, c * c)))
