"""Query encoders that come with trimseek, aligned to a base model and stored as what differs.

A file has the layers' matrices in int8, as they run, and the token table as a change ``U V`` to
that of the base, U in 4 bits: a few MB. With the base's checkpoint it is a whole encoder again.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from trimseek.atomic import atomic_file
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.quantize import (
    WHOLE_ROW,
    Quantized,
    pack_nibbles,
    quantize_matrix,
    quantize_nibbles,
    quantize_rows,
    unpack_nibbles,
)
from trimseek.encoders.weights import EncoderWeights, FloatArray, Structure, from_arrays
from trimseek.errors import EncoderError

FOLDER = Path(__file__).resolve().parent / "aligned_models"
FORMAT_VERSION = 2
TABLE, UP, DOWN = "token_embeddings", "token_change.up", "token_change.down"


@dataclass(frozen=True)
class Provenance:
    """How an aligned encoder was made: base and its sha256, and ``made`` for people to read.

    ``files``: the sha256 of each file that its training texts came from.
    """

    base: str
    base_sha256: str
    made: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)


def aligned_names() -> list[str]:
    """Names of the encoders in the package."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def save_aligned(
    weights: EncoderWeights, up: FloatArray, down: FloatArray, provenance: Provenance, path: Path
) -> None:
    """Write an encoder whose token table is its base's plus ``up @ down``.

    ``up (vocabulary, rank)``, ``down (rank, embedding_dim)``; the rank is even.
    """
    stored: dict[str, NDArray[Any]] = {}
    arrays = weights.arrays() | {UP: up}
    del arrays[TABLE]
    for name, array in arrays.items():
        if array.ndim == 1 or name.endswith(".distances"):
            stored[name] = array
            continue
        if name == UP:
            values, scale, zero = quantize_nibbles(array, WHOLE_ROW)
            values = pack_nibbles(values)
        elif name == "position_embeddings":
            values, scale, zero = quantize_rows(array)
        else:
            values, scale, zero = quantize_matrix(array)
        stored |= {name: values, f"{name}.scale": scale, f"{name}.zero": zero}
    stored[DOWN] = down
    metadata = {
        "format_version": FORMAT_VERSION,
        "layers": len(weights.layers),
        "head_dim": weights.head_dim,
        "activation": weights.activation,
        "layer_norm_eps": weights.layer_norm_eps,
        "base": provenance.base,
        "base_sha256": provenance.base_sha256,
        "made": provenance.made,
        "files": provenance.files,
    }
    if weights.structure != Structure():
        metadata["structure"] = asdict(weights.structure)
    contiguous = {name: np.ascontiguousarray(array) for name, array in stored.items()}
    with atomic_file(path) as temporary:
        save_file(contiguous, temporary, {"aligned": json.dumps(metadata)})


def read_provenance(path: Path) -> Provenance:
    """How an aligned encoder was made; EncoderError if the file is damaged."""
    with opened(path) as (metadata, _):
        return Provenance(*(metadata[name] for name in ("base", "base_sha256", "made", "files")))


class AlignedParts(NamedTuple):
    """An aligned encoder whose checkpoint has its base's token table, and the change to that.

    ``up (vocabulary, rank)``, ``down (rank, embedding_dim)``.
    """

    checkpoint: Checkpoint
    up: FloatArray
    down: FloatArray

    def whole(self) -> Checkpoint:
        """The checkpoint with its own token table."""
        weights = self.checkpoint.weights
        table = weights.token_embeddings + self.up @ self.down
        return replace(self.checkpoint, weights=replace(weights, token_embeddings=table))


def load_aligned(path: Path, base: Checkpoint) -> Checkpoint:
    """The whole aligned encoder; EncoderError if it is aligned to another base."""
    return aligned_parts(path, base).whole()


def aligned_parts(path: Path, base: Checkpoint) -> AlignedParts:
    """As ``load_aligned``, the change to the token table apart."""
    with opened(path) as (metadata, file):
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata["base_sha256"] != base.sha256:
        raise EncoderError(f"{path}: aligned to another checkpoint than {base.name}")
    arrays = {
        name: read_back(name, stored)
        for name in stored
        if not name.endswith((".scale", ".zero")) and name != DOWN
    }
    up = arrays.pop(UP)
    facts = base.weights.facts()._replace(
        layers=metadata["layers"],
        head_dim=metadata["head_dim"],
        activation=metadata["activation"],
        layer_norm_eps=metadata["layer_norm_eps"],
        structure=Structure(**metadata.get("structure", {})),
    )
    weights = from_arrays(arrays | {TABLE: base.weights.token_embeddings}, facts)
    return AlignedParts(replace(base, weights=weights), up, stored[DOWN])


def read_back(name: str, stored: dict[str, NDArray[Any]]) -> FloatArray:
    """An array of a file as float32, whether it is stored so or in 8 bits."""
    array = stored[name]
    if f"{name}.scale" not in stored:
        return array
    if name == UP:
        array = unpack_nibbles(array)
    return Quantized(array, stored[f"{name}.scale"], stored[f"{name}.zero"]).read_back()


@contextmanager
def opened(path: Path) -> Iterator[tuple[dict[str, Any], Any]]:
    """Metadata and the open file; EncoderError if it is damaged or of another version."""
    try:
        with safe_open(path, framework="np") as file:
            metadata: dict[str, Any] = json.loads(file.metadata()["aligned"])
            version = metadata["format_version"]
            if version != FORMAT_VERSION:
                raise EncoderError(f"{path}: format version {version} is not readable")
            yield metadata, file
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"{path}: not an aligned encoder: {error}; install anew") from error
