"""Calibration: what an encoder's layers see and give on a user's own text."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from encoders.batches import token_batches
from encoders.shrink.module import EncoderModule, LayerModule
from trimseek.errors import EncoderError
from trimseek.time_limit import check_time

BATCH_TOKENS = 4096
FEWEST_TEXTS = 32
FEWEST_TOKENS = 2048
PROBED_TOKENS = 8192  # about

Ids = list[int]


class States(NamedTuple):
    """A batch between two layers: ``x (batch, tokens, dim)``, and which tokens are real."""

    x: Tensor
    mask: Tensor | None

    def real(self, values: Tensor) -> Tensor:
        """``(batch, tokens, ...)`` without padding, ``(real tokens, ...)``."""
        return values.flatten(0, 1) if self.mask is None else values[self.mask]


def check_enough(texts: Sequence[Ids]) -> None:
    """EncoderError if there is too little text to calibrate on."""
    tokens = sum(map(len, texts))
    if len(texts) < FEWEST_TEXTS or tokens < FEWEST_TOKENS:
        raise EncoderError(
            f"{len(texts)} calibration texts of {tokens:,} tokens in all are too few; give at "
            f"least {FEWEST_TEXTS} texts and {FEWEST_TOKENS:,} tokens (512 texts are good)"
        )


def batches(texts: Sequence[Ids], budget: int = BATCH_TOKENS) -> list[tuple[Tensor, Tensor | None]]:
    """Ids and mask of texts in batches of similar length."""
    found = token_batches([len(each) for each in texts], budget)
    return [padded([texts[i] for i in batch]) for batch in found]


def padded(texts: Sequence[Ids], device: str = "cpu") -> tuple[Tensor, Tensor | None]:
    """Ids ``(batch, longest)`` and which are real; no mask where all texts are as long."""
    longest = max(map(len, texts))
    ids = torch.tensor([each + [0] * (longest - len(each)) for each in texts], device=device)
    if longest * len(texts) == sum(map(len, texts)):
        return ids, None
    lengths = torch.tensor([len(each) for each in texts], device=device)
    return ids, torch.arange(longest, device=device) < lengths[:, None]


@torch.inference_mode()
def first_states(module: EncoderModule, texts: Sequence[Ids]) -> list[States]:
    """What goes into the first layer."""
    return [States(module.embed(ids), mask) for ids, mask in batches(texts)]


@torch.inference_mode()
def onwards(
    module: EncoderModule, states: Sequence[States], layers: Sequence[LayerModule]
) -> Tensor:
    """Vectors ``(n, dim)`` of what goes into the first of these layers and then is pooled.

    OutOfTimeError as ``time_limit`` says.
    """
    found = []
    for x, mask in states:
        check_time()
        found.append(module.onwards(x, mask, layers))
    return torch.cat(found)


def embeddings(module: EncoderModule, texts: Sequence[Ids]) -> Tensor:
    """Vectors ``(n, dim)``, in the order of ``batches``; as ``onwards``."""
    return onwards(module, first_states(module, texts), module.stack)


def probes(texts: Sequence[Ids]) -> list[Ids]:
    """Some of the texts, from first to last, for what is encoded many times."""
    mean = sum(map(len, texts)) / len(texts)
    count = min(len(texts), max(FEWEST_TEXTS, round(PROBED_TOKENS / mean)))
    return [texts[i * len(texts) // count] for i in range(count)]


def cosine_loss(ours: Tensor, theirs: Tensor) -> float:
    """Mean of 1 - cosine over rows."""
    return float(1 - functional.cosine_similarity(ours, theirs).mean())
