"""encoder.json: what an encoder folder is, and the formats of its files."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from encoders.pooling import Pooling
from encoders.quantize import Precision, Quantization
from trimseek.errors import EncoderError
from trimseek.formats import read_versioned

FORMAT_VERSION = 2


@dataclass(frozen=True)
class LayerShape:
    """Heads and neurons kept in one layer."""

    heads: int
    neurons: int


@dataclass(frozen=True)
class EncoderCard:
    """encoder.json.

    ``space``: encoders with the same one give comparable vectors. ``prompts`` has the keys
    "query" and "document". ``recipe``: the steps that made the encoder from its base.
    ``sha256``: of each file beside encoder.json. ``measured``: what a benchmark said of it.
    """

    name: str
    space: str
    base: str
    base_sha256: str
    architecture: str
    dim: int
    layers: tuple[LayerShape, ...]
    pooling: Pooling
    normalize: bool
    max_tokens: int
    prompts: dict[str, str]
    quantization: Quantization
    recipe: tuple[str, ...]
    sha256: dict[str, str]
    measured: dict[str, float] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    @property
    def precision(self) -> Precision:
        """Of the matrix products."""
        return self.quantization.matrices


def described(shapes: Sequence[LayerShape]) -> str:
    """Heads and neurons, once if all layers have the same."""
    words = [f"{shape.heads} heads and {shape.neurons} neurons" for shape in shapes]
    if len(set(words)) == 1:
        return f"{words[0]} in each layer"
    pairs = ", ".join(f"{shape.heads}/{shape.neurons}" for shape in shapes)
    return f"heads/neurons {pairs}"


def space_id(base_sha256: str, pooling: Pooling, *, normalize: bool) -> str:
    """The id of the embedding space of a base checkpoint: 16 hexadecimal digits."""
    text = f"{base_sha256} {pooling.value} {'unit' if normalize else 'raw'}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write_card(card: EncoderCard, path: Path) -> None:
    path.write_text(json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n", "utf-8")


def read_card(path: Path) -> EncoderCard:
    """Read encoder.json; EncoderError if it is damaged or newer than this version."""
    fields = read_versioned(path, FORMAT_VERSION, EncoderError)
    try:
        fields["layers"] = tuple(LayerShape(**layer) for layer in fields["layers"])
        fields["pooling"] = Pooling(fields["pooling"])
        fields["quantization"] = read_quantization(fields["quantization"])
        fields["recipe"] = tuple(fields["recipe"])
        return EncoderCard(**fields)
    except (KeyError, ValueError, TypeError) as error:
        raise EncoderError(f"{path}: damaged: {error}") from error


def read_quantization(fields: dict[str, Any]) -> Quantization:
    precisions = {name: Precision(fields[name]) for name in ("matrices", "table")}
    return Quantization(**(fields | precisions | {"kept": tuple(fields["kept"])}))
