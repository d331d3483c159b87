"""How token vectors become one vector: sentence-transformers' pooling modes that we support."""

from enum import Enum


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
