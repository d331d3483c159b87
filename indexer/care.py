"""Find out whether an index is whole."""

from pathlib import Path

import numpy as np

from indexer.folder import open_index
from indexer.snapshot import read_snapshot
from indexer.store import Store
from trimseek.errors import IndexFolderError


def find_damage(folder: Path) -> list[str]:
    """What is wrong with an index, one line each; empty when it is whole.

    Checks the database's pages, the snapshot's checksum and size, that every document has a
    chunk, and that every vector is finite. IndexFolderError if it cannot be opened at all.
    """
    card, store = open_index(folder)
    try:
        damage = store.check()
        if damage:
            return [f"{store.path}: {problem}" for problem in damage]
        damage += vector_damage(store, card.dim)
        record = store.snapshot()
        if record is not None:
            try:
                read_snapshot(record, folder, card.dim)
            except IndexFolderError as error:
                damage.append(f"{error}; the next search makes it anew")
        return damage
    finally:
        store.close()


def vector_damage(store: Store, dim: int) -> list[str]:
    bad = 0
    for _, vectors in store.vectors(0, dim):
        bad += int((~np.isfinite(vectors.astype(np.float32)).all(axis=1)).sum())
    damage = [f"{store.path}: {bad} vectors are not finite"] if bad else []
    if bare := store.documents_without_chunks():
        damage.append(f"{store.path}: {bare} documents have no chunks")
    return damage
