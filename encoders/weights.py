"""The weights of a BERT-style encoder as plain arrays, whatever family they came from.

Every layer has its own number of heads and neurons, so that a pruned encoder is no special case.
Matrices are stored ``(in, out)``: a layer computes ``x @ weight + bias``.
"""

import json
import math
from collections.abc import Container, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from trimseek.errors import EncoderError, StorageError

FloatArray = NDArray[np.float32]


class Linear(NamedTuple):
    """``x @ weight + bias``: weight ``(in, out)``, bias ``(out,)``, float32."""

    weight: FloatArray
    bias: FloatArray


class Dense(NamedTuple):
    """A projection behind pooling: ``activation(x @ weight + bias)``, arrays as in ``Linear``."""

    weight: FloatArray
    bias: FloatArray
    activation: str


class LayerNorm(NamedTuple):
    """Scale and shift of a layer normalization, each ``(dim,)`` float32."""

    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class LayerWeights:
    """One transformer layer (Vaswani et al. 2017; Devlin et al. 2019).

    query, key, value: ``(dim, heads * head_dim)``; attention_output: ``(heads * head_dim, dim)``;
    intermediate: ``(dim, neurons)``, or ``(dim, 2 neurons)`` where the FFN is gated, what is
    activated first; output: ``(neurons, dim)``. ``attention_norm`` is None where the first layer of
    a pre-norm encoder has none.

    ``distances (buckets, heads)``: added to scores by the distance of query and key (``buckets``).
    ``rotary``: the base theta of the angles by which queries and keys are turned (Su et al. 2021);
    0: not at all. ``window``: how many tokens attention reaches on each side; 0: all.
    """

    query: Linear
    key: Linear
    value: Linear
    attention_output: Linear
    attention_norm: LayerNorm | None
    intermediate: Linear
    output: Linear
    output_norm: LayerNorm
    distances: FloatArray | None = None
    rotary: float = 0.0
    window: int = 0

    @property
    def neurons(self) -> int:
        """FFN neurons."""
        return len(self.output.weight)


LAYER_NORM = "layer_norm"
RANGE, SMOOTH = ".range", ".smooth"
OF_INPUTS = (RANGE, SMOOTH)  # ends of names in ``EncoderWeights.inputs``
LAYER_PARTS = (
    *("query", "key", "value", "attention_output", "attention_norm"),
    *("intermediate", "output", "output_norm"),
)


@dataclass(frozen=True)
class Structure:
    """In what the layers differ from BERT's, beside their sizes.

    ``pre_norm``: norms stand before attention and FFN, and one behind all layers, not behind sums.
    ``gated``: the FFN multiplies its activated first half by its second (Shazeer 2020).
    ``distances``: scores have a bias by distance. ``transforms``: what comes behind pooling, a
    projection's activation or ``LAYER_NORM``. ``causal``: attention reaches no token behind.
    ``rotary``, ``windows``: of each layer, as in ``LayerWeights``; empty where no layer has one.
    """

    pre_norm: bool = False
    gated: bool = False
    distances: bool = False
    transforms: tuple[str, ...] = ()
    causal: bool = False
    rotary: tuple[Annotated[float, Field(ge=0, le=1e12)], ...] = ()
    windows: tuple[Annotated[int, Field(ge=0, le=2**20)], ...] = ()


