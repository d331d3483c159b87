"""How an index grows: time, memory, disk and what is found, from 10,000 to 300,000 texts.

python -m eval.scale TEXTS.jsonl.gz QUESTIONS.jsonl.gz > eval/results/scale.json

TEXTS becomes indexes of several sizes and of every kind, with a small encoder's vectors, and
QUESTIONS are asked. An index is opened in a process of its own, so that its memory is its own, and
searched on one thread. Vectors come from the encoders' cache where they are there.
"""

import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import numpy as np
from pydantic import TypeAdapter

from encoders import DEFAULT_ENCODER, DocumentEncoder, QueryEncoder, find_encoder
from encoders.cached import embed_with
from encoders.encoder import Encoded
from encoders.unlabelled import read_unlabelled, some_texts
from encoders.weights import FloatArray
from eval.bench import machine
from eval.report import Cells
from eval.results import Machine
from indexer.card import read_card
from indexer.documents import Document
from indexer.folder import folder_bytes, open_index, write_lock
from indexer.ingest import Ingest
from indexer.snapshot import KIND, SnapshotKind, build_snapshot, snapshot_path
from indexer.store import Store
from search import Searcher
from search.tune import TOP, Trial, least_effort, measure
from search.view import open_view
from trimseek.console import note
from trimseek.memory import resident_bytes

ENCODER = "minilm-swift"  # 300,000 texts take the full one four times as long
RESULTS = Path(__file__).parent / "results" / "scale.json"
SIZES = (10_000, 30_000, 100_000, 300_000)
KINDS = (SnapshotKind.EXACT, SnapshotKind.SQ8, SnapshotKind.HNSW, SnapshotKind.IVF)
WANTED = {SnapshotKind.HNSW: 0.99, SnapshotKind.IVF: 0.97}  # recall@10
QUESTIONS = 500
INGESTED, INGEST_TURNS = 4000, 3
PROJECTED = 10_000_000


@dataclass(frozen=True)
class Opened:
    """What a process that searches an index measures of itself.

    ``bytes_per_vector``: that the process grew by, index and its view, not the encoder.
    ``trials``: at the default effort first, then at the least that finds what is wanted.
    """

    open_seconds: float
    bytes_per_vector: float
    trials: tuple[Trial, ...]


@dataclass(frozen=True)
class Scale:
    """An index of one size and kind; ``store_seconds``: of ingest beside encoding."""

    chunks: int
    kind: str
    store_seconds: float
    build_seconds: float
    database_bytes: int
    snapshot_bytes: int
    opened: Opened


@dataclass(frozen=True)
class IngestCost:
    """Medians over turns: seconds of encoding texts alone, and of indexing them, by one encoder."""

    encoder: str
    documents: int
    encode_seconds: float
    index_seconds: float


@dataclass(frozen=True)
class Scaling:
    machine: Machine
    date: str
    ingest: IngestCost
    rows: tuple[Scale, ...]


class Remembered(DocumentEncoder):
    """An encoder that knows some texts' vectors already."""

    def __init__(self, texts: Sequence[str]) -> None:
        super().__init__(find_encoder(ENCODER))
        vectors = embed_with(DocumentEncoder(self.folder), texts, "embedding")
        self._known = dict(zip(texts, vectors, strict=True))

    def encode(self, texts: Sequence[str]) -> Encoded:
        unknown = [each for each in dict.fromkeys(texts) if each not in self._known]
        if unknown:  # parts of what is too long for one passage
            self._known |= dict(zip(unknown, super().encode(unknown).vectors, strict=True))
        known: FloatArray = np.array([self._known[each] for each in texts], np.float32)
        return Encoded(known.reshape(len(texts), self.dim), 0, 0)


@dataclass(frozen=True)
class Texts:
    """A corpus of texts that are numbered."""

    texts: Sequence[str]
    name: str = "texts"
    streamed: bool = True

    def documents(self) -> Iterator[Document]:
        for i, text in enumerate(self.texts):
            yield Document(f"d{i}", "", text)


def measure_ingest(texts: Sequence[str]) -> IngestCost:
    """What storing adds to encoding, with the default encoder; in turns."""
    encoder = DocumentEncoder(find_encoder(DEFAULT_ENCODER))
    encode, index = [], []
    for _ in range(INGEST_TURNS):
        began = time.perf_counter()
        encoder.encode(texts)
        encode.append(time.perf_counter() - began)
        with tempfile.TemporaryDirectory(prefix="trimseek-scale-") as folder:
            run = Ingest(Texts(texts), Path(folder) / "index", encoder, DEFAULT_ENCODER).run()
            index.append(run.seconds)
    return IngestCost(DEFAULT_ENCODER, len(texts), median(encode), median(index))


