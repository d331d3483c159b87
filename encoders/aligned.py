"""Query encoders that come with trimseek, aligned to a base model and stored as what differs.

A file has the layers' matrices in int8, as they run, and the token table as a change ``U V`` to
that of the base, U in int8: a few MB. With the base's checkpoint it is a whole encoder again.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from trimseek.atomic import atomic_file
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.quantize import Quantized, quantize_matrix, quantize_rows
from trimseek.encoders.weights import EncoderWeights, FloatArray, from_arrays
from trimseek.errors import EncoderError

FOLDER = Path(__file__).resolve().parent / "aligned_models"
FORMAT_VERSION = 1
TABLE, UP, DOWN = "token_embeddings", "token_change.up", "token_change.down"


@dataclass(frozen=True)
class Provenance:
    """How an aligned encoder was made: base and its sha256, and ``made`` for people to read."""

    base: str
    base_sha256: str
    made: dict[str, str]


class TokenChange(NamedTuple):
    """What is added to the base's token table: ``up (vocabulary, rank) @ down (rank, dim)``."""

    up: FloatArray
    down: FloatArray


class Aligned(NamedTuple):
    """The aligned encoder with its base's token table, and the change of that table."""

    checkpoint: Checkpoint
    change: TokenChange
    provenance: Provenance


def aligned_names() -> list[str]:
    """Names of the encoders in the package."""
    return sorted(path.stem for path in FOLDER.glob("*.safetensors"))


def save_aligned(
    weights: EncoderWeights, up: FloatArray, down: FloatArray, provenance: Provenance, path: Path
) -> None:
    """Write an encoder whose token table is its base's plus ``up @ down``.

    ``up (vocabulary, rank)``, ``down (rank, embedding_dim)``.
    """
    stored: dict[str, NDArray[Any]] = {}
    arrays = weights.arrays() | {UP: up}
    del arrays[TABLE]
    for name, array in arrays.items():
        if array.ndim == 1:
            stored[name] = array
            continue
        by_row = name in (UP, "position_embeddings")
        values, scale, zero = quantize_rows(array) if by_row else quantize_matrix(array)
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
    }
    contiguous = {name: np.ascontiguousarray(array) for name, array in stored.items()}
    with atomic_file(path) as temporary:
        save_file(contiguous, temporary, {"aligned": json.dumps(metadata)})


def read_provenance(path: Path) -> Provenance:
    """How an aligned encoder was made; EncoderError if the file is damaged."""
    return provenance(read_file(path)[0])


def provenance(metadata: dict[str, Any]) -> Provenance:
    """Provenance from the metadata of a file."""
    return Provenance(metadata["base"], metadata["base_sha256"], metadata["made"])


def load_aligned(path: Path, base: Checkpoint) -> Checkpoint:
    """The whole aligned encoder; EncoderError if it is aligned to another base."""
    checkpoint, (up, down), _ = read_aligned(path, base)
    table = checkpoint.weights.token_embeddings + up @ down
    return replace(checkpoint, weights=replace(checkpoint.weights, token_embeddings=table))


def read_aligned(path: Path, base: Checkpoint) -> Aligned:
    """An aligned encoder in its parts; EncoderError if it is aligned to another base."""
    metadata, stored = read_file(path)
    if metadata["base_sha256"] != base.sha256:
        raise EncoderError(f"{path}: aligned to another checkpoint than {base.name}")
    arrays = {
        name: read_back(name, stored)
        for name in stored
        if not name.endswith((".scale", ".zero")) and name != DOWN
    }
    change = TokenChange(arrays.pop(UP), stored[DOWN])
    weights = from_arrays(
        arrays | {TABLE: base.weights.token_embeddings},
        layers=metadata["layers"],
        head_dim=metadata["head_dim"],
        activation=metadata["activation"],
        layer_norm_eps=metadata["layer_norm_eps"],
    )
    return Aligned(replace(base, weights=weights), change, provenance(metadata))


def read_back(name: str, stored: dict[str, NDArray[Any]]) -> FloatArray:
    """An array of a file as float32, whether it is stored so or in 8 bits."""
    array = stored[name]
    if f"{name}.scale" not in stored:
        return array
    return Quantized(array, stored[f"{name}.scale"], stored[f"{name}.zero"]).read_back()


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Metadata and arrays of a file; EncoderError if it is damaged or of another version."""
    try:
        with safe_open(path, framework="np") as file:
            metadata: dict[str, Any] = json.loads(file.metadata()["aligned"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise EncoderError(f"{path}: not an aligned encoder: {error}; install anew") from error
    if metadata["format_version"] != FORMAT_VERSION:
        raise EncoderError(f"{path}: format version {metadata['format_version']} is not readable")
    return metadata, arrays