@dataclass(frozen=True)
class EncoderWeights:
    """A whole encoder, from token ids to token vectors; pooling is not part of the weights.

    A static encoder has no layers and no ``embedding_norm``: pooling takes the table's rows.

    token_embeddings ``(vocabulary, embedding_dim)``; position_embeddings
    ``(max_tokens, embedding_dim)``, where row 0 is the first token's whatever the family's own
    offset was, or None where attention alone knows positions; token_type_embeddings
    ``(types, embedding_dim)`` or None; embedding_projection ``(embedding_dim, dim)`` where
    ELECTRA's embeddings are narrower than its layers. ``separator``: the token behind which tokens
    are of type 1, in a cross-encoder; None: all are of type 0. ``longest``: how many tokens a text
    may have where there is no table of positions. ``reach``: the distance from which on all
    distances are in the last bucket. ``pre_norm``, ``gated`` and ``causal`` as in ``Structure``;
    ``final_norm`` where it is pre-norm. ``transforms``: what comes behind pooling, in order.
    ``inputs``: of what int8 matrices read, where it was calibrated (``shrink.input_ranges``):
    ``layers.0.qkv.range (2,)``, the least and the most that is told apart; and
    ``layers.0.qkv.smooth (in,)``, by which each number is divided, and its row multiplied.
    """

    token_embeddings: FloatArray
    position_embeddings: FloatArray | None
    token_type_embeddings: FloatArray | None
    embedding_norm: LayerNorm | None
    embedding_projection: Linear | None
    layers: tuple[LayerWeights, ...]
    head_dim: int
    activation: str
    layer_norm_eps: float
    separator: int | None = None
    final_norm: LayerNorm | None = None
    pre_norm: bool = False
    gated: bool = False
    longest: int = 0
    reach: int = 0
    transforms: tuple[Dense | LayerNorm, ...] = ()
    causal: bool = False
    inputs: Mapping[str, FloatArray] = field(default_factory=dict)

    @property
    def vector_dim(self) -> int:
        """Size of a text's vector."""
        return len(self.transforms[-1].bias) if self.transforms else self.dim

    @property
    def positions(self) -> int:
        """How many tokens a text may have."""
        return self.longest if self.position_embeddings is None else len(self.position_embeddings)

    @property
    def structure(self) -> Structure:
        """In what the layers differ from BERT's."""
        rotary = tuple(layer.rotary for layer in self.layers)
        windows = tuple(layer.window for layer in self.layers)
        return Structure(
            self.pre_norm,
            self.gated,
            any(layer.distances is not None for layer in self.layers),
            tuple(
                LAYER_NORM if isinstance(each, LayerNorm) else each.activation
                for each in self.transforms
            ),
            self.causal,
            rotary if any(rotary) else (),
            windows if any(windows) else (),
        )

    @property
    def dim(self) -> int:
        """Size of a token's vector between layers."""
        if self.layers:
            return int(self.layers[0].output.weight.shape[1])
        return int(self.token_embeddings.shape[1])

    @property
    def heads(self) -> tuple[int, ...]:
        """Attention heads in each layer."""
        return tuple(layer.query.weight.shape[1] // self.head_dim for layer in self.layers)

    @property
    def neurons(self) -> tuple[int, ...]:
        """FFN neurons in each layer."""
        return tuple(layer.neurons for layer in self.layers)

    def arrays(self) -> dict[str, FloatArray]:
        """Every array under a dotted name: ``layers.0.query.weight``."""
        flat: dict[str, FloatArray] = {}
        for name in ("token_embeddings", "position_embeddings", "token_type_embeddings"):
            if (array := getattr(self, name)) is not None:
                flat[name] = array
        if self.embedding_norm is not None:
            flat |= named("embedding_norm", self.embedding_norm)
        if self.embedding_projection is not None:
            flat |= named("embedding_projection", self.embedding_projection)
        for i, layer in enumerate(self.layers):
            for name in LAYER_PARTS:
                if (part := getattr(layer, name)) is not None:
                    flat |= named(f"layers.{i}.{name}", part)
            if layer.distances is not None:
                flat[f"layers.{i}.distances"] = layer.distances
        if self.final_norm is not None:
            flat |= named("final_norm", self.final_norm)
        for i, transform in enumerate(self.transforms):
            flat |= named(f"transforms.{i}", transform)
        return {**flat, **self.inputs}

    def facts(self) -> "WeightsFacts":
        """What a file says of the encoder beside its arrays."""
        return WeightsFacts(
            layers=len(self.layers),
            head_dim=self.head_dim,
            activation=self.activation,
            layer_norm_eps=self.layer_norm_eps,
            positions=self.positions,
            separator=self.separator,
            reach=self.reach,
            structure=self.structure,
        )


class WeightsFacts(NamedTuple):
    """What a weights file says of an encoder beside its arrays; fields as in ``EncoderWeights``."""

    layers: int
    head_dim: int
    activation: str
    layer_norm_eps: float
    positions: int
    separator: int | None = None
    reach: int = 0
    structure: Structure = Structure()


def named(name: str, pair: Linear | LayerNorm | Dense) -> dict[str, FloatArray]:
    """The two arrays under the dotted names ``name.weight`` and ``name.bias``."""
    return {f"{name}.weight": pair.weight, f"{name}.bias": pair.bias}


def save_weights(weights: EncoderWeights, path: Path) -> None:
    """Write a safetensors file, with the numbers beside the arrays in its metadata.

    StorageError if the disk is full.
    """
    facts = weights.facts()
    metadata = {
        "head_dim": str(facts.head_dim),
        "activation": facts.activation,
        "layer_norm_eps": repr(facts.layer_norm_eps),
        "layers": str(facts.layers),
    }
    if facts.separator is not None:
        metadata["separator"] = str(facts.separator)
    if facts.structure != Structure() or weights.position_embeddings is None:
        metadata["positions"], metadata["reach"] = str(facts.positions), str(facts.reach)
        metadata["structure"] = json.dumps(asdict(facts.structure))
    arrays = {name: np.ascontiguousarray(array) for name, array in weights.arrays().items()}
    try:
        save_file(arrays, path, metadata)
    except SafetensorError as error:
        raise StorageError(f"{path}: cannot write: {error}") from error


def load_weights(path: Path) -> EncoderWeights:
    """Read what ``save_weights`` wrote; EncoderError if the file is damaged or incomplete."""
    facts = read_facts(path)
    try:
        return from_arrays(load_file(path), facts)
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise EncoderError(f"{path}: not an encoder's weights: {error}") from error


def read_facts(path: Path) -> WeightsFacts:
    """Read the header of a weights file alone; EncoderError if it is damaged."""
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata()
            if "positions" in metadata:
                positions = metadata["positions"]
            else:
                positions, _ = file.get_slice("position_embeddings").get_shape()
        structure = Structure()
        if "structure" in metadata:
            structure = TypeAdapter(Structure).validate_json(metadata["structure"])
        return WeightsFacts(
            layers=int(metadata["layers"]),
            head_dim=int(metadata["head_dim"]),
            activation=metadata["activation"],
            layer_norm_eps=float(metadata["layer_norm_eps"]),
            positions=int(positions),
            separator=int(metadata["separator"]) if "separator" in metadata else None,
            reach=int(metadata.get("reach", 0)),
            structure=structure,
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"{path}: not an encoder's weights: {error}") from error


def starts_plain(structure: Structure, layer: str, arrays: Container[str]) -> bool:
    """Whether a layer has no norm before its attention, as ModernBERT's first; ``layers.0``."""
    return structure.pre_norm and f"{layer}.attention_norm.weight" not in arrays


def from_arrays(arrays: dict[str, FloatArray], facts: WeightsFacts) -> EncoderWeights:
    """The encoder whose ``arrays()`` and ``facts()`` these are; KeyError if one is missing."""
    structure = facts.structure

    def linear(name: str) -> Linear:
        return Linear(arrays[f"{name}.weight"], arrays[f"{name}.bias"])

    def norm(name: str) -> LayerNorm:
        return LayerNorm(arrays[f"{name}.weight"], arrays[f"{name}.bias"])

    def layer(i: int) -> LayerWeights:
        name = f"layers.{i}"
        plain = starts_plain(structure, name, arrays)
        return LayerWeights(
            query=linear(f"{name}.query"),
            key=linear(f"{name}.key"),
            value=linear(f"{name}.value"),
            attention_output=linear(f"{name}.attention_output"),
            attention_norm=None if plain else norm(f"{name}.attention_norm"),
            intermediate=linear(f"{name}.intermediate"),
            output=linear(f"{name}.output"),
            output_norm=norm(f"{name}.output_norm"),
            distances=arrays[f"{name}.distances"] if structure.distances else None,
            rotary=structure.rotary[i] if structure.rotary else 0.0,
            window=structure.windows[i] if structure.windows else 0,
        )

    def transform(i: int, kind: str) -> Dense | LayerNorm:
        if kind == LAYER_NORM:
            return norm(f"transforms.{i}")
        return Dense(*linear(f"transforms.{i}"), kind)

    projected = "embedding_projection.weight" in arrays
    has_positions = facts.layers > 0 and not structure.rotary
    return EncoderWeights(
        token_embeddings=arrays["token_embeddings"],
        position_embeddings=arrays["position_embeddings"] if has_positions else None,
        token_type_embeddings=arrays.get("token_type_embeddings"),
        embedding_norm=norm("embedding_norm") if facts.layers else None,
        embedding_projection=linear("embedding_projection") if projected else None,
        layers=tuple(map(layer, range(facts.layers))),
        head_dim=facts.head_dim,
        activation=facts.activation,
        layer_norm_eps=facts.layer_norm_eps,
        separator=facts.separator,
        final_norm=norm("final_norm") if structure.pre_norm else None,
        pre_norm=structure.pre_norm,
        gated=structure.gated,
        longest=0 if has_positions else facts.positions,
        reach=facts.reach,
        transforms=tuple(transform(i, kind) for i, kind in enumerate(structure.transforms)),
        causal=structure.causal,
        inputs={name: array for name, array in arrays.items() if name.endswith(OF_INPUTS)},
    )


def static_weights(table: FloatArray, longest: int) -> EncoderWeights:
    """A static encoder's: its table ``(vocabulary, dim)``, for texts of so many tokens."""
    return EncoderWeights(
        token_embeddings=np.ascontiguousarray(table),
        position_embeddings=None,
        token_type_embeddings=None,
        embedding_norm=None,
        embedding_projection=None,
        layers=(),
        head_dim=1,
        activation="gelu",
        layer_norm_eps=1e-12,
        longest=longest,
    )


def bucket_of(distances: NDArray[np.int64], buckets: int, reach: int) -> NDArray[np.int64]:
    """The buckets of distances, a key's position less its query's (Raffel et al. 2020).

    Half of the buckets are for keys behind the query. Of each half, one half has a bucket for each
    distance, and the other half logarithmically more, up to ``reach``.
    """
    half = buckets // 2
    exact = half // 2
    size = np.abs(distances)
    # in float32, as torch has it: borders would lie elsewhere
    share = np.log(np.maximum(size, 1).astype(np.float32) / np.float32(exact))
    share = share / np.float32(math.log(reach / exact)) * np.float32(half - exact)
    far = np.minimum(exact + share.astype(np.int64), half - 1)
    return np.where(distances > 0, half, 0) + np.where(size < exact, size, far)


def distance_table(layer: LayerWeights, positions: int, reach: int) -> FloatArray:
    """What each head adds to scores, ``(heads, 2 positions - 1)``: for -(positions - 1) first."""
    if layer.distances is None:
        raise ValueError("a layer without a bias by distance")
    span = np.arange(1 - positions, positions)
    table: FloatArray = layer.distances[bucket_of(span, len(layer.distances), reach)].T
    return np.ascontiguousarray(table)


def rotary_tables(theta: float, head_dim: int, positions: int) -> tuple[FloatArray, FloatArray]:
    """Cosines and sines ``(positions, head_dim / 2)`` float32 of rotary positions."""
    # in float32, as torch has it
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies = np.float32(1.0) / np.power(np.float32(theta), exponents, dtype=np.float32)
    angles = np.arange(positions, dtype=np.float32)[:, None] * frequencies
    return np.cos(angles), np.sin(angles)
