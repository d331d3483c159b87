"""Choose the layers to keep: dropping the others moves the vectors of calibration text least."""

import itertools
import math
from collections.abc import Iterable, Sequence

from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.calibration import Ids, check_enough, cosine_loss, embeddings, probes
from trimseek.encoders.shrink.cut import keep_layers
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.weights import EncoderWeights
from trimseek.errors import EncoderError

MOST_TRIED = 100  # combinations; if there are more, layers are dropped one by one


def best_layers(
    weights: EncoderWeights, count: int, texts: Sequence[Ids], pooling: Pooling, *, normalize: bool
) -> tuple[int, ...]:
    """The ``count`` layers whose vectors have the highest mean cosine to the whole encoder's.

    EncoderError if the encoder has fewer layers or there is too little text.
    """
    total = len(weights.layers)
    if not 1 <= count <= total:
        raise EncoderError(f"cannot keep {count} layers; the encoder has {total}")
    check_enough(texts)
    probed = probes(texts)
    vectors = embeddings(EncoderModule(weights, pooling, normalize=normalize).eval(), probed)

    def loss(kept: tuple[int, ...]) -> float:
        module = EncoderModule(keep_layers(weights, kept), pooling, normalize=normalize).eval()
        return cosine_loss(embeddings(module, probed), vectors)

    if math.comb(total, count) <= MOST_TRIED:
        return min(itertools.combinations(range(total), count), key=loss)
    kept = tuple(range(total))
    while len(kept) > count:
        kept = min(without_each(kept), key=loss)
    return kept


def without_each(kept: tuple[int, ...]) -> Iterable[tuple[int, ...]]:
    """All tuples that lack one of the numbers."""
    return (kept[:i] + kept[i + 1 :] for i in range(len(kept)))
