"""How token vectors become one vector: sentence-transformers' pooling modes that we support."""

from enum import Enum

import numpy as np

from trimseek.encoders.weights import FloatArray


class Pooling(str, Enum):
    """Of the tokens that are not padding: the mean, the first or the last, or the largest numbers.

    ``mean_sqrt_len``: the sum divided by the square root of their count. ``weightedmean``: the mean
    with the weights 1, 2, 3 ... (Muennighoff 2022).
    """

    MEAN = "mean"
    CLS = "cls"
    MAX = "max"
    MEAN_SQRT = "mean_sqrt_len"
    WEIGHTED = "weightedmean"
    LAST = "lasttoken"


def pooled_states(states: FloatArray, pooling: Pooling) -> FloatArray:
    """One text's token vectors ``(tokens, dim)`` as one ``(dim,)``."""
    places = np.arange(1, len(states) + 1, dtype=np.float32)
    found: FloatArray = {
        Pooling.MEAN: lambda: states.mean(0),
        Pooling.CLS: lambda: states[0],
        Pooling.MAX: lambda: states.max(0),
        Pooling.MEAN_SQRT: lambda: states.sum(0) / np.float32(len(states) ** 0.5),
        Pooling.WEIGHTED: lambda: places @ states / places.sum(),
        Pooling.LAST: lambda: states[-1],
    }[pooling]()
    return found
