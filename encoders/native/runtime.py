"""Runs an int8 encoder with the compiled kernels beside this file.

They do what the ONNX graph does, with what a general runtime cannot assume: texts stand one after
another without padding, every token's activations have a scale of their own, and two threads share
the products of a single query. So vectors do not depend on what else is in a batch, to the bit.
"""

import ctypes
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoders.native.library import LayerParts, Matrix, Norm, Parts, kernels, library
from encoders.pooling import Pooling
from encoders.tokens import Tokens
from encoders.weights import FloatArray
from trimseek.errors import EncoderError

TABLES = {"float32": 0, "int8": 1, "int4": 2}
ACTIVATIONS = {"gelu": 0, "gelu_tanh": 1, "relu": 2}
POOLINGS = {Pooling.MEAN: 0, Pooling.CLS: 1, Pooling.MAX: 2}
# Tokens in one call, which cannot be interrupted: about a second.
CALL_TOKENS = 16_384
PROBLEMS = {
    -1: "out of memory",
    -2: "the tokenizer gives a token that the encoder has no embedding of",
    -3: "a text has more tokens than the encoder has positions",
}


class Graph(NamedTuple):
    """What a graph of ``encoders.graph`` holds: constants by name, and what its nodes say."""

    constants: dict[str, NDArray[Any]]
    activation: str
    heads: int
    epsilon: float
    layers: int


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
        self._kept: list[Any] = []  # what the kernels read in place
        parts = self._parts(read_graph(graph), pooling, normalize)
        self.dim, self._functions = int(parts.dim), functions
        handle = functions.encoder_new(ctypes.byref(parts), chosen.encode(), threads)
        if not handle:
            raise EncoderError(f"{graph}: no memory for it, or no {chosen} on this CPU")
        self._handle = ctypes.c_void_p(handle)
        self._close = weakref.finalize(self, functions.encoder_free, self._handle)

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

    def _call(self, texts: Sequence[Tokens], vectors: FloatArray) -> None:
        bounds = np.zeros(len(texts) + 1, np.int32)
        np.cumsum([len(text.ids) for text in texts], out=bounds[1:])
        ids = np.fromiter((each for text in texts for each in text.ids), np.int32, int(bounds[-1]))
        outcome = self._functions.encoder_run(
            self._handle, address(ids), address(bounds), len(texts), address(vectors)
        )
        if outcome:
            raise EncoderError(PROBLEMS[outcome])

    def _keep(self, array: NDArray[Any], dtype: type[np.generic]) -> int:
        """The address of an array, which stays where it is as long as this does."""
        kept = np.ascontiguousarray(array, dtype)
        self._kept.append(kept)
        return address(kept)

    def _parts(self, graph: Graph, pooling: Pooling, normalize: bool) -> Parts:
        constants = graph.constants
        table = next(kind for kind in TABLES if f"token_embeddings{suffix_of(kind)}" in constants)
        tokens = constants[f"token_embeddings{suffix_of(table)}"]
        positions = read_positions(constants)
        layers = (LayerParts * graph.layers)(
            *(self._layer(constants, f"layers.{i}") for i in range(graph.layers))
        )
        scales = constants.get("token_embeddings.scale")
        dim = constants["layers.0.output.int8"].shape[1]
        width = constants["layers.0.qkv.int8"].shape[1] // 3
        projected = "embedding_projection.int8" in constants
        return Parts(
            vocabulary=len(tokens),
            embedding_dim=positions.shape[1],
            positions=len(positions),
            dim=dim,
            head_dim=width // graph.heads,
            layers=graph.layers,
            table=TABLES[table],
            activation=ACTIVATIONS[graph.activation],
            pooling=POOLINGS[pooling],
            normalize=normalize,
            epsilon=graph.epsilon,
            tokens=self._keep(tokens, np.float32 if table == "float32" else np.uint8),
            token_scale=0 if scales is None else self._keep(scales, np.float32),
            position=self._keep(positions, np.float32),
            embedding_norm=self._norm(constants, "embedding_norm"),
            projection=self._matrix(constants, "embedding_projection") if projected else Matrix(),
            layer=layers,
        )

    def _layer(self, constants: dict[str, NDArray[Any]], name: str) -> LayerParts:
        matrices = ("qkv", "attention_output", "intermediate", "output")
        norms = ("attention_norm", "output_norm")
        return LayerParts(
            *(self._matrix(constants, f"{name}.{part}") for part in matrices),
            *(self._norm(constants, f"{name}.{part}") for part in norms),
        )

    def _matrix(self, constants: dict[str, NDArray[Any]], name: str) -> Matrix:
        values = constants[f"{name}.int8"]
        rows, columns = values.shape
        scale = np.broadcast_to(constants[f"{name}.scale"].ravel(), (columns,))
        return Matrix(
            rows,
            columns,
            self._keep(values, np.int8),
            self._keep(scale, np.float32),
            self._keep(constants[f"{name}.bias"], np.float32),
        )

    def _norm(self, constants: dict[str, NDArray[Any]], name: str) -> Norm:
        return Norm(
            self._keep(constants[f"{name}.weight"], np.float32),
            self._keep(constants[f"{name}.bias"], np.float32),
        )


def suffix_of(kind: str) -> str:
    return "" if kind == "float32" else f".{kind}"


def read_positions(constants: dict[str, NDArray[Any]]) -> FloatArray:
    """The table of positions, which stands in 8 bits beside a 4-bit token table."""
    name = "position_embeddings"
    if name in constants:
        return constants[name]
    values = constants[f"{name}.int8"].astype(np.float32) - constants[f"{name}.zero"]
    table: FloatArray = values * constants[f"{name}.scale"]
    return table


def read_graph(path: Path) -> Graph:
    """EncoderError if the file is no graph of ``encoders.graph``."""
    import onnx
    from onnx import numpy_helper

    try:
        graph = onnx.load(path).graph
        constants = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        nodes = {node.op_type: node for node in graph.node}
        attributes = {
            (node.op_type, each.name): onnx.helper.get_attribute_value(each)
            for node in nodes.values()
            for each in node.attribute
        }
        activation = "relu" if "Relu" in nodes else "gelu"
        if attributes.get(("Gelu", "approximate")) == b"tanh":
            activation = "gelu_tanh"
        layers = sum(node.op_type == "MultiHeadAttention" for node in graph.node)
        first = next(node for node in graph.node if node.op_type == "MultiHeadAttention")
        heads = next(each.i for each in first.attribute if each.name == "num_heads")
        epsilon = attributes["LayerNormalization", "epsilon"]
        return Graph(constants, activation, heads, epsilon, layers)
    except Exception as error:  # protobuf's errors have no common base with onnx's
        raise EncoderError(f"{path}: not an encoder's graph: {error}") from error


def address(array: NDArray[Any]) -> int:
    return int(array.__array_interface__["data"][0])
