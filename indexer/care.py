"""Find out whether an index is whole, and give back the room of what was deleted."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from encoders import DocumentEncoder, find_encoder
from encoders.weights import FloatArray
from indexer.card import IndexCard, read_card
from indexer.chunks import Chunker
from indexer.folder import WAIT, folder_bytes, open_index, write_lock
from indexer.snapshot import build_snapshot, read_snapshot, stored_keys
from indexer.store import Store
from trimseek.errors import IndexFolderError, TrimseekError

REEMBEDDED = 64  # documents that a deep check embeds once more
ALIKE = 0.95  # cosine: int8 vectors depend on the CPU and on the batch (0.98 and more was seen)
ROUNDED = 0.98  # cosine of a vector and itself in 8 bits, at least
UNIT = 0.01  # how far a vector's length may be from 1, float16 being coarse


def find_damage(folder: Path, *, deep: bool = False) -> list[str]:
    """What is wrong with an index, one line each; empty when it is whole.

    Checks the database's pages, the snapshot's checksum, that it holds what is stored, that every
    document has a chunk, and that every vector is finite. ``deep``: every row against its
    indexes, every document against its hash, every word against its text, every vector against
    the snapshot's, and some documents embedded once more.
    IndexFolderError if it cannot be opened at all.
    """
    card, store = open_index(folder)
    try:
        damage = store.check(deep=deep)
        if damage:
            return [f"{store.path}: {problem}" for problem in damage]
        damage += vector_damage(store, card.dim)
        damage += snapshot_damage(store, folder, card, deep=deep)
        if deep:
            damage += embedding_damage(store, card)
        return damage
    finally:
        store.close()


def snapshot_damage(store: Store, folder: Path, card: IndexCard, *, deep: bool) -> list[str]:
    """Whether the snapshot is sound, and holds the chunks up to its last and no others.

    ``deep``: whether its vectors are the stored ones.
    """
    with store.reading() as frozen:
        record = frozen.snapshot()
        if record is None:
            return []
        expected = np.union1d(frozen.chunk_keys(), frozen.tombstones())
        try:
            index = read_snapshot(record, folder, card.dim)
        except IndexFolderError as error:
            return [f"{error}; the next search makes it anew"]
        held = stored_keys(index)
        expected = expected[expected <= record.last_chunk]
        if not np.array_equal(np.sort(held), expected):
            return [
                f"{folder}: snapshot {record.number} holds {len(held)} chunks, {len(expected)} are "
                "stored or were since; 'trimseek compact' makes it anew"
            ]
        differing = different_vectors(frozen, index, card.dim) if deep else 0
    if not differing:
        return []
    return [f"{store.path}: {differing} vectors are not those of snapshot {record.number}"]


def different_vectors(store: Store, index: Any, dim: int) -> int:
    """How many stored vectors are not the snapshot's; codes of ivf are too coarse to tell."""
    if not isinstance(index, faiss.IndexIDMap):
        return 0
    inner: Any = faiss.downcast_index(index.index)
    exact = getattr(inner, "sq", None) and inner.sq.qtype == faiss.ScalarQuantizer.QT_fp16
    held = stored_keys(index)
    order = np.argsort(held)
    count = 0
    for keys, vectors in store.vectors(0, dim):
        both = np.isin(keys, held, assume_unique=True)
        rows = order[np.searchsorted(held, keys[both], sorter=order)]
        ours = vectors[both].astype(np.float32)
        theirs = inner.reconstruct_batch(rows)
        other = (theirs != ours).any(axis=1) if exact else cosines(theirs, ours) < ROUNDED
        count += int(other.sum())
    return count


def vector_damage(store: Store, dim: int) -> list[str]:
    bad = 0
    for _, vectors in store.vectors(0, dim):
        bad += int((~np.isfinite(vectors.astype(np.float32)).all(axis=1)).sum())
    damage = [f"{store.path}: {bad} vectors are not finite"] if bad else []
    if bare := store.documents_without_chunks():
        damage.append(f"{store.path}: {bare} documents have no chunks")
    return damage


def embedding_damage(store: Store, card: IndexCard) -> list[str]:
    """Whether vectors are those of their texts: of documents evenly from the whole index."""
    try:
        encoder = DocumentEncoder(find_encoder(card.encoder))
    except TrimseekError as error:
        return [f"{store.path}: its encoder cannot be opened: {error}"]
    if encoder.card.normalize and (odd := lengths_damage(store, card.dim)):
        return [odd]
    chunker = Chunker(encoder.tokenizer, card.overlap)
    other = []
    for key, document in store.some_documents(REEMBEDDED):
        chunks = chunker.chunks(document)
        places = store.chunks_of([key]).get(key, [])
        if [(each.start, each.end) for each in chunks] != [(p.start, p.end) for p in places]:
            other.append(document.id)
            continue
        ours = encoder.encode([each.embedded for each in chunks]).vectors
        theirs = store.vectors_of([place.key for place in places], card.dim).vectors
        if cosines(ours, theirs).min() < ALIKE:
            other.append(document.id)
    return [f"{store.path}: the vectors of document {id_!a} are not its text's" for id_ in other]


def lengths_damage(store: Store, dim: int) -> str | None:
    odd = 0
    for _, vectors in store.vectors(0, dim):
        lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
        odd += int((np.abs(lengths - 1) > UNIT).sum())
    return f"{store.path}: {odd} vectors are not of unit length" if odd else None


def cosines(ours: FloatArray, theirs: NDArray[np.floating]) -> FloatArray:
    theirs = theirs.astype(np.float32)
    products = (ours * theirs).sum(1)
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return np.asarray(products / np.maximum(lengths, 1e-9), np.float32)


def rebuild_snapshot(folder: Path) -> None:
    """A new snapshot of what is stored now."""
    card = read_card(folder)
    store = Store(folder, writable=True)
    try:
        build_snapshot(store, folder, card.dim)
    finally:
        store.close()


def compact_index(folder: Path) -> tuple[int, int]:
    """Give back the room of what was deleted; bytes before and after.

    An index of an earlier format is brought up to date.
    """
    card = read_card(folder)
    before = folder_bytes(folder)
    with write_lock(folder, WAIT):
        store = Store(folder, writable=True)
        try:
            store.compact()
            build_snapshot(store, folder, card.dim)
            store.checkpoint()
        finally:
            store.close()
    return before, folder_bytes(folder)
