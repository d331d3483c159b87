"""How an index grows: time, memory, disk and recall, from 10,000 to 300,000 texts.

python -m trimseek.eval.figures scale TEXTS.jsonl.gz QUESTIONS.jsonl.gz

TEXTS become indexes of several sizes and of every kind, with a small encoder's vectors; QUESTIONS
are the queries. An index is opened in a process of its own, so that its memory is counted apart,
and searched on one thread. Vectors come from the encoders' cache where they are there.
"""

import json
import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from trimseek.child import module_command
from trimseek.console import note
from trimseek.encoders import DEFAULT_ENCODER, DocumentEncoder, QueryEncoder, find_encoder
from trimseek.encoders.cached import embed_with
from trimseek.encoders.encoder import Encoded
from trimseek.encoders.unlabelled import read_unlabelled, sample_texts
from trimseek.encoders.weights import FloatArray
from trimseek.eval.bench.machine import describe_machine
from trimseek.eval.bench.report import Cells
from trimseek.eval.bench.results import Machine
from trimseek.eval.figures.files import RESULTS, parse_figures, read_figures, today, write_figures
from trimseek.indexer.documents import Document
from trimseek.indexer.folder import configure, folder_bytes, open_for_changes, open_index
from trimseek.indexer.ingest import Ingest
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.notices import Notices
from trimseek.indexer.snapshot import build_snapshot, snapshot_path
from trimseek.memory import resident_bytes
from trimseek.search import Searcher
from trimseek.search.tune import TOP, Trial, least_effort, measure
from trimseek.search.view import open_view

ENCODER = "minilm-swift"  # the full encoder takes four times as long for 300,000 texts
SCALE = RESULTS / "scale.json"
SIZES = (10_000, 30_000, 100_000, 300_000)
KINDS = (SnapshotKind.EXACT, SnapshotKind.SQ8, SnapshotKind.HNSW, SnapshotKind.IVF)
LEAST_RECALL = {SnapshotKind.HNSW: 0.99, SnapshotKind.IVF: 0.97}  # recall@10
QUESTIONS = 500  # of the file
INGESTED, INGEST_TURNS = 4000, 3  # texts, and how often they are indexed
PROJECTED = 10_000_000  # texts


@dataclass(frozen=True)
class OpenedIndex:
    """What a process that opens and searches an index measures of itself.

    ``bytes_per_vector``: the growth of the process while it opened the index. ``trials``: searches
    at the default effort, then at the least effort that reaches ``LEAST_RECALL``.
    """

    open_seconds: float
    bytes_per_vector: float
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class IndexScale:
    """An index of one size and kind; ``store_seconds``: of ingest with vectors that are known."""

    chunks: int
    kind: str
    store_seconds: float
    build_seconds: float
    database_bytes: int
    snapshot_bytes: int
    opened: OpenedIndex


@dataclass(frozen=True)
class IngestCost:
    """Seconds to encode texts, and to index them with the same encoder: medians over turns."""

    encoder: str
    documents: int
    encode_seconds: float
    index_seconds: float


@dataclass(frozen=True)
class Scaling:
    """The content of scale.json."""

    machine: Machine
    date: str
    ingest: IngestCost
    rows: tuple[IndexScale, ...]


