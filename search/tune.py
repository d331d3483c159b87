"""Find the least effort of an approximate index that finds what exact search finds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from indexer.efforts import set_effort
from indexer.folder import WAIT, write_lock
from indexer.snapshot import SnapshotKind
from indexer.store import Store
from indexer.words import STOP_WORDS
from search.searcher import Searcher
from search.view import View
from trimseek.errors import ConfigError

SAMPLED = 200  # queries
QUERY_WORDS = 8
TOP = 10
EFFORTS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048, 4096)


@dataclass(frozen=True)
class Trial:
    """``recall``: share of exact search's top 10 that is found; ``p50_ms`` of one search.

    ``effort``: None for the kind's default.
    """

    effort: int | None
    recall: float
    p50_ms: float


@dataclass(frozen=True)
class Tuned:
    """``chosen``: the least effort whose recall is enough, which the index now keeps."""

    kind: str
    encoder: str
    queries: int
    chosen: Trial
    tried: tuple[Trial, ...]


def tune(searcher: Searcher, recall: float, queries: Sequence[str] = ()) -> Tuned:
    """Measure recall@10 against exact search, and keep the least effort that is enough.

    It is kept for the searcher's query encoder alone: a small one's vectors lie further from
    documents and need a larger search. ``queries``: what users ask; else the beginnings of
    documents. ConfigError if the index compares everything anyway, or no effort is enough.
    """
    if not 0 < recall <= 1:
        raise ConfigError(f"--recall {recall:g}: must be more than 0 and at most 1")
    view = searcher.view
    if view.kind in (SnapshotKind.EXACT, SnapshotKind.SQ8):
        raise ConfigError(
            f"{searcher.folder}: its index is {view.kind.value}: every vector is compared, there "
            "is nothing to tune (trimseek index ... --kind hnsw makes another)"
        )
    texts = list(queries)[:SAMPLED] or sampled_queries(searcher)
    vectors = searcher.encoder.encode(texts).vectors
    exact = [set(keys.tolist()) for keys in view.exact_top(vectors, TOP)]
    tried = least_effort(view, vectors, exact, recall)
    best = tried[-1]
    if best.recall < recall:
        raise ConfigError(
            f"{searcher.folder}: recall@{TOP} {recall:g} is not reached; effort {best.effort} "
            f"gives {best.recall:.4f}; an exact index gives 1"
        )
    assert best.effort is not None  # noqa: S101 - one of EFFORTS
    keep(searcher.folder, view.kind, searcher, best.effort)
    name = searcher.encoder.card.name
    return Tuned(view.kind.value, name, len(texts), best, tuple(tried))


def least_effort(
    view: View, vectors: NDArray[np.float32], exact: Sequence[set[int]], recall: float
) -> list[Trial]:
    """Larger and larger efforts, until one finds enough; the last one does, or none does."""
    tried: list[Trial] = []
    for effort in EFFORTS:
        tried.append(measure(view, vectors, exact, effort))
        if tried[-1].recall >= recall:
            break
    return tried


def sampled_queries(searcher: Searcher) -> list[str]:
    """The first telling words of documents evenly from the index."""
    found = []
    for document in searcher.some_documents(SAMPLED):
        words = (document.title or document.text).split()
        telling = [word for word in words if word.lower() not in STOP_WORDS] or words
        found.append(" ".join(telling[:QUERY_WORDS]))
    return [each for each in found if each]


def measure(
    view: View, vectors: NDArray[np.float32], exact: Sequence[set[int]], effort: int | None
) -> Trial:
    seconds, found = [], []
    for vector, wanted in zip(vectors, exact, strict=True):
        began = time.perf_counter()
        keys = view.search(vector, TOP, effort=effort).keys
        seconds.append(time.perf_counter() - began)
        found.append(len(wanted & set(keys.tolist())) / max(1, len(wanted)))
    return Trial(effort, float(np.mean(found)), 1e3 * median(seconds))


def keep(folder: Path, kind: SnapshotKind, searcher: Searcher, effort: int) -> None:
    with write_lock(folder, WAIT):
        store = Store(folder, writable=True)
        try:
            with store.transaction():
                set_effort(store, kind, searcher.encoder.card, effort)
        finally:
            store.close()
