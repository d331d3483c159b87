"""A linear map of a cheap encoder's document vectors towards those of the full encoder.

Both encoders embed a sample of the corpus, as ``X`` and ``Y (passages, dim)``. The map is ridge
regression towards the identity (Hoerl & Kennard 1970), which a small sample leaves nearly as it is:

    W = argmin |X W - Y|^2 + lambda |W - I|^2 = (X'X + lambda I)^-1 (X'Y + lambda I)

Vectors ``x W`` are scaled to unit length again. Lambda is the one with the best cosine where each
half of the sample is mapped by what the other half gave; this cosine is what is reported.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trimseek.encoders.card import EncoderCard
from trimseek.encoders.transforms import unit
from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError, IndexFolderError
from trimseek.indexer.store import Store

SETTING = "vector_map"
SAMPLE = 2000  # passages
FEWEST = 200
RIDGES = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)  # lambda
NEIGHBOURS = 10


@dataclass(frozen=True)
class VectorMap:
    """``matrix (dim, dim) float32``."""

    matrix: FloatArray

    def apply(self, vectors: FloatArray) -> FloatArray:
        """Mapped vectors ``(n, dim)`` of unit length."""
        return unit(vectors @ self.matrix)


class Fit(NamedTuple):
    """A map and what it brings, on passages that it was not fitted on.

    ``cosine_before``, ``cosine_after``: mean cosine to the full encoder's vectors.
    ``overlap_before``, ``overlap_after``: mean share of the 10 nearest of the sample that the full
    encoder finds for its own vectors as queries. ``passages``: in the sample.
    """

    map: VectorMap
    cosine_before: float
    cosine_after: float
    overlap_before: float
    overlap_after: float
    passages: int

    def __str__(self) -> str:
        return (
            f"fitted on {self.passages:,} passages; of those held out, cosine "
            f"{self.cosine_before:.3f} -> {self.cosine_after:.3f}, 10 nearest in common "
            f"{self.overlap_before:.1%} -> {self.overlap_after:.1%}"
        )


def check_mappable(cheap: EncoderCard, full: EncoderCard) -> None:
    """ConfigError unless the vectors of both are of one space, and of unit length."""
    if cheap.space != full.space:
        raise ConfigError(
            f"--map-to: {full.name} is of space {full.space}, the index's encoder of {cheap.space}"
        )
    if not cheap.normalize:
        raise ConfigError(f"--map-to: the vectors of {cheap.name} have no unit length")


def fit_map(cheap: FloatArray, full: FloatArray) -> Fit:
    """Fit on vectors ``(passages, dim)`` of unit length, of the same passages by both encoders.

    ConfigError if they are fewer than ``FEWEST``.
    """
    count = len(cheap)
    if count < FEWEST:
        raise ConfigError(
            f"{count} passages are too few to fit a map on (at least {FEWEST}); leave out --map-to"
        )
    halves = np.arange(count) % 2 == 0

    def crossed(ridge: float) -> FloatArray:
        """Each half mapped by what the other half gave."""
        mapped = np.empty_like(cheap)
        for half in (halves, ~halves):
            mapped[half] = unit(cheap[half] @ solved(cheap[~half], full[~half], ridge))
        return mapped

    candidates = [(ridge, crossed(ridge)) for ridge in RIDGES]
    ridge, mapped = max(candidates, key=lambda each: cosine(each[1], full))
    return Fit(
        # twice the passages, so that the ridge weighs as much in the whole as in a half
        VectorMap(solved(cheap, full, 2 * ridge)),
        cosine(cheap, full),
        cosine(mapped, full),
        overlap(cheap, full),
        overlap(mapped, full),
        count,
    )


def solved(cheap: FloatArray, full: FloatArray, ridge: float) -> FloatArray:
    """The formula at the top of this file."""
    towards = ridge * np.eye(cheap.shape[1])
    wide, target = cheap.astype(np.float64), full.astype(np.float64)
    solution = np.linalg.solve(wide.T @ wide + towards, wide.T @ target + towards)
    return np.ascontiguousarray(solution, np.float32)


def cosine(vectors: FloatArray, full: FloatArray) -> float:
    """Mean cosine of vectors of unit length."""
    return float((vectors * full).sum(1).mean())


def overlap(vectors: FloatArray, full: FloatArray) -> float:
    """Mean share of each full vector's nearest among the full ones that is there among vectors."""
    nearest = min(NEIGHBOURS, len(full) - 1)
    found = []
    for stored in (vectors, full):
        scores = full @ stored.T
        np.fill_diagonal(scores, -np.inf)
        found.append(np.argpartition(-scores, nearest - 1, axis=1)[:, :nearest])
    shared = [len(set(ours) & set(theirs)) for ours, theirs in zip(*found, strict=True)]
    return float(np.mean(shared)) / nearest


def store_map(store: Store, vector_map: VectorMap) -> None:
    """Keep the map in the index; inside a transaction."""
    matrix = np.ascontiguousarray(vector_map.matrix, "<f4")
    store.set_setting(SETTING, base64.b64encode(matrix.tobytes()).decode())


def stored_map(store: Store, dim: int) -> VectorMap | None:
    """The index's map, None if it has none; IndexFolderError if it is damaged."""
    setting: str = store.setting(SETTING, "")
    if not setting:
        return None
    try:
        data = base64.b64decode(setting, validate=True)
        matrix = np.frombuffer(data, "<f4").reshape(dim, dim).astype(np.float32)
        if not np.isfinite(matrix).all():
            raise ValueError("its numbers are not finite")
    except (ValueError, binascii.Error) as error:
        raise IndexFolderError(
            f"{store.path}: its map of vectors is damaged ({error}); restore it from a backup"
        ) from error
    return VectorMap(matrix)