class CachingEncoder(DocumentEncoder):
    """An encoder that has the vectors of some texts already, and keeps those of others."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(find_encoder(ENCODER))
        vectors = embed_with(DocumentEncoder(self.folder), texts, "embedding")
        self._known = dict(zip(texts, vectors, strict=True))

    def encode(self, texts: Sequence[str]) -> Encoded:
        """As ``DocumentEncoder.encode``; tokens are not counted."""
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        if unknown:  # passages of texts that are too long for one
            self._known |= dict(zip(unknown, super().encode(unknown).vectors, strict=True))
        known: FloatArray = np.array([self._known[text] for text in texts], np.float32)
        return Encoded(known.reshape(len(texts), self.dim), 0, 0)


@dataclass(frozen=True)
class NumberedTexts:
    """A corpus of texts, whose ids are d0, d1, ..."""

    texts: Sequence[str]
    name: str = "texts"
    streamed: bool = True
    notices: Notices = field(default_factory=Notices)

    def documents(self) -> Iterator[Document]:
        """The texts without titles."""
        for i, text in enumerate(self.texts):
            yield Document(f"d{i}", "", text)


def measure_ingest(texts: Sequence[str]) -> IngestCost:
    """What storing adds to encoding, with the default encoder: both in turns."""
    encoder = DocumentEncoder(find_encoder(DEFAULT_ENCODER))
    encode, index = [], []
    for _ in range(INGEST_TURNS):
        began = time.perf_counter()
        encoder.encode(texts)
        encode.append(time.perf_counter() - began)
        with tempfile.TemporaryDirectory(prefix="trimseek-scale-") as folder:
            run = Ingest(
                NumberedTexts(texts), Path(folder) / "index", encoder, DEFAULT_ENCODER
            ).run()
            index.append(run.seconds)
    return IngestCost(DEFAULT_ENCODER, len(texts), median(encode), median(index))


def measure_scale(texts: Sequence[str], questions: Path) -> Iterator[IndexScale]:
    """Indexes of every size and kind."""
    encoder = CachingEncoder(texts)
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="trimseek-scale-") as name:
            folder = Path(name) / "index"
            run = Ingest(
                NumberedTexts(texts[:size]), folder, encoder, ENCODER, kind=SnapshotKind.EXACT
            )
            store_seconds = run.run().seconds
            for kind in KINDS:
                yield measure_kind(folder, kind, questions, store_seconds)


def measure_kind(
    folder: Path, kind: SnapshotKind, questions: Path, store_seconds: float
) -> IndexScale:
    """Give the index another kind of snapshot, and open it in another process."""
    with open_for_changes(folder) as (card, store):
        configure(store, [], kind)
        began = time.perf_counter()
        record = build_snapshot(store, folder, card.dim)
        build_seconds = time.perf_counter() - began
        assert record is not None  # noqa: S101 - nobody else builds one
        store.checkpoint()
    snapshot_bytes = snapshot_path(folder, record.number).stat().st_size
    answer = subprocess.run(
        [*module_command("trimseek.eval.figures"), "scale", "--open", folder, questions],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    opened = parse_figures(answer, OpenedIndex)
    note(f"{record.chunks:,} {kind.value}: built in {build_seconds:.1f} s, {opened}")
    return IndexScale(
        record.chunks,
        kind.value,
        store_seconds,
        build_seconds,
        folder_bytes(folder) - snapshot_bytes,
        snapshot_bytes,
        opened,
    )


def measure_opened(folder: Path, questions: Path) -> OpenedIndex:
    """Open an index in this process, and search it."""
    encoder = QueryEncoder(find_encoder(ENCODER))
    vectors = encoder.encode(sample_texts(questions, QUESTIONS)).vectors
    with open_index(folder) as (card, store):
        store.counts()
        before = resident_bytes(os.getpid())
        view = open_view(store, folder, card.dim)
        grown = resident_bytes(os.getpid()) - before
        exact = [set(keys.tolist()) for keys in view.exact_top(vectors, TOP)]
        trials = [measure(view, vectors, exact, None)]
        if view.kind in LEAST_RECALL:
            trials.append(least_effort(view, vectors, exact, LEAST_RECALL[view.kind])[-1])
        vectors_held = view.parts[0].index.ntotal
        del view
    began = time.perf_counter()
    Searcher(folder).close()
    return OpenedIndex(time.perf_counter() - began, grown / vectors_held, tuple(trials))


def read_scaling() -> Scaling:
    """The committed results."""
    return read_figures(SCALE, Scaling)


def scaling_cells(scaling: Scaling) -> list[Cells]:
    """A table with a row for each index, and the projection."""
    header = ["texts", "kind", "opened, s", "search p50, ms", "recall@10", "built, s"]
    header += ["memory, bytes/text", "snapshot, MB", "database, MB"]
    rows = []
    for row in scaling.rows:
        trial = row.opened.trials[-1]
        effort = "" if trial.effort is None else f" (effort {trial.effort})"
        rows.append(
            [
                f"{row.chunks:,}",
                row.kind,
                f"{row.opened.open_seconds:.2f}",
                f"{trial.p50_ms:.2f}",
                f"{trial.recall:.3f}{effort}",
                f"{row.build_seconds:.1f}",
                f"{row.opened.bytes_per_vector:.0f}",
                f"{row.snapshot_bytes / 1e6:.1f}",
                f"{row.database_bytes / 1e6:.1f}",
            ]
        )
    return [Cells("searched on one thread", header, rows), projected_cells(scaling)]


def projected_cells(scaling: Scaling) -> Cells:
    """What 10 million texts would take: the power law through the two largest sizes, carried on.

    No such index was built.
    """
    rows = []
    for kind in dict.fromkeys(row.kind for row in scaling.rows):
        small, large = [row for row in scaling.rows if row.kind == kind][-2:]

        def grown(
            of: Callable[[IndexScale], float], a: IndexScale = small, b: IndexScale = large
        ) -> float:
            power = math.log(of(b) / of(a)) / math.log(b.chunks / a.chunks)
            return float(of(b) * (PROJECTED / b.chunks) ** power)

        rows.append(
            [
                kind,
                f"{grown(lambda row: row.opened.trials[-1].p50_ms):.1f}",
                f"{grown(lambda row: row.build_seconds) / 60:.0f}",
                f"{grown(lambda row: row.snapshot_bytes) / 1e9:.1f}",
                f"{grown(lambda row: row.database_bytes) / 1e9:.1f}",
            ]
        )
    header = ["kind", "search p50, ms", "built, minutes", "memory and snapshot, GB", "database, GB"]
    return Cells(f"projected to {PROJECTED:,}, not measured", header, rows)


def main(arguments: Sequence[str]) -> None:
    """Measure and write the results; with --open, measure one index in this process."""
    if arguments[0] == "--open":
        print(json.dumps(asdict(measure_opened(Path(arguments[1]), Path(arguments[2])))))
        return
    texts = list(dict.fromkeys(line.text for line in read_unlabelled(Path(arguments[0]))))
    ingest = measure_ingest(texts[:INGESTED])
    note(f"{ingest}")
    rows = tuple(measure_scale(texts[: SIZES[-1]], Path(arguments[1])))
    write_figures(SCALE, Scaling(describe_machine(None, {}), today(), ingest, rows))
