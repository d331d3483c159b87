"""From the graph of an int8 encoder to what the compiled kernels read."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from encoders.native.library import LayerParts, Matrix, Norm, Parts
from encoders.pooling import Pooling
from encoders.weights import FloatArray
from trimseek.compiled import address
from trimseek.errors import EncoderError

# How token embeddings are stored: the number in encoder.h, columns in a byte, and the type.
TABLES: dict[str, tuple[int, int, type[np.generic]]] = {
    "": (0, 1, np.float32),
    ".int8": (1, 1, np.uint8),
    ".int4": (2, 2, np.uint8),
}
ACTIVATIONS = {"gelu": 0, "gelu_tanh": 1, "relu": 2}
POOLINGS = {Pooling.MEAN: 0, Pooling.CLS: 1, Pooling.MAX: 2}

Constants = dict[str, NDArray[Any]]


class Graph(NamedTuple):
    """What a graph of ``encoders.graph`` holds: constants by name, and what its nodes say."""

    constants: Constants
    activation: str
    heads: int
    epsilon: float
    layers: int


class Reader:
    """Addresses of a graph's arrays, each checked to have the shape that the kernels rely on.

    ``kept``: arrays that are read in place as long as the encoder is there. ``copied``: those that
    ``encoder_new`` copies.
    """

    def __init__(self, constants: Constants) -> None:
        self.constants = constants
        self.kept: list[NDArray[Any]] = []
        self.copied: list[NDArray[Any]] = []

    def parts(self, graph: Graph, pooling: Pooling, normalize: bool) -> Parts:
        """EncoderError if an array is missing or has another shape."""
        first = self.array("layers.0.qkv.int8", 2)
        dim = self.array("layers.0.output.int8", 2).shape[1]
        head_dim = first.shape[1] // 3 // graph.heads
        suffix = next(each for each in TABLES if f"token_embeddings{each}" in self.constants)
        table, packed, dtype = TABLES[suffix]
        tokens = self.array(f"token_embeddings{suffix}", 2)
        positions = self.positions()
        vocabulary, narrow = len(tokens), positions.shape[1]
        check("token_embeddings", tokens, (vocabulary, narrow // packed))
        layers = [self.layer(f"layers.{i}", dim, head_dim) for i in range(graph.layers)]
        projected = "embedding_projection.int8" in self.constants
        if not projected:
            check("position_embeddings", positions, (len(positions), dim))
        scale = self.scales("token_embeddings", vocabulary) if suffix else None
        return Parts(
            vocabulary=vocabulary,
            embedding_dim=narrow,
            positions=len(positions),
            dim=dim,
            head_dim=head_dim,
            layers=graph.layers,
            table=table,
            activation=ACTIVATIONS[graph.activation],
            pooling=POOLINGS[pooling],
            normalize=normalize,
            epsilon=graph.epsilon,
            tokens=keep(self.kept, tokens, dtype),
            token_scale=0 if scale is None else keep(self.kept, scale, np.float32),
            position=keep(self.kept, positions, np.float32),
            embedding_norm=self.norm("embedding_norm", narrow),
            projection=self.matrix("embedding_projection", narrow, dim) if projected else Matrix(),
            layer=(LayerParts * graph.layers)(*layers),
        )

    def layer(self, name: str, dim: int, head_dim: int) -> LayerParts:
        qkv = self.matrix(f"{name}.qkv", dim)
        width = qkv.columns // 3
        if width % head_dim or qkv.columns % 3:
            raise EncoderError(f"{name}.qkv: {qkv.columns} columns are no heads of {head_dim}")
        intermediate = self.matrix(f"{name}.intermediate", dim)
        return LayerParts(
            qkv,
            self.matrix(f"{name}.attention_output", width, dim),
            intermediate,
            self.matrix(f"{name}.output", intermediate.columns, dim),
            self.norm(f"{name}.attention_norm", dim),
            self.norm(f"{name}.output_norm", dim),
        )

    def matrix(self, name: str, rows: int, columns: int | None = None) -> Matrix:
        values = self.array(f"{name}.int8", 2)
        columns = values.shape[1] if columns is None else columns
        check(name, values, (rows, columns))
        bias = self.array(f"{name}.bias", 1)
        check(f"{name}.bias", bias, (columns,))
        return Matrix(
            rows,
            columns,
            keep(self.copied, values, np.int8),
            keep(self.copied, self.scales(name, columns), np.float32),
            keep(self.copied, bias, np.float32),
        )

    def norm(self, name: str, dim: int) -> Norm:
        both = [self.array(f"{name}.{part}", 1) for part in ("weight", "bias")]
        for each in both:
            check(name, each, (dim,))
        return Norm(*(keep(self.kept, each, np.float32) for each in both))

    def scales(self, name: str, count: int) -> NDArray[Any]:
        """One for each column or row; a single one is theirs all."""
        scale = self.array(f"{name}.scale").ravel()
        if scale.size == 1:
            scale = np.full(count, scale[0], np.float32)
        check(f"{name}.scale", scale, (count,))
        return scale

    def positions(self) -> FloatArray:
        """The table of positions, which stands in 8 bits beside a 4-bit token table."""
        name = "position_embeddings"
        if name in self.constants:
            return self.array(name, 2)
        values = self.array(f"{name}.int8", 2).astype(np.float32) - self.array(f"{name}.zero")
        table: FloatArray = values * self.array(f"{name}.scale")
        return table

    def array(self, name: str, dimensions: int | None = None) -> NDArray[Any]:
        found = self.constants.get(name)
        if found is None or dimensions not in (None, found.ndim):
            raise EncoderError(f"{name}: not in the graph, or not what it should be")
        return found


def check(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise EncoderError(f"{name}: its shape is {array.shape}, not {shape}")


def keep(where: list[NDArray[Any]], array: NDArray[Any], dtype: type[np.generic]) -> int:
    """The address of an array, which stays where it is while the list is there."""
    where.append(np.ascontiguousarray(array, dtype))
    return address(where[-1])


def read_graph(path: Path) -> Graph:
    """EncoderError if the file is no graph of ``encoders.graph``."""
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
        attention = [node for node in graph.node if node.op_type == "MultiHeadAttention"]
        heads = next(each.i for each in attention[0].attribute if each.name == "num_heads")
        epsilon = attributes["LayerNormalization", "epsilon"]
        return Graph(constants, activation, heads, epsilon, len(attention))
    except Exception as error:  # protobuf's errors have no common base with onnx's
        raise EncoderError(f"{path}: not an encoder's graph: {error}") from error
