"""The first reading of a corpus: what is wrong in its last line is said before it is embedded."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trimseek.cluster.embedding import reader_of
from trimseek.cluster.plan import BuildPlan
from trimseek.indexer.word_store import SAMPLED

Ids = NDArray[np.uint64]  # (documents, 2): hashes of ids


@dataclass
class CheckedPart:
    """A part that was read; ``texts``: titles and texts of its first documents."""

    documents: int = 0
    skipped: int = 0
    scaled: int = 0
    bad: int = 0
    texts: list[str] = field(default_factory=list)


def check_part(plan: BuildPlan, file: int) -> tuple[CheckedPart, Ids]:
    """Read a part; CorpusError for what cannot be stored."""
    part, ids = CheckedPart(), list[bytes]()
    reader = reader_of(plan, file)
    for document in reader.documents():
        ids.append(id_hash(document.id))
        if len(part.texts) < SAMPLED:
            part.texts.append(f"{document.title}\n{document.text}")
    part.documents = len(ids)
    part.skipped, part.scaled, part.bad = reader.skipped, reader.scaled, reader.bad
    return part, np.frombuffer(b"".join(ids), np.uint64).reshape(-1, 2)


def id_hash(id_: str) -> bytes:
    """16 bytes of an id."""
    return hashlib.blake2b(id_.encode(), digest_size=16).digest()


def first_twice(share: int, shares: int, *ids: Ids) -> bytes | None:
    """The hash of an id that two documents have, of a share of all hashes; None for no such id.

    ``ids``: arguments of their own, so that Ray gives the arrays of references.
    """
    own = np.concatenate([some[some[:, 0] % np.uint64(shares) == share] for some in ids])
    order = np.lexsort((own[:, 1], own[:, 0]))
    own = own[order]
    same = np.flatnonzero((own[1:] == own[:-1]).all(axis=1))
    return own[same[0]].tobytes() if len(same) else None


def places_of_id(plan: BuildPlan, file: int, hash_: bytes) -> list[str]:
    """Where the documents of an id's hash are in a part: its places, each before the id."""
    return [
        f"{document.where}: the id {document.id!r}"
        for document in reader_of(plan, file).documents()
        if id_hash(document.id) == hash_
    ]
