"""Snapshots: a FAISS index of the stored vectors on disk, a cache that can be made anew.

| kind | what it is | bytes a vector of 384 dimensions | finds |
|---|---|---|---|
| exact | every vector is compared, in float16: the stored values | 776 | everything |
| sq8 | every vector is compared, in 8 bits a dimension | 392 | nearly everything |
| hnsw | a graph of neighbours over 8-bit vectors (Malkov & Yashunin 2018) | 660 | by effort |
| ivf | inverted lists of 4-bit product codes, fast scan (Andre et al. 2017) | 80 | by effort |
| auto | exact, hnsw or ivf by size | | |

All but exact give more candidates than are wanted, which ``search`` scores again with the stored
float16 vectors. ``effort`` is efSearch of hnsw (how many candidates its walk keeps) and nprobe of
ivf (how many lists are read).

``exact`` keeps the values that documents.db has at half the memory of float32 and, measured on
10,000 and 300,000 vectors of 384 dimensions, at 4.5 times the speed of FAISS's flat float32 index
for one query (0.27 against 1.22 ms, 10 against 46 ms).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import faiss
import numpy as np
from numpy.typing import NDArray

from trimseek.atomic import sha256_of, sync_file, sync_folder, temporary_file
from trimseek.checked import CheckedFile
from trimseek.errors import IndexFolderError, StorageError
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.native.graph_builder import build_graph, can_build
from trimseek.indexer.rows import SnapshotRecord, Vectors
from trimseek.indexer.snapshot_check import check_index, list_keys
from trimseek.indexer.store import Store
from trimseek.indexer.vectors_file import read_vectors, write_vectors
from trimseek.indexer.words import blocks_of, read_words, write_words
from trimseek.settings import load_settings

# A reader searches this many rows, or this share, beside the snapshot before it is worth a new one.
STALE_ROWS = 2000
STALE_SHARE = 0.05
LOOP_LIMIT = 2**20
TABLES = 2**28  # bytes that FAISS may count beside what is in a file: ivf's tables
KIND = "kind"  # the setting
OLD_FILE = re.compile(r"snapshot-\d+\.faiss|(words|vectors)-\d+\.bin")
INNER_PRODUCT, EIGHT_BITS = faiss.METRIC_INNER_PRODUCT, faiss.ScalarQuantizer.QT_8bit
LINKS = 32  # of a node of the graph
CONSTRUCTION_EFFORT = 200
TRAINED_ON = 100_000  # vectors
CODE_DIMENSIONS = (3, 4, 2)  # in a 4-bit product code: the first that divides a vector
LISTS = 1.5  # times the root of how many vectors there are
VECTORS_PER_LIST = 64  # that k-means is given for each inverted list, 39 being FAISS's least
# From so many chunks on, auto is another kind: where a search takes longer than the next kind's.
HNSW_FROM = 30_000
IVF_FROM = 2_000_000


Sample = NDArray[np.float32]  # vectors (n, dim) to train on


def exact_index(dim: int, _sample: Sample, _chunks: int) -> Any:
    """Every vector is compared, in float16."""
    return new_index(dim)


def sq8_index(dim: int, sample: Sample, _chunks: int) -> Any:
    """Every vector is compared, in 8 bits a dimension."""
    index = faiss.IndexScalarQuantizer(dim, EIGHT_BITS, INNER_PRODUCT)
    index.train(sample)
    return faiss.IndexIDMap(index)


def hnsw_index(dim: int, sample: Sample, _chunks: int) -> Any:
    """A graph of neighbours over 8-bit vectors."""
    index = faiss.IndexHNSWSQ(dim, EIGHT_BITS, LINKS, INNER_PRODUCT)  # type: ignore[arg-type]
    index.hnsw.efConstruction = CONSTRUCTION_EFFORT
    index.train(sample)
    return faiss.IndexIDMap(index)


def ivf_index(dim: int, sample: Sample, chunks: int) -> Any:
    """Inverted lists of 4-bit product codes, for so many chunks."""
    lists = max(1, min(int(LISTS * chunks**0.5), len(sample) // VECTORS_PER_LIST))
    index: Any = faiss.index_factory(dim, f"IVF{lists},PQ{codes_for(dim)}x4fs", INNER_PRODUCT)
    index.train(sample)
    return index


# faiss itself adds the keyword arguments of its parameters, in Python
def plain_parameters(_effort: int | None, selector: Any) -> Any:
    """Of what has no effort."""
    return faiss.SearchParameters(sel=selector) if selector else None  # type: ignore[call-arg]


def hnsw_parameters(effort: int | None, selector: Any) -> Any:
    """``effort`` is efSearch."""
    return faiss.SearchParametersHNSW(sel=selector, efSearch=effort)  # type: ignore[attr-defined]


def ivf_parameters(effort: int | None, selector: Any) -> Any:
    """``effort`` is nprobe."""
    return faiss.SearchParametersIVF(sel=selector, nprobe=effort)  # type: ignore[call-arg]


class Kind(NamedTuple):
    """How an index of a kind is made and searched.

    ``make(dim, sample, chunks)``: an empty index for so many chunks. ``parameters(effort,
    selector)``: what FAISS takes beside the query. ``effort``: the default, None where there is
    none. ``refine``: candidates scored again for each hit wanted, and ``least`` of them;
    ``per_effort`` more for each unit of effort.
    """

    make: Callable[[int, Sample, int], Any]
    parameters: Callable[[int | None, Any], Any]
    effort: int | None
    refine: int
    least: int
    per_effort: float = 0.0

    def candidates(self, k: int, effort: int | None) -> int:
        """How many are retrieved, to be scored again, where k are wanted."""
        return max(k * self.refine, self.least, int(self.per_effort * (effort or 0)))


# Recall@10 of 300,000 sentences of MiniLM's space: hnsw 0.966, 0.982, 0.988, 0.990 at an effort of
# 64, 96, 128, 160 (built with half the construction effort 0.982 at 128); ivf 0.961, 0.975 at 128,
# 192 of 821 lists, 100 candidates scored again (codes of 4 dimensions need 256 candidates for as
# much; RaBitQ finds as much and is ten times slower). ivf's codes are coarse: half as many
# candidates are scored again as lists are read.
KINDS = {
    SnapshotKind.EXACT: Kind(exact_index, plain_parameters, None, 1, 0),
    SnapshotKind.SQ8: Kind(sq8_index, plain_parameters, None, 2, 20),
    SnapshotKind.HNSW: Kind(hnsw_index, hnsw_parameters, 160, 2, 20),
    SnapshotKind.IVF: Kind(ivf_index, ivf_parameters, 192, 10, 100, per_effort=0.5),
}


def kind_for(kind: SnapshotKind, chunks: int, dim: int) -> SnapshotKind:
    """The kind itself, or what auto stands for at that size."""
    if kind is SnapshotKind.IVF and not can_be_ivf(chunks, dim):
        return SnapshotKind.EXACT
    if kind is not SnapshotKind.AUTO:
        return kind
    if chunks >= IVF_FROM and can_be_ivf(chunks, dim):
        return SnapshotKind.IVF
    return SnapshotKind.HNSW if chunks >= HNSW_FROM else SnapshotKind.EXACT


def can_be_ivf(chunks: int, dim: int) -> bool:
    """Whether there are enough vectors for lists, and codes fit the dimensions."""
    return chunks >= 16 * VECTORS_PER_LIST and codes_for(dim) > 0


def codes_for(dim: int) -> int:
    """How many 4-bit codes a vector has; 0 where none divide it."""
    return next((dim // size for size in CODE_DIMENSIONS if dim % size == 0), 0)


def new_index(dim: int) -> Any:
    """An empty exact FAISS index of float16 vectors under the inner product, with own ids."""
    storage = faiss.IndexScalarQuantizer(
        dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    return faiss.IndexIDMap(storage)


def fill(index: Any, batches: Iterable[Vectors]) -> int:
    """Add vectors under their chunk keys; the last key, or 0.

    IndexFolderError for a vector that is not finite: it would be near to everything or to nothing.
    """
    last = 0

    def checked() -> Iterator[Vectors]:
        nonlocal last
        for batch in batches:
            if not np.isfinite(batch.vectors).all():
                raise IndexFolderError("damaged: a stored vector is not finite (trimseek verify)")
            last = int(batch.keys[-1])
            yield batch

    if can_build(index):
        build_graph(index, checked())
    else:
        for keys, stored in checked():
            index.add_with_ids(stored.astype(np.float32), keys)
    return last


def snapshot_path(folder: Path, number: int) -> Path:
    """Where the snapshot of a number lies."""
    return folder / f"snapshot-{number}.faiss"


def vectors_path(folder: Path, number: int) -> Path:
    """Where the vectors beside the snapshot of a number lie."""
    return folder / f"vectors-{number}.bin"


def words_path(folder: Path, number: int) -> Path:
    """Where the words beside the snapshot of a number lie."""
    return folder / f"words-{number}.bin"


class BuiltSnapshot(NamedTuple):
    """A snapshot file that is not in use yet.

    ``masked``: tombstones of before it was begun, whose chunks it does not hold. ``began_from``:
    number of the snapshot that it is to replace, 0 where there was none.
    """

    path: Path
    kind: SnapshotKind
    sha256: str
    last_chunk: int
    chunks: int
    masked: NDArray[np.int64]
    began_from: int
    words: "BuiltWords"
    vectors: "BuiltVectors"


class BuiltWords(NamedTuple):
    """A file of words that is not in use yet; ``sha256`` is "" where there are no words.

    ``made``: how often all words of the index had been made when it was.
    """

    path: Path
    sha256: str
    made: int


class BuiltVectors(NamedTuple):
    """A file of vectors that is not in use yet."""

    path: Path
    sha256: str


@contextmanager
def built_snapshot(store: Store, folder: Path, dim: int) -> Iterator[BuiltSnapshot]:
    """A snapshot of every stored chunk in a temporary file, which is removed unless it is used.

    Others may write meanwhile: what they add is not in it, what they delete stays masked.
    StorageError if the disk is full.
    """
    with ExitStack() as stack:
        with store.reading() as frozen:
            masked, count, record = frozen.tombstones(), frozen.counts().chunks, frozen.snapshot()
            kind = wanted_kind(frozen, count, dim)
            faiss.omp_set_num_threads(load_settings().threads)
            index = KINDS[kind].make(dim, frozen.sample(TRAINED_ON, dim), count)
            last = fill(index, frozen.vectors(0, dim))
            words = stack.enter_context(built_words(frozen, folder, last))
            vectors = stack.enter_context(built_vectors(frozen, folder, dim, last, kind))
        path = stack.enter_context(temporary_file(folder / "snapshot.faiss"))
        try:
            faiss.write_index(index, str(path))
        except RuntimeError as error:  # FAISS's word for a failed write
            reason = str(error).rpartition("Error: ")[2]
            raise StorageError(
                f"{path}: cannot write ({reason}); the documents are stored, run it again"
            ) from error
        sync_file(path)
        began_from = record.number if record else 0
        yield BuiltSnapshot(
            path, kind, sha256_of(path), last, index.ntotal, masked, began_from, words, vectors
        )


@contextmanager
def built_words(store: Store, folder: Path, last_chunk: int) -> Iterator[BuiltWords]:
    """The words of documents up to a chunk in a temporary file, removed unless it is used.

    StorageError if the disk is full.
    """
    with temporary_file(folder / "words.bin") as path:
        if not store.has_words:
            yield BuiltWords(path, "", 0)
            return
        blocks = blocks_of(store.word_rows(0, last_chunk))
        with write_errors(path):
            sha256 = write_words(blocks, path)
        yield BuiltWords(path, sha256, store.words_made())


@contextmanager
def built_vectors(
    store: Store, folder: Path, dim: int, last_chunk: int, kind: SnapshotKind
) -> Iterator[BuiltVectors]:
    """The vectors of chunks up to one in a temporary file, removed unless it is used.

    A snapshot of ``kind`` is what they lie beside: those of a graph are sketched.

    StorageError if the disk is full.
    """
    with temporary_file(folder / "vectors.bin") as path:
        with write_errors(path):
            batches = store.chunk_vectors(0, dim, last_chunk)
            sha256 = write_vectors(batches, dim, path, sketched=kind is SnapshotKind.HNSW)
        yield BuiltVectors(path, sha256)


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """StorageError where a file cannot be written."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{path}: cannot write ({error}); the documents are stored, run it again"
        ) from error


