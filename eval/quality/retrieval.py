"""Indexes to compare, FAISS's and graphs of other libraries, and the rankings that they give."""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError
from trimseek.eval.quality.agreement import NO_HIT, Ranking
from trimseek.eval.quality.collection import TestCollection
from trimseek.eval.quality.graphs import GraphFile, build_graph, check_kind, is_graph, read_kind
from trimseek.eval.quality.measures import Run
from trimseek.eval.quality.words import WordFile, WordIndex, build_words
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.snapshot import new_index
from trimseek.search.query_words import QueryWords
from trimseek.settings import load_settings

EXACT = SnapshotKind.EXACT.value
HNSW_LINKS = re.compile(r"HNSW(\d+)")
MOST_LINKS = 512


@dataclass(frozen=True)
class BuiltIndex:
    """An index whose keys are the documents' positions.

    ``index``: FAISS's, or a graph or words that ``file`` is of. ``bytes_per_document``: of its
    files.
    """

    kind: str
    index: Any
    documents: int
    build_seconds: float
    bytes_per_document: float
    file: GraphFile | WordFile | None = None

    @property
    def suffix(self) -> str:
        """Of the file's name."""
        return ".faiss" if self.file is None else self.file.suffix

    def write(self, path: Path) -> None:
        """Write a file that a benchmark's workers open: FAISS's, or one that leads to the index."""
        if self.file is not None:
            self.file.write(path)
        else:
            faiss.write_index(self.index, str(path))


def build_index(kind: str, vectors: FloatArray) -> BuiltIndex:
    """Build an index of vectors ``(n, dim)``; ConfigError if FAISS cannot.

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
    seconds = time.perf_counter() - began
    size = len(faiss.serialize_index(index)) / len(vectors)
    return BuiltIndex(kind, index, len(vectors), seconds, size)


def build_word_index(texts: Sequence[str], folder: Path) -> BuiltIndex:
    """An index of the words of documents' texts."""
    began = time.perf_counter()
    build_words(texts, folder)
    index = WordIndex(folder)
    seconds = time.perf_counter() - began
    size = index.size(folder.with_suffix(".size")) / len(texts)
    return BuiltIndex(EXACT, index, len(texts), seconds, size, WordFile(folder))


class Graphs:
    """Graphs in a folder, each built once for all parameters of its searches."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._built: dict[tuple[str, str], tuple[Path, float]] = {}

    def index(self, owner: str, kind: str, vectors: FloatArray) -> BuiltIndex:
        """A graph of vectors ``(n, dim)``; ``owner``: whose they are."""
        read = read_kind(kind)
        if (owner, read.name) not in self._built:
            folder = self._folder / f"graph-{len(self._built)}"
            folder.mkdir()
            self._built[owner, read.name] = folder, build_graph(read, vectors, folder)
        folder, seconds = self._built[owner, read.name]
        file = GraphFile(kind, str(folder), vectors.shape[1], len(vectors))
        size = sum(path.stat().st_size for path in folder.iterdir()) / len(vectors)
        return BuiltIndex(kind, file.open(), len(vectors), seconds, size, file)


def described_index(kind: str, vectors: FloatArray) -> Any:
    """An index of FAISS's index_factory, filled, and tried with one search; ConfigError."""
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
            "use exact, hnsw, or a FAISS description such as HNSW32 or IVF64,SQ8:nprobe=8"
        ) from error
    return index


def check_kinds(kinds: Sequence[str], dim: int) -> None:
    """ConfigError if FAISS does not know a kind; quick, so that it can come before encoding."""
    for kind in kinds:
        description = kind.partition(":")[0]
        if is_graph(kind):
            check_kind(kind)
        elif kind != EXACT:
            try:
                if any(not 2 <= int(m) <= MOST_LINKS for m in HNSW_LINKS.findall(description)):
                    raise RuntimeError  # FAISS would end the process
                faiss.index_factory(dim, description, faiss.METRIC_INNER_PRODUCT)
            except RuntimeError as error:
                raise ConfigError(
                    f"--index {kind}: neither exact nor hnsw nor a FAISS description "
                    "such as HNSW32 or IVF64,SQ8:nprobe=8"
                ) from error


def rank(
    collection: TestCollection,
    index: BuiltIndex,
    queries: FloatArray | Sequence[QueryWords],
    depth: int,
) -> tuple[Ranking, FloatArray]:
    """Document positions and scores ``(queries, depth)``, best first; -1 where there are no more.

    A query never finds what the collection excludes for it, nor a document of its own id (in
    ArguAna queries are documents).
    """
    depth = min(depth, index.documents)
    positions = {id_: i for i, id_ in enumerate(collection.documents)}
    hidden = [
        [positions[id_] for id_ in (query, *collection.excluded.get(query, ())) if id_ in positions]
        for query in collection.queries
    ]
    most = max(map(len, hidden), default=0)
    scores, keys = index.index.search(queries, min(depth + most, index.documents))
    is_hidden = np.zeros(keys.shape, bool)
    for row, own in enumerate(hidden):
        if own:
            is_hidden[row] = np.isin(keys[row], own)
    order = np.argsort(is_hidden, axis=1, kind="stable")[:, :depth]  # what is hidden last
    keys = np.where(
        np.take_along_axis(is_hidden, order, 1), NO_HIT, np.take_along_axis(keys, order, 1)
    )
    return keys, np.take_along_axis(scores, order, 1)


def as_run(collection: TestCollection, ranking: Ranking, scores: NDArray[np.float32]) -> Run:
    """``[query][document]`` -> score, of a ranking and scores ``(queries, depth)``."""
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
