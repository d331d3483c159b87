"""Graphs of neighbours to compare: our own, and those of hnswlib and usearch.

A kind is a library's name, and its parameters behind a colon, as the library calls them:

| kind | parameters of the graph | of a search |
|---|---|---|
| ``hnsw``, what ``trimseek index`` makes | | ``effort`` |
| ``hnswlib`` | ``M``, ``ef_construction`` | ``ef`` |
| ``usearch`` | ``connectivity``, ``expansion_add``, ``dtype`` | ``expansion_search`` |

A graph is built once in a folder, and opened with each of its searches' parameters.
"""

import importlib
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.rows import ChunkVectors, Vectors
from trimseek.indexer.snapshot import KINDS, fill
from trimseek.indexer.vectors_file import parts_of, write_vectors
from trimseek.search.native.graph import graph_of
from trimseek.search.view import Part, View
from trimseek.settings import load_settings

Found = tuple[FloatArray, NDArray[np.int64]]  # scores and rows ``(queries, k)``, best first
OWN = SnapshotKind.HNSW.value
DTYPES = ("f32", "f16", "bf16", "i8")
LARGEST_VALUE = 4096


class Graph(Protocol):
    """Is searched as a FAISS index is."""

    def search(self, queries: FloatArray, k: int) -> Found:
        """The rows of the k nearest vectors of each query ``(n, dim)``, and their products."""


class Library(NamedTuple):
    """Parameters and their defaults: of a graph, and of its searches."""

    graph: dict[str, int | str]
    search: dict[str, int]


LIBRARIES = {
    OWN: Library({}, {"effort": KINDS[SnapshotKind.HNSW].effort or 0}),
    "hnswlib": Library({"M": 16, "ef_construction": 200}, {"ef": 64}),
    "usearch": Library(
        {"connectivity": 16, "expansion_add": 128, "dtype": "f32"}, {"expansion_search": 64}
    ),
}


@dataclass(frozen=True)
class GraphKind:
    """A kind as it was written: ``graph`` and ``search`` are its parameters."""

    library: str
    graph: dict[str, int | str]
    search: dict[str, int]

    @property
    def name(self) -> str:
        """Of the graph, without the parameters of searches."""
        parameters = ",".join(f"{key}={value}" for key, value in self.graph.items())
        return f"{self.library}:{parameters}" if parameters else self.library


def is_graph(kind: str) -> bool:
    """Whether a kind is one of these."""
    return kind.partition(":")[0] in LIBRARIES


def read_kind(kind: str) -> GraphKind:
    """Read it; ConfigError for a parameter that the library does not have, or another value."""
    name, _, given = kind.partition(":")
    library = LIBRARIES[name]
    graph, search = dict(library.graph), dict(library.search)
    for pair in filter(None, given.split(",")):
        parameter, _, value = pair.partition("=")
        number = int(value) if value.isdecimal() else 0
        if parameter == "dtype" and parameter in graph and value in DTYPES:
            graph[parameter] = value
        elif parameter in search and 1 <= number <= LARGEST_VALUE:
            search[parameter] = number
        elif parameter in graph and parameter != "dtype" and 2 <= number <= LARGEST_VALUE:
            graph[parameter] = number
        else:
            defaults = library.graph | library.search
            known = ", ".join(f"{key}={value}" for key, value in defaults.items())
            raise ConfigError(f"--index {kind}: not {pair!a:.40}; {name} has {known}")
    return GraphKind(name, graph, search)


def check_kind(kind: str) -> None:
    """ConfigError if it cannot be built: a wrong parameter, or the library is not installed."""
    name = read_kind(kind).library
    if name != OWN:
        load_library(name)


def load_library(name: str) -> Any:
    """The module; ConfigError where it is not installed."""
    try:
        return importlib.import_module(name if name == "hnswlib" else f"{name}.index")
    except ImportError:
        raise ConfigError(f"--index {name}: pip install {name}") from None