def measure_scale(texts: Sequence[str], questions: Path) -> Iterator[Scale]:
    encoder = Remembered(texts)
    for size in SIZES:
        with tempfile.TemporaryDirectory(prefix="trimseek-scale-") as name:
            folder = Path(name) / "index"
            run = Ingest(Texts(texts[:size]), folder, encoder, ENCODER, kind=SnapshotKind.EXACT)
            store_seconds = run.run().seconds
            for kind in KINDS:
                yield measure_kind(folder, kind, questions, store_seconds)


def measure_kind(folder: Path, kind: SnapshotKind, questions: Path, store_seconds: float) -> Scale:
    store = Store(folder, writable=True)
    with write_lock(folder):
        with store.transaction():
            store.set_setting(KIND, kind.value)
        began = time.perf_counter()
        record = build_snapshot(store, folder, read_card(folder).dim)
        build_seconds = time.perf_counter() - began
        store.checkpoint()
    store.close()
    snapshot_bytes = snapshot_path(folder, record.number).stat().st_size
    answer = subprocess.run(  # noqa: S603 - this module
        [sys.executable, "-m", "eval.scale", "--open", folder, questions],
        check=True,
        stdout=subprocess.PIPE,
    ).stdout
    opened = TypeAdapter(Opened).validate_json(answer)
    note(f"{record.chunks:,} {kind.value}: built in {build_seconds:.1f} s, {opened}")
    return Scale(
        record.chunks,
        kind.value,
        store_seconds,
        build_seconds,
        folder_bytes(folder) - snapshot_bytes,
        snapshot_bytes,
        opened,
    )


def measure_opened(folder: Path, questions: Path) -> Opened:
    """Open an index in this process, and search it."""
    encoder = QueryEncoder(find_encoder(ENCODER))
    vectors = encoder.encode(some_texts(questions, QUESTIONS)).vectors
    card, store = open_index(folder)
    store.counts()
    before = resident_bytes(os.getpid())
    view = open_view(store, folder, card.dim)
    grown = resident_bytes(os.getpid()) - before
    exact = [set(keys.tolist()) for keys in view.exact_top(vectors, TOP)]
    trials = [measure(view, vectors, exact, None)]
    if view.kind in WANTED:
        trials.append(least_effort(view, vectors, exact, WANTED[view.kind])[-1])
    vectors_held = view.parts[0].index.ntotal
    del view
    store.close()
    began = time.perf_counter()
    Searcher(folder).close()
    return Opened(time.perf_counter() - began, grown / vectors_held, tuple(trials))


def read_scaling() -> Scaling:
    return TypeAdapter(Scaling).validate_json(RESULTS.read_text("utf-8"))


def scaling_cells(found: Scaling) -> list[Cells]:
    """A table of what every kind costs and finds at every size, and one of what that comes to."""
    header = ["texts", "kind", "opened, s", "search p50, ms", "recall@10", "built, s"]
    header += ["memory, bytes/text", "snapshot, MB", "database, MB"]
    rows = []
    for row in found.rows:
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
    return [Cells("searched on one thread", header, rows), projected_cells(found)]


def projected_cells(found: Scaling) -> Cells:
    """What 10 million would take if it grew on as it did between the two largest sizes.

    Along a power law: no such index was built.
    """
    rows = []
    for kind in dict.fromkeys(row.kind for row in found.rows):
        small, large = [row for row in found.rows if row.kind == kind][-2:]

        def grown(of: Callable[[Scale], float], a: Scale = small, b: Scale = large) -> float:
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
    if arguments[0] == "--open":
        print(json.dumps(asdict(measure_opened(Path(arguments[1]), Path(arguments[2])))))
        return
    texts = list(dict.fromkeys(each.text for each in read_unlabelled(Path(arguments[0]))))
    ingest = measure_ingest(texts[:INGESTED])
    note(f"{ingest}")
    rows = tuple(measure_scale(texts[: SIZES[-1]], Path(arguments[1])))
    today = datetime.now(UTC).date().isoformat()
    print(json.dumps(asdict(Scaling(machine(None, {}), today, ingest, rows)), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
