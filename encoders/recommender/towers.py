"""A recommender as an encoder of two towers: a table of items, and a transformer over histories.

The vector of a history is that of its last token, and the score of an item its product with the
item's vector: SASRec (Kang & McAuley 2018), whose attention reaches back only, and BERT4Rec (Sun et
al. 2019), whose attention reaches both ways and which reads a mask behind the history. Layers are
BERT's: post-norm, GELU. The table of tokens is that of the items (tied).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from trimseek.encoders.card import STATIC
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.folder import space_of
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.recommender.items import SPECIAL, item_tokenizer
from trimseek.encoders.weights import (
    EncoderWeights,
    FloatArray,
    LayerNorm,
    LayerWeights,
    Linear,
    static_weights,
)
from trimseek.errors import ConfigError

DEVIATION = 0.02  # of random weights, as BERT's
EPSILON = 1e-12
MOST_TOKENS = 2**24  # that the kernels take


class Kind(str, Enum):
    """Which model: SASRec reads a history from its beginning, BERT4Rec both ways."""

    SASREC = "sasrec"
    BERT4REC = "bert4rec"


@dataclass(frozen=True)
class Shape:
    """Of the transformer; ``length``: how many items of a history it reads, the latest."""

    kind: Kind = Kind.SASREC
    dim: int = 64
    layers: int = 2
    heads: int = 2
    length: int = 50

    @property
    def masked(self) -> bool:
        """Whether a mask stands behind each history."""
        return self.kind is Kind.BERT4REC


def new_weights(shape: Shape, items: int, seed: int) -> EncoderWeights:
    """Random weights of so many items; ConfigError for a shape that cannot be."""
    counts = (shape.dim, shape.layers, shape.heads, shape.length)
    if min(counts) < 1 or shape.dim % shape.heads:
        raise ConfigError(
            f"dim {shape.dim}, layers {shape.layers}, heads {shape.heads}, length {shape.length}: "
            "give counts above 0, and a dim that the heads divide"
        )
    if items + len(SPECIAL) > MOST_TOKENS:
        raise ConfigError(f"{items:,} items; the most is {MOST_TOKENS - len(SPECIAL):,}")
    generator = np.random.default_rng(seed)

    def normal(*size: int) -> FloatArray:
        return (DEVIATION * generator.standard_normal(size)).astype(np.float32)

    def linear(inputs: int, outputs: int) -> Linear:
        return Linear(normal(inputs, outputs), np.zeros(outputs, np.float32))

    def norm() -> LayerNorm:
        return LayerNorm(np.ones(dim, np.float32), np.zeros(dim, np.float32))

    def layer() -> LayerWeights:
        return LayerWeights(
            query=linear(dim, dim),
            key=linear(dim, dim),
            value=linear(dim, dim),
            attention_output=linear(dim, dim),
            attention_norm=norm(),
            intermediate=linear(dim, 4 * dim),
            output=linear(4 * dim, dim),
            output_norm=norm(),
        )

    dim = shape.dim
    return EncoderWeights(
        token_embeddings=normal(items + len(SPECIAL), dim),
        position_embeddings=normal(shape.length + shape.masked, dim),
        token_type_embeddings=None,
        embedding_norm=norm(),
        embedding_projection=None,
        layers=tuple(layer() for _ in range(shape.layers)),
        head_dim=dim // shape.heads,
        activation="gelu",
        layer_norm_eps=EPSILON,
        causal=not shape.masked,
    )


def recommender(weights: EncoderWeights, items: Sequence[str], name: str, kind: Kind) -> Checkpoint:
    """The encoder of two towers with these weights of the one for histories.

    An item that it does not know has the mean of all items' vectors.
    """
    masked = kind is Kind.BERT4REC
    tokenizer = item_tokenizer(items, masked=False)
    table = weights.token_embeddings.copy()
    table[len(items) :] = table[: len(items)].mean(0)
    digest = hashlib.sha256("\n".join(items).encode())
    for array in weights.arrays().values():
        digest.update(np.ascontiguousarray(array).tobytes())
    documents = Checkpoint(
        name=name,
        sha256=digest.hexdigest(),
        architecture=STATIC,
        weights=static_weights(table, 1),
        tokenizer=tokenizer,
        pooling=Pooling.MEAN,
        normalize=False,
        max_tokens=1,
        items=True,
    )
    histories = Checkpoint(
        name=name,
        sha256=digest.hexdigest(),
        architecture=kind.value,
        weights=weights,
        tokenizer=item_tokenizer(items, masked=True) if masked else tokenizer,
        pooling=Pooling.LAST,
        normalize=False,
        max_tokens=weights.positions,
        space=space_of(documents),
        left_out=len(items),
        items=True,
        histories=True,
    )
    return replace(documents, query=histories)
