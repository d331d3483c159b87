"""Choose the layers to keep, and let them do what those did that are left out behind them.

Those are kept without which the vectors of calibration text move least. A layer ends with a matrix
W that is multiplied by the FFN's neurons and added to its input. Where layers behind it are left
out, W is refitted (``obs``) so that the sum comes near the sum at the end of the last of them, and
that one's norm takes the place of its own: a linear map for whole layers, which takes no time
(ReplaceMe, Shopkhoev et al. 2025).
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch

from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.calibration import (
    Ids,
    check_enough,
    cosine_loss,
    embeddings,
    first_states,
    probes,
    through,
)
from trimseek.encoders.shrink.module import EncoderModule, LayerModule
from trimseek.encoders.shrink.obs import inputs_and_targets, pose, refit
from trimseek.encoders.shrink.unit_kinds import HEADS, NEURONS
from trimseek.encoders.weights import EncoderWeights
from trimseek.errors import EncoderError

MOST_TRIED = 100  # combinations; if there are more, layers are dropped one by one


def keep_layers(weights: EncoderWeights, layers: Iterable[int]) -> EncoderWeights:
    """The encoder with these layers alone; EncoderError if there are none or one does not exist."""
    numbers = sorted(set(layers))
    count = len(weights.layers)
    if not numbers or numbers[0] < 0 or numbers[-1] >= count:
        raise EncoderError(f"layers {numbers}: the encoder has layers 0 to {count - 1}; keep some")
    return replace(weights, layers=tuple(weights.layers[i] for i in numbers))


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


@torch.inference_mode()
def fold_layers(
    weights: EncoderWeights, kept: Iterable[int], texts: Sequence[Ids]
) -> EncoderWeights:
    """The encoder with these layers alone, which do what those did that are left out behind them.

    Layers before the first gap stay as they are; each behind it is fitted to what the new ones
    before it give. ``texts``: token ids of calibration texts. EncoderError for layers that do not
    exist or too little text; OutOfTimeError when a ``time_limit`` passes.
    """
    numbers = sorted(set(kept))
    remaining = keep_layers(weights, numbers).layers
    check_enough(texts)
    module = EncoderModule(weights, Pooling.MEAN, normalize=False).eval()
    originals = states = first_states(module, texts)
    layers, done = [], 0
    ends = [*numbers[1:], len(weights.layers)]
    for position, (layer, end) in enumerate(zip(remaining, ends, strict=True)):
        originals = through(module.stack[done : end - 1], originals)
        _, _, read = HEADS.forward(module.stack[end - 1], originals)
        _, sums, originals = NEURONS.forward(module.stack[end - 1], read)
        done = end
        if end == position + 1:  # nothing is left out yet
            layers.append(layer)
            states = originals
            continue
        current = LayerModule(layer, weights).eval()
        _, _, read = HEADS.forward(current, states)
        outputs = [NEURONS.outputs(current, batch) for batch in read]
        problem = pose(inputs_and_targets(read, outputs, sums), layer.output, 1)
        layer = replace(layer, output=refit(problem, range(problem.units)))
        if not weights.pre_norm:
            layer = replace(layer, output_norm=weights.layers[end - 1].output_norm)
        states = through([LayerModule(layer, weights).eval()], states)
        layers.append(layer)
    return replace(weights, layers=tuple(layers))
