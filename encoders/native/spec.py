"""From the files of an int8 encoder to the structures that the compiled kernels read."""

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimseek.compiled import address
from trimseek.encoders.block_codes import BLOCK, LEVELS, integers_of, unpack
from trimseek.encoders.card import LARGEST_SIZE, EncoderCard, LayerShape
from trimseek.encoders.native.library import (
    DISTANCE_PADDING,
    EncoderSpec,
    LayerSpec,
    Matrix,
    Norm,
)
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import ACTIVATION_LEVELS
from trimseek.encoders.weights import LAYER_NORM, Dense, FloatArray, LayerNorm, starts_plain
from trimseek.errors import EncoderError

# How token embeddings are stored, by the end of their name: the number in encoder.h, how many
# numbers are in a byte, and the type of the array.
TABLES: dict[str, tuple[int, int, type[np.generic]]] = {
    "": (0, 1, np.float32),
    ".int8": (1, 1, np.uint8),
    ".int4": (2, 2, np.uint8),
}
ACTIVATIONS = {"gelu": 0, "gelu_new": 1, "gelu_pytorch_tanh": 1, "relu": 2, "silu": 3}
MOST_TOKENS = 2**24  # rows of the token table
POOLINGS = {pooling: number for number, pooling in enumerate(Pooling)}  # as in encoder.h

MESSAGES = "onnx_ml_pb2"  # a module of onnx that imports nothing of it
DTYPES: dict[int, np.dtype[Any]] = {  # by onnx's number, as little-endian as its raw data are
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
}

Constants = dict[str, NDArray[Any]]


