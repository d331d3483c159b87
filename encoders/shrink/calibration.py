"""Calibration: inputs and outputs of an encoder's layers on a user's own text."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from trimseek.encoders.batches import token_batches
from trimseek.encoders.shrink.module import EncoderModule, LayerModule
from trimseek.errors import EncoderError
from trimseek.time_limit import check_time

BATCH_TOKENS = 4096
FEWEST_TEXTS = 32
FEWEST_TOKENS = 2048
PROBED_TOKENS = 8192  # about, in the texts of ``probes``

Ids = list[int]  # the token ids of one text


class States(NamedTuple):
    """A batch between two layers: ``x (batch, tokens, dim)``, and ``mask``, true for real tokens.

    The mask is None where there is no padding.
    """

    x: Tensor
    mask: Tensor | None

    def real(self, values: Tensor) -> Tensor:
        """``(batch, tokens, ...)`` without padding, ``(real tokens, ...)``."""
        return values.flatten(0, 1) if self.mask is None else values[self.mask]


def is_enough(texts: Sequence[Ids]) -> bool:
    """Whether there is text enough to calibrate on."""
    return len(texts) >= FEWEST_TEXTS and sum(map(len, texts)) >= FEWEST_TOKENS


def check_enough(texts: Sequence[Ids]) -> None:
    """EncoderError if there is too little text to calibrate on."""
    tokens = sum(map(len, texts))
    if not is_enough(texts):
        raise EncoderError(
            f"{len(texts)} calibration texts of {tokens:,} tokens in all are too few; give at "
            f"least {FEWEST_TEXTS} texts and {FEWEST_TOKENS:,} tokens (512 texts are good)"
        )


def batches(texts: Sequence[Ids], budget: int = BATCH_TOKENS) -> list[tuple[Tensor, Tensor | None]]:
    """Ids and mask of texts, as ``padded``, in batches of similar length."""
    positions = token_batches([len(ids) for ids in texts], budget)
    return [padded([texts[i] for i in batch]) for batch in positions]


def padded(texts: Sequence[Ids], device: str = "cpu") -> tuple[Tensor, Tensor | None]:
    """Ids and mask ``(batch, longest)``; no mask if all texts have the same length."""
    longest = max(map(len, texts))
    batch = torch.tensor([ids + [0] * (longest - len(ids)) for ids in texts], device=device)
    if longest * len(texts) == sum(map(len, texts)):
        return batch, None
    lengths = torch.tensor([len(ids) for ids in texts], device=device)
    return batch, torch.arange(longest, device=device) < lengths[:, None]


@torch.inference_mode()
def first_states(module: EncoderModule, texts: Sequence[Ids]) -> list[States]:
    """The first layer's input, in the order of ``batches``."""
    return [States(module.embed(ids), mask) for ids, mask in batches(texts)]


@torch.inference_mode()
def onwards(
    module: EncoderModule, states: Sequence[States], layers: Sequence[LayerModule]
) -> Tensor:
    """Vectors ``(n, dim)`` of states that go through these layers and are then pooled.

    OutOfTimeError when a ``time_limit`` passes.
    """
    vectors = []
    for x, mask in states:
        check_time()
        vectors.append(module.onwards(x, mask, layers))
    return torch.cat(vectors)


@torch.inference_mode()
def through(layers: Sequence[LayerModule], states: Sequence[States]) -> list[States]:
    """The states behind layers; raises as ``onwards``."""
    for layer in layers:
        check_time()
        states = [States(layer(x, mask), mask) for x, mask in states]
    return list(states)


def embeddings(module: EncoderModule, texts: Sequence[Ids]) -> Tensor:
    """Vectors ``(n, dim)`` of texts, in the order of ``batches``; raises as ``onwards``."""
    return onwards(module, first_states(module, texts), module.stack)


def probes(texts: Sequence[Ids]) -> list[Ids]:
    """A sample of the texts, evenly spread, for measurements that encode them many times."""
    mean = sum(map(len, texts)) / len(texts)
    count = min(len(texts), max(FEWEST_TEXTS, round(PROBED_TOKENS / mean)))
    return [texts[i * len(texts) // count] for i in range(count)]


def cosine_loss(vectors: Tensor, originals: Tensor) -> float:
    """Mean of 1 - cosine over the rows of two ``(n, dim)``."""
    return float(1 - functional.cosine_similarity(vectors, originals).mean())
