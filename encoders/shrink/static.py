"""A static encoder of a base's space: the vector of a text is the mean of its tokens' vectors.

Each token's vector begins as the base's vector of that token alone, less the mean of all, weighted
by how seldom the token is (Tulkens & van Dongen 2024: model2vec; the weights of Arora, Liang & Ma
2017). A ridge regression then maps means of these onto the base's vectors of texts, which takes
the place of their PCA, as vectors stay in the base's space; at last the table is aligned to them.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from trimseek.encoders.card import STATIC
from trimseek.encoders.checkpoint import Checkpoint, tokenizer_of
from trimseek.encoders.folder import space_of
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.agreement import encode
from trimseek.encoders.shrink.calibration import Ids
from trimseek.encoders.shrink.lessons import TrainingTexts
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.student import ridge
from trimseek.encoders.weights import FloatArray, static_weights

RARITY = 1e-3  # a token of this share of all has half of the weight of the rarest
RIDGE = 1e-2  # see ``student.ridge``
FITTED = 20_000  # texts
LONGEST = 2048  # tokens of a text


def static_encoder(base: Checkpoint, texts: Sequence[str]) -> Checkpoint:
    """A static encoder of the base's space and tokens, weighted by these texts; not fitted yet."""
    tokenizer = Tokenizer.from_str(base.tokenizer.to_str())
    tokenizer.post_processor = None  # no special tokens
    tokenizer.no_truncation()
    tokenizer.no_padding()
    made = replace(
        base,
        architecture=STATIC,
        weights=static_weights(token_vectors(base), LONGEST),
        tokenizer=tokenizer,
        pooling=Pooling.MEAN,
        max_tokens=LONGEST,
        prompts={},
        space=space_of(base),
        left_out=None,
    )
    ids = [text.ids for text in tokenizer_of(made).encode(texts)]
    table = made.weights.token_embeddings
    weighted = (table - table.mean(0)) * rarities(ids, len(table))[:, None]
    return replace(made, weights=static_weights(weighted, LONGEST))


def token_vectors(base: Checkpoint) -> FloatArray:
    """The base's vector ``(vocabulary, dim)`` of each token alone, between special tokens."""
    vocabulary = len(base.weights.token_embeddings)
    probe = base.tokenizer.encode("a", add_special_tokens=True)
    word = probe.special_tokens_mask.index(0)
    before, after = probe.ids[:word], probe.ids[word + 1 :]
    module = EncoderModule(base.weights, base.pooling, normalize=base.normalize).eval()
    return encode(module, [[*before, token, *after] for token in range(vocabulary)])


def rarities(texts: Sequence[Ids], vocabulary: int) -> FloatArray:
    """The weight of each token: nearly 1 for those that are seldom in the texts."""
    counts = np.ones(vocabulary)
    for ids in texts:
        np.add.at(counts, ids, 1)
    share = counts / counts.sum()
    weights: FloatArray = (RARITY / (RARITY + share)).astype(np.float32)
    return weights


def fitted(encoder: Checkpoint, lessons: TrainingTexts) -> Checkpoint:
    """The encoder with its table mapped so that means are near the base's vectors."""
    step = max(1, len(lessons.ids) // FITTED)
    table = encoder.weights.token_embeddings
    inputs = means(table, lessons.ids[::step]).astype(np.float64)
    targets = np.asarray(lessons.vectors[::step], np.float64)
    solution = ridge(inputs, targets, RIDGE)
    return replace(encoder, weights=static_weights(table @ solution, LONGEST))


def means(table: FloatArray, texts: Sequence[Ids]) -> FloatArray:
    """The mean ``(n, dim)`` of the rows of each text's tokens; 0 where there are none."""
    found: NDArray[np.float32] = np.zeros((len(texts), table.shape[1]), np.float32)
    for row, ids in enumerate(texts):
        if ids:
            found[row] = table[ids].mean(0)
    return found