class SpecReader:
    """Makes an ``EncoderSpec`` of a graph's constants.

    Every array is checked to have the shape that the card says, because the kernels rely on it.
    ``kept``: arrays that the kernels read in place, so that they must outlive the encoder.
    ``copied``: those that ``encoder_new`` copies.
    """

    def __init__(self, constants: Constants, card: EncoderCard) -> None:
        self.constants, self.card = constants, card
        self.turns: dict[float, int] = {}  # addresses of cosines and sines
        self.kept: list[NDArray[Any]] = []
        self.copied: list[NDArray[Any]] = []

    def encoder(self) -> EncoderSpec:
        """EncoderError if an array is missing or of another shape, or an unknown activation."""
        card = self.card
        if card.activation not in ACTIVATIONS:
            raise EncoderError(f"unknown activation {card.activation!r}")
        suffix = self.table_suffix()
        table, packed, dtype = TABLES[suffix]
        tokens = self.array(f"token_embeddings{suffix}", 2)
        vocabulary, embedding_dim = len(tokens), tokens.shape[1] * packed
        if not (1 <= vocabulary <= MOST_TOKENS and 1 <= embedding_dim <= LARGEST_SIZE):
            raise EncoderError(f"token_embeddings: its shape cannot be {tokens.shape}")
        positions = self.positions()
        if positions is not None:
            check("position_embeddings", positions, (card.positions, embedding_dim))
        projected = "embedding_projection.bias" in self.constants
        if not projected and embedding_dim != card.dim:
            raise EncoderError(f"token_embeddings: {embedding_dim} columns, not {card.dim}")
        scale = self.scales("token_embeddings", vocabulary) if suffix else None
        separator, second_type = self.types(embedding_dim)
        layers = [self.layer(i, shape) for i, shape in enumerate(card.layers)]
        structure = card.structure
        return EncoderSpec(
            vocabulary=vocabulary,
            embedding_dim=embedding_dim,
            positions=card.positions,
            dim=card.dim,
            head_dim=card.head_dim,
            layers=len(layers),
            table=table,
            activation=ACTIVATIONS[card.activation],
            pooling=POOLINGS[card.pooling],
            normalize=card.normalize and not structure.transforms,
            separator=-1 if separator is None else separator,
            pre_norm=structure.pre_norm,
            gated=structure.gated,
            causal=structure.causal,
            epsilon=card.layer_norm_eps,
            tokens=keep(self.kept, tokens, dtype),
            token_scale=0 if scale is None else keep(self.kept, scale, np.float32),
            position=None if positions is None else keep(self.kept, positions, np.float32),
            second_type=second_type,
            embedding_norm=self.norm("embedding_norm", embedding_dim) if layers else Norm(),
            final_norm=self.norm("final_norm", card.dim) if structure.pre_norm else Norm(),
            projection=self.matrix("embedding_projection", embedding_dim, card.dim)
            if projected
            else Matrix(),
            layer=(LayerSpec * len(layers))(*layers),
        )

    def layer(self, i: int, shape: LayerShape) -> LayerSpec:
        """The layer of this number."""
        name, structure = f"layers.{i}", self.card.structure
        dim, width = self.card.dim, shape.heads * self.card.head_dim
        inner = (1 + structure.gated) * shape.neurons
        plain = starts_plain(structure, name, self.constants)
        return LayerSpec(
            qkv=self.matrix(f"{name}.qkv", dim, 3 * width),
            attention_output=self.matrix(f"{name}.attention_output", width, dim),
            intermediate=self.matrix(f"{name}.intermediate", dim, inner),
            output=self.matrix(f"{name}.output", shape.neurons, dim),
            attention_norm=Norm() if plain else self.norm(f"{name}.attention_norm", dim),
            output_norm=self.norm(f"{name}.output_norm", dim),
            distances=self.distances(name, shape.heads) if structure.distances else None,
            rotary=self.rotary(structure.rotary[i]) if structure.rotary else None,
            window=structure.windows[i] if structure.windows else 0,
        )

    def distances(self, name: str, heads: int) -> int:
        """The address of what each head adds to scores, by the key's position less the query's."""
        table = self.array(f"{name}.distances", 2)
        check(f"{name}.distances", table, (heads, 2 * self.card.positions - 1))
        return keep(self.kept, np.pad(table, ((0, 0), (0, DISTANCE_PADDING))), np.float32)

    def rotary(self, theta: float) -> int | None:
        """The address of the cosines and sines ``(positions, head_dim)``; None where theta is 0."""
        if not theta:
            return None
        if theta not in self.turns:
            halves = [self.array(f"rotary.{theta:g}.{name}", 2) for name in ("cos", "sin")]
            for half in halves:
                check("rotary", half, (self.card.positions, self.card.head_dim // 2))
            self.turns[theta] = keep(self.kept, np.concatenate(halves, 1), np.float32)
        return self.turns[theta]

    def transforms(self) -> list[Dense | LayerNorm]:
        """What comes behind pooling, which is left to the caller."""
        found: list[Dense | LayerNorm] = []
        dim, kinds = self.card.dim, self.card.structure.transforms
        for i, kind in enumerate(kinds):
            weight, bias = (self.array(f"transforms.{i}.{name}") for name in ("weight", "bias"))
            check(f"transforms.{i}.bias", bias, (dim,) if kind == LAYER_NORM else bias.shape[:1])
            shape = (dim,) if kind == LAYER_NORM else (dim, len(bias))
            check(f"transforms.{i}.weight", weight, shape)
            weight, bias = (np.ascontiguousarray(array, np.float32) for array in (weight, bias))
            found.append(
                LayerNorm(weight, bias) if kind == LAYER_NORM else Dense(weight, bias, kind)
            )
            dim = len(bias)
        if dim != (self.card.projected_dim or self.card.dim):
            raise EncoderError(f"vectors of {dim} dimensions behind the projections")
        return found

    def matrix(self, name: str, in_dim: int, out_dim: int) -> Matrix:
        """An int8 matrix with its scales and bias."""
        values = self.integers(name, in_dim, out_dim)
        check(name, values, (in_dim, out_dim))
        bias = self.array(f"{name}.bias", 1)
        check(f"{name}.bias", bias, (out_dim,))
        least, most = self.input_range(name)
        return Matrix(
            in_dim=in_dim,
            out_dim=out_dim,
            values=keep(self.copied, values, np.int8),
            scale=keep(self.copied, self.scales(name, out_dim), np.float32),
            bias=keep(self.copied, bias, np.float32),
            factor=self.factor(name, in_dim),
            least=least,
            most=most,
        )

    def factor(self, name: str, in_dim: int) -> int | None:
        """The address of what a matrix's inputs are multiplied by; None where they are not."""
        if f"{name}.factor" not in self.constants:
            return None
        factor = self.array(f"{name}.factor", 1)
        check(f"{name}.factor", factor, (in_dim,))
        return keep(self.kept, factor, np.float32)

    def input_range(self, name: str) -> tuple[float, float]:
        """The least and the most that a matrix reads, if that was calibrated; else 0 and 0."""
        if f"{name}.input_scale" not in self.constants:
            return 0.0, 0.0
        step, zero = self.array(f"{name}.input_scale", 0), self.array(f"{name}.input_zero", 0)
        if not (step.dtype == np.float32 and 0 < step < np.inf and zero.dtype == np.uint8):
            raise EncoderError(f"{name}.input_scale, input_zero: {step}, {zero} is no range")
        return -float(step) * int(zero), float(step) * (ACTIVATION_LEVELS - int(zero))

    def integers(self, name: str, in_dim: int, out_dim: int) -> NDArray[Any]:
        """An int8 matrix, which may be stored as ``block_codes``."""
        for precision, levels in LEVELS.items():
            stored = f"{name}.{precision.value}"
            if stored in self.constants:
                packed, multipliers = self.array(stored, 2), self.array(f"{name}.multipliers", 2)
                check(stored, packed, (-(-in_dim // levels.packed), out_dim))
                check(f"{name}.multipliers", multipliers, (-(-in_dim // BLOCK), out_dim))
                if packed.dtype != np.uint8 or multipliers.dtype != np.uint8:
                    raise EncoderError(f"{stored}: codes and multipliers must be bytes")
                if multipliers.max(initial=0) > levels.most(reduced=False):
                    raise EncoderError(f"{name}.multipliers: larger than codes allow")
                codes = unpack(packed, in_dim, levels)
                return integers_of(codes, multipliers, levels)
        return self.array(f"{name}.int8", 2)

    def norm(self, name: str, dim: int) -> Norm:
        """Weight and bias of a layer normalization."""
        addresses = {}
        for field in ("weight", "bias"):
            array = self.array(f"{name}.{field}", 1)
            check(f"{name}.{field}", array, (dim,))
            addresses[field] = keep(self.kept, array, np.float32)
        return Norm(**addresses)

    def scales(self, name: str, count: int) -> NDArray[Any]:
        """A scale for each column or row; a single scale is repeated."""
        scale = self.array(f"{name}.scale").ravel()
        if scale.size == 1:
            scale = np.full(count, scale[0], np.float32)
        check(f"{name}.scale", scale, (count,))
        return scale

    def positions(self) -> FloatArray | None:
        """The position table, which is stored in 8 bits beside a 4-bit token table.

        None where the card says that positions are in the attention.
        """
        name = "position_embeddings"
        if self.card.structure.rotary or not self.card.layers:
            return None
        if name in self.constants:
            return self.array(name, 2)
        values = self.array(f"{name}.int8", 2).astype(np.float32) - self.array(f"{name}.zero")
        table: FloatArray = values * self.array(f"{name}.scale")
        return table

    def types(self, embedding_dim: int) -> tuple[int | None, int | None]:
        """The separator, and the address of what tokens behind it get; None without one."""
        if "separator" not in self.constants:
            return None, None
        separator, second_type = self.array("separator", 0), self.array("second_type", 1)
        check("second_type", second_type, (embedding_dim,))
        if separator.dtype != np.int64 or not 0 <= separator < MOST_TOKENS:
            raise EncoderError(f"separator: {separator} is no token")
        return int(separator), keep(self.kept, second_type, np.float32)

    def table_suffix(self) -> str:
        """The end of the token table's name, a key of ``TABLES``."""
        for suffix in TABLES:
            if f"token_embeddings{suffix}" in self.constants:
                return suffix
        raise EncoderError("token_embeddings: not in the graph")

    def array(self, name: str, dimensions: int | None = None) -> NDArray[Any]:
        """A constant of the graph; EncoderError unless it has so many dimensions."""
        array = self.constants.get(name)
        if array is None:
            raise EncoderError(f"{name}: not in the graph")
        if dimensions not in (None, array.ndim):
            raise EncoderError(f"{name}: its shape has {array.ndim} dimensions, not {dimensions}")
        return array


def check(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    """EncoderError unless the array has this shape."""
    if array.shape != shape:
        raise EncoderError(f"{name}: its shape is {array.shape}, not {shape}")


def keep(arrays: list[NDArray[Any]], array: NDArray[Any], dtype: type[np.generic]) -> int:
    """The address of a contiguous ``dtype`` copy, valid as long as ``arrays``, which gets it.

    EncoderError for numbers of another kind, and for such as are not finite.
    """
    if np.dtype(array.dtype).kind != np.dtype(dtype).kind:
        raise EncoderError(f"an array of {array.dtype} where {np.dtype(dtype)} should be")
    if np.dtype(dtype).kind == "f" and not np.isfinite(array).all():
        raise EncoderError("a weight, scale or bias is not a finite number")
    arrays.append(np.ascontiguousarray(array, dtype))
    return address(arrays[-1])


def read_constants(graph: Path) -> Constants:
    """The arrays of an ONNX file by their names; EncoderError if it cannot be read."""
    model = onnx_messages().ModelProto()
    try:
        model.ParseFromString(graph.read_bytes())
        return {tensor.name: to_array(tensor) for tensor in model.graph.initializer}
    except Exception as error:  # protobuf's errors have no common base with numpy's
        raise EncoderError(f"{graph}: not an encoder's graph: {error}") from error


def to_array(tensor: Any) -> NDArray[Any]:
    """An array of ``GraphBuilder``; ValueError for another type, or one that lies elsewhere."""
    dtype = DTYPES.get(tensor.data_type)
    if dtype is None or not tensor.HasField("raw_data"):
        raise ValueError(f"{tensor.name}: no array of a type that is known")
    array: NDArray[Any] = np.frombuffer(tensor.raw_data, dtype)
    return array.reshape(tuple(tensor.dims))


@cache
def onnx_messages() -> Any:
    """Onnx's protobuf messages, without the rest of onnx, which takes half a second to import."""
    found = importlib.util.find_spec("onnx")
    folders = None if found is None else found.submodule_search_locations
    for folder in folders or ():
        path = Path(folder) / f"{MESSAGES}.py"
        spec = importlib.util.spec_from_file_location(f"trimseek_{MESSAGES}", path)
        if path.is_file() and spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return importlib.import_module("onnx")