def build_graph(kind: GraphKind, vectors: FloatArray, folder: Path) -> float:
    """Build a graph of vectors ``(n, dim)`` in a folder; seconds."""
    threads = load_settings().threads
    count, dim = vectors.shape
    began = time.perf_counter()
    if kind.library == OWN:
        keys = np.arange(1, count + 1, dtype=np.int64)
        stored = vectors.astype(np.float16)
        faiss.omp_set_num_threads(threads)
        index: Any = KINDS[SnapshotKind.HNSW].make(dim, vectors, count)
        fill(index, [Vectors(keys, stored)])
        write_vectors([ChunkVectors(keys, stored, keys)], dim, folder / "vectors", sketched=True)
        seconds = time.perf_counter() - began
        faiss.write_index(index, str(folder / "graph"))
    elif kind.library == "hnswlib":
        index = load_library("hnswlib").Index(space="ip", dim=dim)
        index.init_index(max_elements=count, **kind.graph)
        index.add_items(vectors, num_threads=threads)
        seconds = time.perf_counter() - began
        index.save_index(str(folder / "graph"))
    else:
        index = load_library("usearch").Index(ndim=dim, metric="ip", **kind.graph)
        index.add(np.arange(count), vectors, threads=threads)
        seconds = time.perf_counter() - began
        index.save(str(folder / "graph"))
    return seconds


@dataclass(frozen=True)
class GraphFile:
    """What a JSON file says of a graph, for those who open it: ``open``."""

    kind: str
    folder: str
    dim: int
    count: int
    suffix: ClassVar[str] = ".json"

    def write(self, path: Path) -> None:
        """Write the file."""
        path.write_text(json.dumps(asdict(self)), "utf-8")

    def open(self) -> Graph:
        """Open the graph, with the parameters of its kind."""
        kind, folder = read_kind(self.kind), Path(self.folder)
        if kind.library == OWN:
            return OwnGraph(folder, self.dim, self.count, kind.search["effort"])
        if kind.library == "hnswlib":
            return HnswlibGraph(folder, self.dim, kind.search["ef"])
        return UsearchGraph(folder, kind.search["expansion_search"])


def open_graph(path: str) -> Graph:
    """The graph that a JSON file is of."""
    return GraphFile(**json.loads(Path(path).read_text("utf-8"))).open()


class OwnGraph:
    """Searched as an index is, with one part and no changes since."""

    def __init__(self, folder: Path, dim: int, count: int, effort: int) -> None:
        index = faiss.read_index(str(folder / "graph"), faiss.IO_FLAG_MMAP_IFC)
        # nobody else has written it: it need not be checked
        content = np.asarray(np.memmap(folder / "vectors", np.uint8, "r"))
        file = parts_of(content, count, dim)
        graph = graph_of(index, file.chunks.keys, file.sketches)
        part = Part(SnapshotKind.HNSW, index, file.chunks, graph)
        self._view = View(1, (part,), np.empty(0, np.int64), count)
        self._effort = effort

    def search(self, queries: FloatArray, k: int) -> Found:
        """See ``Graph``."""
        found = [self._view.search(query, k, effort=self._effort) for query in queries]
        keys, scores = map(np.array, zip(*found, strict=True))
        return scores, keys - 1


class HnswlibGraph:
    """Of hnswlib."""

    def __init__(self, folder: Path, dim: int, effort: int) -> None:
        self._index = load_library("hnswlib").Index(space="ip", dim=dim)
        self._index.load_index(str(folder / "graph"))
        self._effort = effort

    def search(self, queries: FloatArray, k: int) -> Found:
        """See ``Graph``."""
        self._index.set_ef(max(k, self._effort))  # it finds no more than that
        rows, distances = self._index.knn_query(queries, k, num_threads=1)
        return 1 - distances, rows.astype(np.int64)


class UsearchGraph:
    """Of usearch."""

    def __init__(self, folder: Path, effort: int) -> None:
        self._index = load_library("usearch").Index.restore(str(folder / "graph"))
        self._index.expansion_search = effort

    def search(self, queries: FloatArray, k: int) -> Found:
        """See ``Graph``."""
        # it takes another way for one
        found = self._index.search(queries[0] if len(queries) == 1 else queries, k, threads=1)
        return 1 - np.atleast_2d(found.distances), np.atleast_2d(found.keys).astype(np.int64)
