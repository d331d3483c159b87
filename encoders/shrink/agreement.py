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


class Agreement:
    """How near vectors come to the teacher's, on held-out texts by their domains.

    The teacher's own neighbours are found once.
    """

    def __init__(self, held_out: Mapping[str, TrainingTexts]) -> None:
        self.held_out = held_out
        self._neighbours = {
            domain: neighbours(np.asarray(texts.vectors, np.float32), texts)
            for domain, texts in held_out.items()
        }

    def measure(
        self, vectors_of: Callable[[Sequence[Ids]], FloatArray]
    ) -> tuple[float, float, dict[str, float]]:
        """Mean cosine, share of common neighbours, and the cosine of each domain.

        The first two are means over the domains. ``vectors_of``: vectors ``(n, dim)`` of texts.
        The neighbours of a vector are the ``OVERLAP`` nearest of the bank.
        """
        cosines, overlaps = {}, []
        for domain, texts in self.held_out.items():
            vectors, teacher = vectors_of(texts.ids), np.asarray(texts.vectors, np.float32)
            cosine = (vectors * teacher).sum(1) / np.linalg.norm(vectors, axis=1)
            cosine /= np.linalg.norm(teacher, axis=1)
            cosines[domain] = float(cosine.mean())
            both = zip(self._neighbours[domain], neighbours(vectors, texts), strict=True)
            shared = [len(set(expected) & set(actual)) / OVERLAP for expected, actual in both]
            overlaps.append(float(np.mean(shared)))
        return float(np.mean(list(cosines.values()))), float(np.mean(overlaps)), cosines


def neighbours(vectors: FloatArray, texts: TrainingTexts) -> NDArray[np.int64]:
    """Positions in the bank of the nearest to each vector, ``(n, OVERLAP)``, in any order."""
    scores = vectors @ np.asarray(texts.bank, np.float32).T
    return np.argpartition(-scores, OVERLAP, axis=1)[:, :OVERLAP]


def encode(module: EncoderModule, texts: Sequence[Ids], device: str = "cpu") -> FloatArray:
    """Vectors ``(n, dim) float32`` of tokenized texts, in batches of similar length."""
    vectors: FloatArray = np.empty((len(texts), module.origin.vector_dim), np.float32)
    was_training = module.training
    module.eval()
    with torch.inference_mode():
        for batch in token_batches([len(ids) for ids in texts], BATCH_TOKENS):
            ids, mask = padded([texts[i] for i in batch], device)
            vectors[batch] = module(ids, mask).float().cpu().numpy()
    module.train(was_training)
    return vectors
