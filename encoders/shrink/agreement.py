"""How near a student's vectors are to its teacher's, on held-out texts."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from trimseek.encoders.batches import token_batches
from trimseek.encoders.shrink.calibration import Ids, padded
from trimseek.encoders.shrink.lessons import TrainingTexts
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.weights import FloatArray

OVERLAP = 10  # nearest neighbours that are compared
BATCH_TOKENS = 8192


def agreement(vectors: FloatArray, texts: TrainingTexts) -> tuple[float, float]:
    """Mean cosine of ``(n, dim)`` vectors to the teacher's, and share of common neighbours.

    The neighbours are the ``OVERLAP`` nearest of the bank to a vector.
    """
    teacher = np.asarray(texts.vectors, np.float32)
    bank = np.asarray(texts.bank, np.float32)
    neighbours = zip(top(teacher @ bank.T), top(vectors @ bank.T), strict=True)
    overlaps = [len(set(expected) & set(actual)) / len(expected) for expected, actual in neighbours]
    cosine = (vectors * teacher).sum(1) / np.linalg.norm(vectors, axis=1)
    cosine /= np.linalg.norm(teacher, axis=1)
    return float(cosine.mean()), float(np.mean(overlaps))


def agreement_by_domain(
    vectors_of: Callable[[Sequence[Ids]], FloatArray], held_out: Mapping[str, TrainingTexts]
) -> tuple[float, float, dict[str, float]]:
    """``agreement`` as the mean over domains, and each domain's cosine."""
    found = {domain: agreement(vectors_of(texts.ids), texts) for domain, texts in held_out.items()}
    cosine, overlap = (float(np.mean(values)) for values in zip(*found.values(), strict=True))
    return cosine, overlap, {domain: values[0] for domain, values in found.items()}


def encode(module: EncoderModule, texts: Sequence[Ids], device: str = "cpu") -> FloatArray:
    """Vectors ``(n, dim) float32`` of tokenized texts, in batches of similar length."""
    vectors: FloatArray = np.empty((len(texts), module.origin.dim), np.float32)
    was_training = module.training
    module.eval()
    with torch.inference_mode():
        for batch in token_batches([len(ids) for ids in texts], BATCH_TOKENS):
            ids, mask = padded([texts[i] for i in batch], device)
            vectors[batch] = module(ids, mask).float().cpu().numpy()
    module.train(was_training)
    return vectors


def top(scores: FloatArray) -> NDArray[np.int64]:
    """Columns of the ``OVERLAP`` highest scores of each row, in any order."""
    return np.argpartition(-scores, OVERLAP, axis=1)[:, :OVERLAP]
