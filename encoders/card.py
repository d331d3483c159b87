"""encoder.json: what an encoder is, and how the files beside it are stored."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.weights import Structure, read_facts
from trimseek.errors import EncoderError
from trimseek.formats import checked, read_versioned

CARD = "encoder.json"
TOKENIZER = "tokenizer.json"
WEIGHTS = "weights.safetensors"
GRAPH = "model.onnx"
QUERY_TOWER = "query"  # a folder
TEXT_TOWER = "text"  # a folder
STATIC = "static"  # architecture of encoders without layers
HEAD = "head.safetensors"  # of a cross-encoder
FORMAT_VERSION = 3
CODES_VERSION = 4  # of encoders whose matrices are stored as block_codes
INPUTS_VERSION = 5  # of encoders whose matrices' inputs were calibrated
READABLE_VERSIONS = (2, 3, 4, 5)


LARGEST_SIZE = 2**16  # of anything in a layer, so that sums of products stay within 32 bits
MOST_LAYERS = 256
LONGEST_PROMPT = 4096  # characters
Size = Annotated[int, Field(ge=1, le=LARGEST_SIZE)]


@dataclass(frozen=True)
class LayerShape:
    """Heads and neurons kept in one layer."""

    heads: Size
    neurons: Size


@dataclass(frozen=True)
class EncoderCard:
    """encoder.json.

    ``space``: encoders with the same space give comparable vectors. ``activation``: as Hugging Face
    calls it. ``positions``: rows of the graph's position table, so that no text may have more
    tokens. ``prompts`` has the keys "query" and "document". ``recipe``: the steps that made the
    encoder from its base. ``sha256``: of each file beside encoder.json. ``measured``: results of a
    benchmark by name. ``truncate_dim``: vectors are the first so many dimensions; None for all
    ``dim``. ``cross_encoder``: it reads pairs of texts, and ``HEAD`` makes scores of its vectors.
    ``structure``: in what the layers differ from BERT's. ``projected_dim``: of a vector behind the
    transforms, where these change it; ``dim`` is a token's. ``left_out``: the token that counts as
    none. ``query_tower``: queries have an encoder of their own, in ``QUERY_TOWER``. ``items``: of a
    recommender: its documents are items, known by their ids. ``histories``: what it reads are
    histories, ids of items, one a line, the latest last. ``text_tower``: items that it does not
    know, and queries that are texts, have an encoder of texts, in ``TEXT_TOWER``. A static encoder
    has no layers.
    """

    name: str
    space: str
    base: str
    base_sha256: str
    architecture: str
    dim: Size
    layers: Annotated[tuple[LayerShape, ...], Field(max_length=MOST_LAYERS)]
    head_dim: Size
    activation: str
    layer_norm_eps: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
    positions: Size
    pooling: Pooling
    normalize: bool
    max_tokens: Size
    prompts: dict[str, Annotated[str, Field(max_length=LONGEST_PROMPT)]]
    quantization: Quantization
    recipe: tuple[str, ...]
    sha256: dict[str, str]
    measured: dict[str, float] = field(default_factory=dict)
    truncate_dim: Size | None = None
    cross_encoder: bool = False
    structure: Structure = field(default_factory=Structure)
    projected_dim: Size | None = None
    left_out: Annotated[int, Field(ge=0)] | None = None
    query_tower: bool = False
    items: bool = False
    histories: bool = False
    text_tower: bool = False
    format_version: int = FORMAT_VERSION

    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def vector_dim(self) -> int:
        """The size of a vector."""
        return self.truncate_dim or self.projected_dim or self.dim

    @property
    def precision(self) -> Precision:
        """The number format of the matrix products."""
        return self.quantization.matrices


def described(shapes: Sequence[LayerShape]) -> str:
    """Heads and neurons of the layers in words, once if all layers have the same."""
    if not shapes:
        return "a static encoder, the mean of its tokens' vectors"
    if len(set(shapes)) == 1:
        return f"{shapes[0].heads} heads and {shapes[0].neurons} neurons in each layer"
    pairs = ", ".join(f"{shape.heads}/{shape.neurons}" for shape in shapes)
    return f"heads/neurons {pairs}"


def space_id(
    base_sha256: str, pooling: Pooling, *, normalize: bool, truncate_dim: int | None = None
) -> str:
    """The id of the embedding space of a base checkpoint: 16 hexadecimal digits."""
    text = f"{base_sha256} {pooling.value} {'unit' if normalize else 'raw'}"
    if truncate_dim is not None:
        text += f" {truncate_dim}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_card(card: EncoderCard, path: Path) -> None:
    """Write encoder.json."""
    path.write_text(json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_card(path: Path) -> EncoderCard:
    """Read encoder.json; EncoderError if it is damaged or of an unknown version.

    Version 2 lacked four fields; they are then read from the weights beside it.
    """
    fields = read_versioned(path, READABLE_VERSIONS, EncoderError)
    if fields["format_version"] == 2:
        fields |= missing_fields(path, fields) | {"format_version": FORMAT_VERSION}
    card = checked(EncoderCard, fields, path, EncoderError)
    if card.quantization.codes and card.format_version < CODES_VERSION:
        raise EncoderError(
            f"{path}: {card.precision.value} as an earlier trimseek stored it; make it anew"
        )
    if not card.layers and card.architecture != STATIC:
        raise EncoderError(f"{path}: damaged: no layers; make it anew")
    widest = max((shape.heads for shape in card.layers), default=0) * card.head_dim
    if widest > LARGEST_SIZE:
        raise EncoderError(f"{path}: damaged: heads of {widest} dimensions together; make it anew")
    for name in ("rotary", "windows"):
        count = len(getattr(card.structure, name))
        if count not in (0, len(card.layers)):
            raise EncoderError(f"{path}: damaged: {name} of {count} layers; make it anew")
    if card.structure.rotary and card.head_dim % 2:
        raise EncoderError(f"{path}: damaged: rotary heads of odd size; make it anew")
    if card.vector_dim > (card.projected_dim or card.dim):
        raise EncoderError(
            f"{path}: damaged: truncate_dim is {card.truncate_dim} of "
            f"{card.projected_dim or card.dim}; make it anew"
        )
    if card.max_tokens > card.positions:
        raise EncoderError(
            f"{path}: damaged: max_tokens is {card.max_tokens}, and there are {card.positions} "
            "positions; make it anew"
        )
    return card


def missing_fields(path: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields that a card of version 2 lacks; EncoderError if the weights are damaged."""
    facts = read_facts(path.with_name(WEIGHTS))
    return {
        "head_dim": facts.head_dim,
        "activation": facts.activation,
        "layer_norm_eps": facts.layer_norm_eps,
        "positions": min(facts.positions, fields["max_tokens"])
        if isinstance(fields.get("max_tokens"), int)
        else facts.positions,
    }
