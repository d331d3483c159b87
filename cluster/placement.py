"""In which shard a document is, and the key that it has there.

Keys are given by the order of the corpus and are unique in the whole cluster, so that whatever is
of equal rank comes in the order in which one index would give it.
"""

import hashlib
from collections.abc import Callable, Iterable
from math import gcd
from typing import TypeVar

T = TypeVar("T")

SHARD_BITS = 12
MOST_SHARDS = 1 << SHARD_BITS
ROW_BITS = 29
MOST_ROWS = (1 << ROW_BITS) - 1  # documents of one file


def shard_of(id_: str, shards: int) -> int:
    """The shard of a document by a hash of its id, the same in every build."""
    digest = hashlib.blake2b(id_.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % shards


def shards_before(shard: int, shards: int, before: int) -> range:
    """The shards, of so many as there were before, where documents of a shard may have been.

    The remainders of a hash by both numbers agree in that by their greatest common divisor.
    """
    common = gcd(shards, before)
    return range(shard % common, before, common)


def document_key(file: int, row: int, shard: int) -> int:
    """The key of the document in a row (from 1) of a file (from 0) of the corpus."""
    return ((file << ROW_BITS) | row) << SHARD_BITS | shard


def shard_of_key(key: int) -> int:
    """The shard of a document by its key."""
    return key & (MOST_SHARDS - 1)


def grouped(items: Iterable[T], shard: Callable[[T], int]) -> dict[int, list[T]]:
    """Items by the shard that has them."""
    of_shard: dict[int, list[T]] = {}
    for item in items:
        of_shard.setdefault(shard(item), []).append(item)
    return of_shard
