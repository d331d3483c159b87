"""Find the least effort of an approximate index that finds what exact search finds."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from trimseek.errors import ConfigError
from trimseek.indexer.efforts import set_effort
from trimseek.indexer.folder import open_for_changes
from trimseek.indexer.snapshot import KINDS
from trimseek.indexer.store import Store
from trimseek.search.opened import Moment
from trimseek.search.searcher import Searcher
from trimseek.search.view import View

SAMPLED = 200  # queries
QUERY_WORDS = 8
TELLING = 4  # letters of a word that is not "the" or "of"
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
    return searcher.read(lambda now: tuned(searcher, now, recall, queries))


def tuned(searcher: Searcher, now: Moment, recall: float, queries: Sequence[str]) -> Tuned:
    """As ``tune``, of an index at a moment."""
    view = now.view
    if KINDS[view.kind].effort is None:
        raise ConfigError(
            f"{searcher.folder}: its index is {view.kind.value}: every vector is compared, there "
            "is nothing to tune (trimseek index ... --kind hnsw makes another)"
        )
    texts = list(queries)[:SAMPLED]
    if not texts and searcher.encoder.card.histories:
        texts = [document.id for _, document in now.store.some_documents(SAMPLED)]
    texts = texts or sampled_queries(now.store)
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
    card = searcher.encoder.card
    with (
        open_for_changes(searcher.folder, began=now.card.id or None) as (_, store),
        store.transaction(),
    ):
        set_effort(store, view.kind, card, best.effort)
    return Tuned(view.kind.value, card.name, len(texts), best, tuple(tried))


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


def sampled_queries(store: Store) -> list[str]:
    """The first telling words of documents evenly from the index."""
    queries = []
    for _, document in store.some_documents(SAMPLED):
        words = (document.title or document.text).split()
        telling = [word for word in words if len(word) >= TELLING] or words
        queries.append(" ".join(telling[:QUERY_WORDS]))
    return [query for query in queries if query]


def measure(
    view: View, vectors: NDArray[np.float32], exact: Sequence[set[int]], effort: int | None
) -> Trial:
    """Recall and latency at one effort. ``exact``: what should be found, by query."""
    seconds, recalls = [], []
    for vector, wanted in zip(vectors, exact, strict=True):
        began = time.perf_counter()
        keys = view.search(vector, TOP, effort=effort).keys
        seconds.append(time.perf_counter() - began)
        recalls.append(len(wanted & set(keys.tolist())) / max(1, len(wanted)))
    return Trial(effort, float(np.mean(recalls)), 1e3 * median(seconds))
