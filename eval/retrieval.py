"""FAISS indexes to compare, and the rankings they give."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from encoders.weights import FloatArray
from eval.agreement import Ranking
from eval.collection import TestCollection
from eval.measures import Run
from indexer.snapshot import SnapshotKind, new_index
from trimseek.errors import ConfigError
from trimseek.settings import load_settings

EXACT = SnapshotKind.EXACT.value
NO_HIT = -1
HNSW_LINKS = re.compile(r"HNSW(\d+)")
MOST_LINKS = 512


@dataclass(frozen=True)
class BuiltIndex:
    """A FAISS index whose keys are the documents' positions."""

    kind: str
    faiss_index: Any
    documents: int
    build_seconds: float

    @property
    def bytes_per_document(self) -> float:
        return len(faiss.serialize_index(self.faiss_index)) / self.documents

    def write(self, path: Path) -> None:
        faiss.write_index(self.faiss_index, str(path))


def build_index(kind: str, vectors: FloatArray) -> BuiltIndex:
    """Build the index of that kind; ConfigError if FAISS cannot.

    ``kind``: "exact", which is what ``trimseek index`` makes, or a description as FAISS's
    index_factory takes it, with search parameters behind a colon: "HNSW32", "SQ8",
    "HNSW32,SQ8:efSearch=64", "IVF64,Flat:nprobe=8".
    """
    faiss.omp_set_num_threads(load_settings().threads)
    began = time.perf_counter()
    if kind == EXACT:
        index = new_index(vectors.shape[1])
        index.add_with_ids(vectors, np.arange(len(vectors)))
    else:
        index = described_index(kind, vectors)
    return BuiltIndex(kind, index, len(vectors), time.perf_counter() - began)


def described_index(kind: str, vectors: FloatArray) -> Any:
    """An index of FAISS's index_factory with the vectors in it, which has answered a search."""
    dim = vectors.shape[1]
    description, _, parameters = kind.partition(":")
    try:
        index = faiss.index_factory(dim, description, faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        if parameters:
            faiss.ParameterSpace().set_index_parameters(index, parameters)  # type: ignore[arg-type]
        index.add(vectors)
        index.search(vectors[:1], 1)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).rpartition("Error: ")[2].strip().partition("\n")[0]
        raise ConfigError(
            f"--index {kind}: FAISS cannot make it of {len(vectors):,} vectors ({reason[:100]}); "
            "use exact or a FAISS description such as HNSW32 or IVF64,SQ8:nprobe=8"
        ) from error
    return index


def check_kinds(kinds: Sequence[str], dim: int) -> None:
    """ConfigError if FAISS does not know a kind; before anything is encoded."""
    for kind in kinds:
        description = kind.partition(":")[0]
        if kind != EXACT:
            try:
                if any(not 2 <= int(m) <= MOST_LINKS for m in HNSW_LINKS.findall(description)):
                    raise RuntimeError  # FAISS itself would end the process
                faiss.index_factory(dim, description, faiss.METRIC_INNER_PRODUCT)
            except RuntimeError as error:
                raise ConfigError(
                    f"--index {kind}: neither exact nor a FAISS description "
                    "such as HNSW32 or IVF64,SQ8:nprobe=8"
                ) from error


def rank(
    collection: TestCollection, index: BuiltIndex, queries: FloatArray, depth: int
) -> tuple[Ranking, FloatArray]:
    """Document positions and scores ``(queries, depth)``, best first; -1 where there are no more.

    A query that is called like a document never finds that document (as in ArguAna, where the
    queries are documents).
    """
    depth = min(depth, index.documents)
    wanted = min(depth + 1, index.documents)
    scores, keys = index.faiss_index.search(queries, wanted)
    positions = {id_: i for i, id_ in enumerate(collection.documents)}
    own = np.array([positions.get(query, NO_HIT - 1) for query in collection.queries])
    order = np.argsort(keys == own[:, None], axis=1, kind="stable")  # its own document last
    keys, scores = np.take_along_axis(keys, order, 1), np.take_along_axis(scores, order, 1)
    keys = np.where(keys == own[:, None], NO_HIT, keys)
    return keys[:, :depth], scores[:, :depth]


def as_run(collection: TestCollection, ranking: Ranking, scores: NDArray[np.float32]) -> Run:
    names = list(collection.documents)
    run: dict[str, Mapping[str, float]] = {}
    rows = zip(collection.queries, ranking.tolist(), scores.tolist(), strict=True)
    for query, keys, values in rows:
        run[query] = {
            names[key]: value for key, value in zip(keys, values, strict=True) if key != NO_HIT
        }
    return run


def write_run(run: Run, path: Path, tag: str) -> None:
    """A TREC run file: ``query Q0 document rank score tag``; spaces in ids become underscores."""
    with path.open("w", encoding="utf-8") as file:
        for query, hits in run.items():
            for place, (document, score) in enumerate(hits.items(), 1):
                names = ("_".join(query.split()), "Q0", "_".join(document.split()))
                file.write(f"{' '.join(names)} {place} {score:.6f} {tag}\n")
