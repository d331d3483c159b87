"""What a student learns from: texts, the teacher's vectors of them, and what lies near those."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from encoders.cached import embed_with
from encoders.encoder import DocumentEncoder, QueryEncoder
from encoders.shrink.calibration import Ids
from trimseek.errors import EncoderError

PROBES = 8
TRAINED_ON = 39  # vectors for each list that FAISS asks for
SEARCHED = 16_384  # vectors at a time
ITSELF = 0.9999  # cosine
LARGEST_BANK = 100_000
HELD_OUT = 0.01
MOST_HELD_OUT = 2000
FEWEST = 1000  # texts


class TrainingTexts(NamedTuple):
    """Token ids of each text, and the teacher's vectors ``(n, dim)`` float16 or float32.

    ``bank``: the teacher's vectors of candidates; ``near``: positions in it ``(n, neighbours)``.
    """

    ids: Sequence[Ids]
    vectors: NDArray[np.floating]
    bank: NDArray[np.floating]
    near: NDArray[np.int32]


class Lessons(NamedTuple):
    """What is trained on, and what is kept apart to see how it goes."""

    training: TrainingTexts
    held_out: TrainingTexts


def teach(
    teacher: Path, texts: Sequence[str], role: str, *, neighbours: int, seed: int = 0
) -> Lessons:
    """The teacher's vectors of texts, computed once and cached, and candidates near each.

    ``teacher``: an encoder folder. ``role``: "query" or "document". EncoderError if the texts
    are too few to train on.
    """
    texts = list(dict.fromkeys(texts))
    if len(texts) < FEWEST:
        raise EncoderError(
            f"{len(texts)} texts are too few to align on; give at least {FEWEST:,} "
            "(100,000 are good)"
        )
    encoder = (QueryEncoder if role == "query" else DocumentEncoder)(teacher)
    vectors = embed_with(encoder, texts, "teacher's vectors").astype(np.float16)
    ids = [text.ids for text in encoder.tokenizer.encode(texts)]
    chosen = np.random.default_rng(seed)
    bank = vectors[chosen.permutation(len(texts))[:LARGEST_BANK]]
    near = nearest(vectors, bank, neighbours)
    order = chosen.permutation(len(texts))
    apart = min(MOST_HELD_OUT, int(HELD_OUT * len(texts)))

    def some(positions: NDArray[np.int64]) -> TrainingTexts:
        return TrainingTexts([ids[i] for i in positions], vectors[positions], bank, near[positions])

    return Lessons(some(order[apart:]), some(order[:apart]))


def nearest(vectors: NDArray[np.floating], bank: NDArray[np.floating], k: int) -> NDArray[np.int32]:
    """Positions in the bank of the ``k`` nearest of each vector, the vector itself left out."""
    dim = bank.shape[1]
    lists = max(1, min(int(len(bank) ** 0.5), len(bank) // TRAINED_ON))
    index: Any = faiss.index_factory(dim, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.nprobe = PROBES
    full = np.asarray(bank, np.float32)
    index.train(full[:: max(1, len(full) // (2 * TRAINED_ON * lists))])
    index.add(full)
    found = np.empty((len(vectors), k), np.int32)
    for start in range(0, len(vectors), SEARCHED):
        scores, near = index.search(
            np.asarray(vectors[start : start + SEARCHED], np.float32), k + 1
        )
        own = scores[:, :1] > ITSELF
        found[start : start + SEARCHED] = np.where(own, near[:, 1:], near[:, :-1])
    return np.where(found < 0, 0, found)


def length_batches(
    lengths: Sequence[int], size: int, seed: int, first: int = 0, tokens: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Positions in batches of equal length as far as possible, shuffled anew each time around.

    Endless. ``first``: the number of the batch to begin with, as if the others had been taken.
    ``size`` texts each, fewer where they would have more than so many ``tokens``.
    """
    known = np.asarray(lengths)
    bounds = batch_bounds(np.sort(known), size, tokens)
    count = len(bounds) - 1
    epoch, position = divmod(first, count)
    while True:
        chosen = np.random.default_rng([seed, epoch])
        order = np.lexsort((chosen.random(len(known)), known))
        for i in chosen.permutation(count)[position:]:
            yield order[bounds[i] : bounds[i + 1]]
        epoch, position = epoch + 1, 0


def batch_bounds(ordered: NDArray[np.int64], size: int, tokens: int | None) -> list[int]:
    """Where batches begin in texts ordered by length, and at last where they end."""
    bounds = [0]
    while bounds[-1] < len(ordered):
        start = bounds[-1]
        end = min(start + size, len(ordered))
        if tokens is not None:
            fitting = np.searchsorted(
                ordered[start:end] * np.arange(1, end - start + 1), tokens, "right"
            )
            end = start + max(1, int(fitting))
        bounds.append(end)
    return bounds