def add_files(store: Store, folder: Path, dim: int) -> None:
    """Write what belongs beside the snapshot and is not there, under the write lock.

    An earlier trimseek made no such files. The vectors of chunks that were deleted since the
    snapshot was made are gone: it then stays without a file of vectors.
    """
    record = store.snapshot()
    if record is None:
        return
    if not record.words:
        with built_words(store, folder, record.last_chunk) as words, store.transaction():
            words.path.replace(words_path(folder, record.number))
            sync_folder(folder)
            store.set_words_file(words.sha256)
    kind = SnapshotKind(record.kind)
    if not store.vectors_file(record.number) and not len(store.tombstones()):
        with (
            built_vectors(store, folder, dim, record.last_chunk, kind) as vectors,
            store.transaction(),
        ):
            vectors.path.replace(vectors_path(folder, record.number))
            sync_folder(folder)
            store.set_vectors_file(record.number, vectors.sha256)


def use_snapshot(built: BuiltSnapshot, store: Store, folder: Path) -> SnapshotRecord | None:
    """Make it the index's snapshot, under the write lock; None if another was quicker.

    The tombstones of the other are not those of this one: it would show what was deleted.
    """
    with store.transaction():
        old = store.snapshot()
        if (old.number if old else 0) != built.began_from:
            return None
        number = built.began_from + 1
        path = snapshot_path(folder, number)
        built.path.replace(path)
        words = ""
        if built.words.sha256 and built.words.made == store.words_made():
            built.words.path.replace(words_path(folder, number))
            words = built.words.sha256
        built.vectors.path.replace(vectors_path(folder, number))
        sync_folder(folder)
        record = SnapshotRecord(
            number, built.kind.value, built.sha256, built.last_chunk, built.chunks, words
        )
        store.set_snapshot(record, built.masked)
        store.set_vectors_file(number, built.vectors.sha256)
    kept = (path, words_path(folder, number), vectors_path(folder, number))
    for file, sha256 in zip(kept, (built.sha256, words, built.vectors.sha256), strict=True):
        CheckedFile(file, sha256).note()
    for other in (*folder.glob("snapshot-*.faiss"), *folder.glob("*-*.bin")):
        if other not in kept and OLD_FILE.fullmatch(other.name) and other.is_file():
            other.unlink(missing_ok=True)
    return record


