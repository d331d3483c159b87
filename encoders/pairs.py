"""Two encoders of one space, one for documents and a quicker one for queries, or one for both.

A pair is named ``DOCUMENTS+QUERIES`` ("minilm-int8+minilm-swift"), or by what it is chosen for
("fast", "balanced", "best": ``CHOICES``).
"""

from pathlib import Path
from typing import NamedTuple

from trimseek.encoders.catalog import (
    DEFAULT_ENCODER,
    absolute_name,
    find_encoder,
    split_precision,
    with_dim,
)
from trimseek.encoders.folder import open_encoder
from trimseek.errors import EncoderError


class Pair(NamedTuple):
    """Names of an encoder of documents and of one of queries, the same if it does both."""

    documents: str
    queries: str

    def __str__(self) -> str:
        same = self.documents == self.queries
        return self.documents if same else f"{self.documents}+{self.queries}"


CHOICES = {
    "fast": Pair("minilm-brief", "minilm-swift"),
    "balanced": Pair(DEFAULT_ENCODER, "minilm-swift"),
    "best": Pair(DEFAULT_ENCODER, DEFAULT_ENCODER),
}
# Encoders that are for documents alone, and what encodes the queries of their indexes.
FOR_DOCUMENTS = {"minilm-brief": "minilm-swift"}


def split_pair(name: str) -> Pair:
    """The two encoders that a name stands for, as they are written in it; EncoderError for half."""
    if name in CHOICES:
        return CHOICES[name]
    documents, plus, queries = name.partition("+")
    if plus and not Path(name).exists():
        if not documents or not queries:
            raise EncoderError(f"{name}: half of the encoder has no name; is a variable empty?")
        return Pair(documents, queries)
    return Pair(name, FOR_DOCUMENTS.get(split_precision(name)[0], name))


def encoder_pair(name: str, dim: int | None = None) -> Pair:
    """As ``split_pair``, folders made absolute, and cut to so many dimensions; ConfigError."""
    return Pair(*(absolute_name(with_dim(each, dim)) for each in split_pair(name)))


def query_encoder_name(name: str) -> str:
    """The encoder of queries that a user names: of a choice its own, else that of this name."""
    return CHOICES[name].queries if name in CHOICES else name


def check_pair(pair: Pair, space: str) -> None:
    """EncoderError unless the queries' encoder is of this space, that of the documents'."""
    if pair.queries == pair.documents:
        return
    queries = open_encoder(find_encoder(pair.queries))
    if queries.space != space:
        raise EncoderError(
            f"{pair}: the two are of different spaces, so that their vectors cannot be compared; "
            f"take a query encoder that is aligned to {pair.documents}"
        )
