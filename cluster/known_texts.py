"""Which texts an earlier build has embedded, so that the next one does not embed them again.

A shard lists 8 bytes for each of its documents, a hash of its id and of what is embedded. A hash
that two share is noticed when the shard is built, by the whole of both.
"""

import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trimseek.cluster.placement import shard_of
from trimseek.errors import StorageError


def text_hash(id_: str, content: bytes) -> int:
    """Of a document's id and its content hash (``indexer.store``)."""
    digest = hashlib.blake2b(id_.encode() + b"\0" + content, digest_size=8).digest()
    return int.from_bytes(digest, "little")


def write_known(hashes: list[int], path: Path) -> None:
    """Write a shard's list, ascending."""
    np.sort(np.array(hashes, "<u8")).tofile(path)


class KnownTexts:
    """The lists of an earlier build's shards, ``(documents,) uint64`` each, ascending; mapped."""

    def __init__(self, paths: list[Path]) -> None:
        self._lists: list[NDArray[np.uint64]] = []
        for path in paths:
            if path.stat().st_size % 8:
                raise StorageError(f"{path}: damaged: cut off; delete it, and it is fetched anew")
            empty = not path.stat().st_size
            self._lists.append(
                np.empty(0, np.uint64) if empty else np.memmap(path, "<u8", mode="r")
            )

    def has(self, id_: str, content: bytes) -> bool:
        """Whether the earlier build has a document with that text."""
        if not self._lists:
            return False
        known = self._lists[shard_of(id_, len(self._lists))]
        wanted = np.uint64(text_hash(id_, content))
        at = int(np.searchsorted(known, wanted))
        return at < len(known) and bool(known[at] == wanted)
