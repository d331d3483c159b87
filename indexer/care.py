"""Find out whether an index is whole, and give back the room of what was deleted."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.weights import FloatArray
from trimseek.errors import IndexFolderError, TrimseekError
from trimseek.indexer.card import IndexCard
from trimseek.indexer.chunks import chunker_of
from trimseek.indexer.folder import folder_bytes, open_for_changes, open_index
from trimseek.indexer.prompts import document_encoder
from trimseek.indexer.snapshot import build_snapshot, check_files, read_snapshot, stored_keys
from trimseek.indexer.stems import check_language
from trimseek.indexer.store import Store

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
    with open_index(folder) as (card, store):
        damage = store.check(deep=deep)
        if damage:
            return [f"{store.path}: {problem}" for problem in damage]
        damage += vector_damage(store, card.dim)
        damage += snapshot_damage(store, folder, card, deep=deep)
        if deep:
            damage += embedding_damage(store, card)
        return damage


def snapshot_damage(store: Store, folder: Path, card: IndexCard, *, deep: bool) -> list[str]:
    """Whether the snapshot and the files beside it are sound, and it holds the right chunks.

    Those up to its last one, and no others.

    ``deep``: whether its vectors are the stored ones.
    """
    with store.reading() as frozen:
        record = frozen.snapshot()
        if record is None:
            return []
        expected = np.union1d(frozen.chunk_keys(), frozen.tombstones())
        try:
            index = read_snapshot(record, folder, card.dim, anew=True)
            check_files(store, record, folder, card.dim, anew=True)
        except IndexFolderError as error:
            if store.snapshot() != record:  # replaced, and its file removed, while this one looked
                return snapshot_damage(store, folder, card, deep=deep)
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
        stored_vectors = vectors[both].astype(np.float32)
        snapshot_vectors = inner.reconstruct_batch(rows)
        other = (
            (snapshot_vectors != stored_vectors).any(axis=1)
            if exact
            else cosines(snapshot_vectors, stored_vectors) < ROUNDED
        )
        count += int(other.sum())
    return count


def vector_damage(store: Store, dim: int) -> list[str]:
    """Whether every vector is finite, and every document has one."""
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
        encoder = document_encoder(card, store.path.parent)
    except TrimseekError as error:
        return [f"{store.path}: its encoder cannot be opened: {error}"]
    if encoder.card.normalize and (odd := lengths_damage(store, card.dim)):
        return [odd]
    chunker = chunker_of(encoder, card.overlap)
    wrong = []
    for key, document in store.some_documents(REEMBEDDED):
        if store.with_own_vector(key, document).vector is not None:
            continue  # its hash tells that it is the one that came with it
        chunks = chunker.chunks(document)
        places = store.chunks_of([key]).get(key, [])
        if [(chunk.start, chunk.end) for chunk in chunks] != [
            (place.start, place.end) for place in places
        ]:
            wrong.append(document.id)
            continue
        fresh = encoder.encode([chunk.embedded for chunk in chunks]).vectors
        stored = store.vectors_of([place.key for place in places], card.dim).vectors
        if cosines(fresh, stored).min() < ALIKE:
            wrong.append(document.id)
    return [f"{store.path}: the vectors of document {id_!a} are not its text's" for id_ in wrong]


def lengths_damage(store: Store, dim: int) -> str | None:
    """Whether vectors have unit length, as far as float16 lets them."""
    odd = 0
    for _, vectors in store.vectors(0, dim):
        lengths = np.linalg.norm(vectors.astype(np.float32), axis=1)
        odd += int((np.abs(lengths - 1) > UNIT).sum())
    return f"{store.path}: {odd} vectors are not of unit length" if odd else None


def cosines(a: FloatArray, b: NDArray[np.floating]) -> FloatArray:
    """Cosine of each row of ``a (n, dim)`` with the same row of ``b``, ``(n,) float32``."""
    b = b.astype(np.float32)
    products = (a * b).sum(1)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(products / np.maximum(lengths, 1e-9), np.float32)


def compact_index(folder: Path, language: str | None = None) -> tuple[int, int]:
    """Give back the room of what was deleted, and make words anew; bytes before and after.

    An index of an earlier format is brought up to date. ``language``: as
    ``Store.make_words``; QueryError if there is none of that name.
    """
    if language is not None:
        check_language(language)
    before = folder_bytes(folder)
    with open_for_changes(folder) as (card, store):
        store.compact(language)
        build_snapshot(store, folder, card.dim)
        store.checkpoint()
    return before, folder_bytes(folder)
