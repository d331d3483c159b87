"""The weights of a BERT-style encoder as plain arrays, whatever family they came from.

Every layer has its own number of heads and neurons, so that a pruned encoder is no special case.
Matrices are stored ``(in, out)``: a layer computes ``x @ weight + bias``.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save_file

from trimseek.errors import EncoderError, StorageError

FloatArray = NDArray[np.float32]


class Linear(NamedTuple):
    """``x @ weight + bias``: weight ``(in, out)``, bias ``(out,)``, float32."""

    weight: FloatArray
    bias: FloatArray


class LayerNorm(NamedTuple):
    """Scale and shift of a layer normalization, each ``(dim,)`` float32."""

    weight: FloatArray
    bias: FloatArray


@dataclass(frozen=True)
class LayerWeights:
    """One post-norm transformer layer (Vaswani et al. 2017; Devlin et al. 2019).

    query, key, value: ``(dim, heads * head_dim)``; attention_output: ``(heads * head_dim, dim)``;
    intermediate: ``(dim, neurons)``; output: ``(neurons, dim)``.
    """

    query: Linear
    key: Linear
    value: Linear
    attention_output: Linear
    attention_norm: LayerNorm
    intermediate: Linear
    output: Linear
    output_norm: LayerNorm

    @property
    def neurons(self) -> int:
        """FFN neurons."""
        return int(self.intermediate.weight.shape[1])


LAYER_PARTS = tuple(field.name for field in fields(LayerWeights))


@dataclass(frozen=True)
class EncoderWeights:
    """A whole encoder, from token ids to token vectors; pooling is not part of the weights.

    token_embeddings ``(vocabulary, embedding_dim)``; position_embeddings
    ``(max_tokens, embedding_dim)``, where row 0 is the first token's whatever the family's own
    offset was; token_type_embeddings ``(types, embedding_dim)`` or None; embedding_projection
    ``(embedding_dim, dim)`` where ELECTRA's embeddings are narrower than its layers. ``separator``:
    the token behind which tokens are of type 1, in a cross-encoder; None: all are of type 0.
    """

    token_embeddings: FloatArray
    position_embeddings: FloatArray
    token_type_embeddings: FloatArray | None
    embedding_norm: LayerNorm
    embedding_projection: Linear | None
    layers: tuple[LayerWeights, ...]
    head_dim: int
    activation: str
    layer_norm_eps: float
    separator: int | None = None

    @property
    def dim(self) -> int:
        """Size of a token's vector between layers."""
        return int(self.layers[0].output.weight.shape[1])

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
        flat |= named("embedding_norm", self.embedding_norm)
        if self.embedding_projection is not None:
            flat |= named("embedding_projection", self.embedding_projection)
        for i, layer in enumerate(self.layers):
            for name in LAYER_PARTS:
                flat |= named(f"layers.{i}.{name}", getattr(layer, name))
        return flat


class WeightsFacts(NamedTuple):
    """What a weights file says of an encoder beside its arrays, and the rows of its positions."""

    layers: int
    head_dim: int
    activation: str
    layer_norm_eps: float
    positions: int
    separator: int | None


def named(name: str, pair: Linear | LayerNorm) -> dict[str, FloatArray]:
    """The two arrays under the dotted names ``name.weight`` and ``name.bias``."""
    return {f"{name}.weight": pair.weight, f"{name}.bias": pair.bias}


def save_weights(weights: EncoderWeights, path: Path) -> None:
    """Write a safetensors file, with the numbers beside the arrays in its metadata.

    StorageError if the disk is full.
    """
    metadata = {
        "head_dim": str(weights.head_dim),
        "activation": weights.activation,
        "layer_norm_eps": repr(weights.layer_norm_eps),
        "layers": str(len(weights.layers)),
    }
    if weights.separator is not None:
        metadata["separator"] = str(weights.separator)
    arrays = {name: np.ascontiguousarray(array) for name, array in weights.arrays().items()}
    try:
        save_file(arrays, path, metadata)
    except SafetensorError as error:
        raise StorageError(f"{path}: cannot write: {error}") from error


def load_weights(path: Path) -> EncoderWeights:
    """Read what ``save_weights`` wrote; EncoderError if the file is damaged or incomplete."""
    facts = read_facts(path)
    try:
        return from_arrays(
            load_file(path),
            layers=facts.layers,
            head_dim=facts.head_dim,
            activation=facts.activation,
            layer_norm_eps=facts.layer_norm_eps,
            separator=facts.separator,
        )
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise EncoderError(f"{path}: not an encoder's weights: {error}") from error


def read_facts(path: Path) -> WeightsFacts:
    """Read the header of a weights file alone; EncoderError if it is damaged."""
    try:
        with safe_open(path, framework="np") as file:
            metadata = file.metadata()
            positions, _ = file.get_slice("position_embeddings").get_shape()
        return WeightsFacts(
            layers=int(metadata["layers"]),
            head_dim=int(metadata["head_dim"]),
            activation=metadata["activation"],
            layer_norm_eps=float(metadata["layer_norm_eps"]),
            positions=int(positions),
            separator=int(metadata["separator"]) if "separator" in metadata else None,
        )
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"{path}: not an encoder's weights: {error}") from error


def from_arrays(
    arrays: dict[str, FloatArray],
    *,
    layers: int,
    head_dim: int,
    activation: str,
    layer_norm_eps: float,
    separator: int | None = None,
) -> EncoderWeights:
    """The encoder whose ``arrays()`` these are; KeyError if one is missing."""

    def linear(name: str) -> Linear:
        return Linear(arrays[f"{name}.weight"], arrays[f"{name}.bias"])

    def norm(name: str) -> LayerNorm:
        return LayerNorm(arrays[f"{name}.weight"], arrays[f"{name}.bias"])

    def layer(name: str) -> LayerWeights:
        return LayerWeights(
            query=linear(f"{name}.query"),
            key=linear(f"{name}.key"),
            value=linear(f"{name}.value"),
            attention_output=linear(f"{name}.attention_output"),
            attention_norm=norm(f"{name}.attention_norm"),
            intermediate=linear(f"{name}.intermediate"),
            output=linear(f"{name}.output"),
            output_norm=norm(f"{name}.output_norm"),
        )

    projected = "embedding_projection.weight" in arrays
    return EncoderWeights(
        token_embeddings=arrays["token_embeddings"],
        position_embeddings=arrays["position_embeddings"],
        token_type_embeddings=arrays.get("token_type_embeddings"),
        embedding_norm=norm("embedding_norm"),
        embedding_projection=linear("embedding_projection") if projected else None,
        layers=tuple(layer(f"layers.{i}") for i in range(layers)),
        head_dim=head_dim,
        activation=activation,
        layer_norm_eps=layer_norm_eps,
        separator=separator,
    )
