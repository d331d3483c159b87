"""The head of a cross-encoder: from the first token's vector to one score.

score = activation(x dense + b) out + c, as BertPooler and BertForSequenceClassification have it
(Devlin et al. 2019; Nogueira & Cho 2019 for passages); other families name the parts otherwise.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from trimseek.encoders.activations import activated
from trimseek.encoders.weights import FloatArray, Linear, named
from trimseek.errors import EncoderError, StorageError

ACTIVATIONS = ("tanh", "relu", "gelu")


class ScoreHead(NamedTuple):
    """``dense (dim, hidden)``, one of ``ACTIVATIONS``, ``out (hidden, 1)``; float32."""

    dense: Linear
    activation: str
    out: Linear

    def scores(self, vectors: FloatArray) -> FloatArray:
        """Scores ``(n,) float32`` (logits) of vectors ``(n, dim)``; the same in any batch."""
        # one by one: the sums of a product of matrices depend on how many rows there are
        products = np.array([vector @ self.dense.weight for vector in vectors], np.float32)
        hidden = activated(
            products.reshape(-1, len(self.dense.bias)) + self.dense.bias, self.activation
        )
        scores: FloatArray = (hidden * self.out.weight[:, 0]).sum(axis=1) + self.out.bias
        return scores


def save_head(head: ScoreHead, path: Path) -> None:
    """Write a safetensors file; StorageError if the disk is full."""
    arrays = named("dense", head.dense) | named("out", head.out)
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    try:
        save_file(contiguous, path, {"activation": head.activation})
    except SafetensorError as error:
        raise StorageError(f"{path}: cannot write: {error}") from error


def load_head(path: Path, dim: int) -> ScoreHead:
    """Read what ``save_head`` wrote, of an encoder of that dimension; EncoderError."""
    try:
        with safe_open(path, framework="np") as file:
            activation = (file.metadata() or {}).get("activation", "")
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        dense, out = (
            Linear(arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in ("dense", "out")
        )
    except (SafetensorError, OSError, KeyError, TypeError) as error:
        raise EncoderError(f"{path}: not a cross-encoder's head: {error}") from error
    head = ScoreHead(dense, activation, out)
    problem = head_problem(head, dim)
    if problem:
        raise EncoderError(f"{path}: damaged: {problem}; make or fetch the cross-encoder anew")
    return head


def head_problem(head: ScoreHead, dim: int) -> str | None:
    """What is wrong with a head for vectors of that dimension; None if nothing is."""
    if head.activation not in ACTIVATIONS:
        return f"unknown activation {head.activation!a:.40}"
    hidden = head.dense.bias.shape[0] if head.dense.bias.ndim == 1 else -1
    shapes = [array.shape for pair in (head.dense, head.out) for array in pair]
    if shapes != [(dim, hidden), (hidden,), (hidden, 1), (1,)]:
        return f"arrays of the shapes {shapes} for vectors of {dim} dimensions"
    arrays = (*head.dense, *head.out)
    if any(array.dtype != np.float32 or not np.isfinite(array).all() for array in arrays):
        return "a weight is not a finite float32 number"
    return None