def build_snapshot(store: Store, folder: Path, dim: int) -> SnapshotRecord | None:
    """Write a snapshot of what is stored and use it, under the write lock."""
    with built_snapshot(store, folder, dim) as built:
        return use_snapshot(built, store, folder)


def read_snapshot(record: SnapshotRecord, folder: Path, dim: int, *, anew: bool = False) -> Any:
    """The FAISS index of a snapshot file; IndexFolderError if it is missing or damaged.

    ``anew``: its content is checked though it was checked before (``trimseek.checked``).
    """
    path = snapshot_path(folder, record.number)
    if not path.is_file():
        raise IndexFolderError(f"{path}: missing")
    checked = CheckedFile(path, record.sha256, anew=anew)
    if not checked.has_checksum():
        raise IndexFolderError(f"{path}: damaged: its checksum is not the recorded one")
    is_mapped = record.kind != SnapshotKind.IVF.value
    if not checked.known:
        index = read_faiss(path)
        try:
            check_index(index, record, dim)
        except IndexFolderError as error:
            raise IndexFolderError(f"{path}: damaged: {error}") from error
        checked.note()
        if not is_mapped:
            return index
    return read_faiss(path, faiss.IO_FLAG_MMAP_IFC if is_mapped else 0)


def read_faiss(path: Path, flags: int = 0) -> Any:
    """The index in a FAISS file; IndexFolderError.

    Mapped, processes share its memory and read no more of it than they need; but what FAISS maps it
    follows blindly: only files that were read and checked are.
    """
    faiss.set_deserialization_vector_byte_limit(path.stat().st_size + TABLES)
    faiss.set_deserialization_loop_limit(LOOP_LIMIT)
    try:
        return faiss.read_index(str(path), flags)
    except RuntimeError as error:
        raise IndexFolderError(f"{path}: FAISS cannot read it: {error}") from error


