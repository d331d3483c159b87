"""What a student learns from: texts, the teacher's vectors of them, and candidates near those."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.cached import embed_with
from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.encoders.shrink.calibration import Ids
from trimseek.encoders.tokens import TextTokenizer
from trimseek.errors import EncoderError

PROBES = 8  # lists of the IVF index that a search looks into
TRAINED_ON = 39  # vectors for each list that FAISS wants to train an IVF index
SEARCHED = 16_384  # vectors that are searched at a time
SAME_TEXT = 0.9999  # cosine from which on a neighbour is the vector itself
LARGEST_BANK = 100_000  # vectors
HELD_OUT = 0.01  # share of the texts
MOST_HELD_OUT = 2000
FEWEST = 1000  # texts


class TrainingTexts(NamedTuple):
    """Token ids of each text, and the teacher's vectors ``(n, dim)`` float16 or float32.

    ``bank (candidates, dim)``: the teacher's vectors of candidates. ``near (n, neighbours)``:
    positions in the bank of the candidates nearest to each text.
    """

    ids: Sequence[Ids]
    vectors: NDArray[np.floating]
    bank: NDArray[np.floating]
    near: NDArray[np.int32]


class Lessons(NamedTuple):
    """The texts to train on, and those that are held out for validation, by their domains."""

    training: TrainingTexts
    held_out: dict[str, TrainingTexts]


def teach(
    teacher: Path,
    texts: Sequence[str],
    role: str,
    *,
    neighbours: int,
    held_out: Mapping[str, Sequence[str]] | None = None,
    tokenizer: TextTokenizer | None = None,
    seed: int = 0,
) -> Lessons:
    """Lessons from a teacher's vectors, which are cached; duplicate texts are left out.

    ``teacher``: an encoder folder. ``role``: "query" or "document". ``held_out``: texts for
    validation by domain; by default some of the texts, as one domain. ``tokenizer``: the student's,
    where it is not the teacher's. EncoderError if there are fewer than ``FEWEST`` texts.
    """
    texts = list(dict.fromkeys(texts))
    if len(texts) < FEWEST:
        raise EncoderError(
            f"{len(texts)} texts are too few to align on; give at least {FEWEST:,} "
            "(100,000 are good)"
        )
    generator = np.random.default_rng(seed)
    if held_out is None:
        order = generator.permutation(len(texts))
        apart = min(MOST_HELD_OUT, int(HELD_OUT * len(texts)))
        held_out = {"held out": [texts[i] for i in order[:apart]]}
        texts = [texts[i] for i in order[apart:]]
    encoder = (QueryEncoder if role == "query" else DocumentEncoder)(teacher)
    vectors = embed_with(encoder, texts, "teacher's vectors").astype(np.float16)
    bank = vectors[generator.permutation(len(texts))[:LARGEST_BANK]]

    def taught(texts: Sequence[str], vectors: NDArray[np.floating]) -> TrainingTexts:
        ids = [text.ids for text in (tokenizer or encoder.tokenizer).encode(texts)]
        return TrainingTexts(ids, vectors, bank, nearest(vectors, bank, neighbours))

    return Lessons(
        taught(texts, vectors),
        {
            domain: taught(own, embed_with(encoder, own, f"held out, {domain}").astype(np.float16))
            for domain, own in held_out.items()
        },
    )


def nearest(vectors: NDArray[np.floating], bank: NDArray[np.floating], k: int) -> NDArray[np.int32]:
    """Positions in the bank ``(n, k)`` of the nearest of each vector, the vector itself left out.

    The search is approximate (IVF).
    """
    dim = bank.shape[1]
    lists = max(1, min(int(len(bank) ** 0.5), len(bank) // TRAINED_ON))
    index: Any = faiss.index_factory(dim, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.nprobe = PROBES
    full = np.asarray(bank, np.float32)
    index.train(full[:: max(1, len(full) // (2 * TRAINED_ON * lists))])
    index.add(full)
    nearest_k = np.empty((len(vectors), k), np.int32)
    for start in range(0, len(vectors), SEARCHED):
        scores, near = index.search(
            np.asarray(vectors[start : start + SEARCHED], np.float32), k + 1
        )
        first_is_itself = scores[:, :1] > SAME_TEXT
        nearest_k[start : start + SEARCHED] = np.where(first_is_itself, near[:, 1:], near[:, :-1])
    return np.where(nearest_k < 0, 0, nearest_k)


def length_batches(
    lengths: Sequence[int], size: int, seed: int, first: int = 0, tokens: int | None = None
) -> Iterator[NDArray[np.int64]]:
    """Positions of texts in batches of similar length, endlessly; every epoch is shuffled anew.

    A batch has ``size`` texts, or fewer if it would have more than ``tokens`` tokens. ``first``:
    the number of the batch to begin with, as if those before it had been taken.
    """
    text_lengths = np.asarray(lengths)
    bounds = batch_bounds(np.sort(text_lengths), size, tokens)
    count = len(bounds) - 1
    epoch, position = divmod(first, count)
    while True:
        generator = np.random.default_rng([seed, epoch])
        order = np.lexsort((generator.random(len(text_lengths)), text_lengths))
        for i in generator.permutation(count)[position:]:
            yield order[bounds[i] : bounds[i + 1]]
        epoch, position = epoch + 1, 0


def batch_bounds(ordered: NDArray[np.int64], size: int, tokens: int | None) -> list[int]:
    """Where batches begin in texts ordered by length; the last bound is where they end."""
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
