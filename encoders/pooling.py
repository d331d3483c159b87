"""How token vectors become one vector: sentence-transformers' pooling modes that we support."""

from enum import Enum


class Pooling(str, Enum):
    """``mean`` over the tokens that are not padding, the first token (``cls``), or ``max``."""

    MEAN = "mean"
    CLS = "cls"
    MAX = "max"