def check_files(
    store: Store, record: SnapshotRecord, folder: Path, dim: int, *, anew: bool = False
) -> None:
    """IndexFolderError where a file beside the snapshot is missing or damaged.

    ``anew``: their content is checked though it was checked before.
    """
    if record.words:
        read_words(record, words_path(folder, record.number), anew=anew)
    if sha256 := store.vectors_file(record.number):
        read_vectors(record, sha256, vectors_path(folder, record.number), dim, anew=anew)


def stored_keys(index: Any) -> NDArray[np.int64]:
    """The chunk keys that a snapshot holds."""
    if isinstance(index, faiss.IndexIDMap):
        return np.asarray(faiss.vector_to_array(index.id_map), np.int64)
    return list_keys(index.invlists)


def wanted_kind(store: Store, chunks: int, dim: int) -> SnapshotKind:
    """The kind that the index's next snapshot is."""
    return kind_for(chosen_kind(store), chunks, dim)


def chosen_kind(store: Store) -> SnapshotKind:
    """The kind that the index was made to have; IndexFolderError if there is no such kind."""
    name = store.setting(KIND, SnapshotKind.AUTO.value)
    try:
        return SnapshotKind(name)
    except ValueError:
        raise IndexFolderError(f"{store.path}: damaged: no kind {name!a:.40}") from None


def is_stale(store: Store, dim: int) -> bool:
    """Whether enough has changed since the snapshot for a new one, or it is of another kind."""
    record, chunks = store.snapshot(), store.counts().chunks
    if record is None or record.kind != wanted_kind(store, chunks, dim).value:
        return True
    deleted = len(store.tombstones())
    added = chunks + deleted - record.chunks
    return added + deleted > max(STALE_ROWS, STALE_SHARE * record.chunks)
