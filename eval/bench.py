"""Measure encoders on a test collection: what they find and how long they take.

Quality is that of exact search over documents cut at the encoder's max_tokens, as published
results are made. Speed is measured in rounds in which every contender has its turn, so that a
machine that slows down slows all of them down.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from encoders import Encoder
from encoders.cpu import cpu_name, int8_path
from encoders.weights import FloatArray
from eval.collection import TestCollection
from eval.contenders import Contender, OurEncoder, TorchBaseline
from eval.metrics import DEPTH, measure
from indexer.snapshot import new_index
from search.view import View
from trimseek.console import note, progress
from trimseek.settings import load_settings
from trimseek.versions import installed_versions

FORMAT_VERSION = 1
ROUNDS = 5
TIMED_QUERIES = 100  # in each round
TIMED_DOCUMENTS = 128  # in each round
WARM_UP = 10
SEED = 13
ENCODED_AT_A_TIME = 1024


@dataclass(frozen=True)
class Percentiles:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Row:
    """One contender. ``quality`` and ``search`` are None for one that only encodes."""

    encoder: str
    quality: dict[str, float] | None
    encode: Percentiles
    search: Percentiles | None
    documents_per_second: float
    graph_bytes: int | None


@dataclass(frozen=True)
class CollectionReport:
    """The contenders on one collection; ``rows[0]`` is the baseline if there is one."""

    collection: str
    documents: int
    queries: int
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Machine:
    """Where and with what a benchmark ran."""

    cpu: str
    int8: str
    threads: int
    versions: dict[str, str]


@dataclass(frozen=True)
class BenchReport:
    """Everything that a run of ``trimseek bench`` measured."""

    date: str
    machine: Machine
    collections: tuple[CollectionReport, ...]
    format_version: int = FORMAT_VERSION


def bench(
    collections: Sequence[TestCollection], encoders: Sequence[str], *, baseline: bool
) -> BenchReport:
    """Measure every encoder on every collection, with the torch baseline if wanted."""
    threads = load_settings().threads
    ours = [OurEncoder(name) for name in encoders]
    contenders: list[Contender] = [*ours]
    if baseline:
        contenders.insert(0, TorchBaseline(ours[0], threads))
    try:
        reports = tuple(bench_collection(each, ours, contenders) for each in collections)
    finally:
        for contender in contenders:
            contender.close()
    machine = Machine(cpu_name(), int8_path().value, threads, installed_versions())
    return BenchReport(datetime.now(UTC).date().isoformat(), machine, reports)


def bench_collection(
    collection: TestCollection, ours: Sequence[OurEncoder], contenders: Sequence[Contender]
) -> CollectionReport:
    quality, views, vectors = {}, {}, {}
    for encoder in ours:
        views[encoder.name] = view = index_documents(collection, encoder)
        vectors[encoder.name] = queries = encoder.queries.encode(
            list(collection.queries.values())
        ).vectors
        quality[encoder.name] = measure(collection.qrels, search_all(collection, view, queries))
    times = time_contenders(collection, contenders, views, vectors)
    rows = tuple(
        Row(
            encoder=contender.name,
            quality=quality.get(contender.name),
            encode=percentiles(times.queries[contender.name]),
            search=percentiles(times.searches[contender.name]) if contender.name in views else None,
            documents_per_second=times.documents_per_second(contender.name),
            graph_bytes=contender.graph_bytes,
        )
        for contender in contenders
    )
    return CollectionReport(
        collection.name, len(collection.documents), len(collection.queries), rows
    )


def index_documents(collection: TestCollection, encoder: OurEncoder) -> View:
    """An exact index of the documents, whose keys are their positions."""
    index = new_index(encoder.card.dim)
    vectors, truncated = encode_all(
        encoder.documents, list(collection.documents.values()), f"{collection.name} {encoder.name}"
    )
    if truncated:
        limit = encoder.card.max_tokens
        note(f"{collection.name}, {encoder.name}: {truncated:,} documents cut at {limit} tokens")
    index.add_with_ids(vectors, np.arange(len(vectors)))
    return View(0, (index,), np.empty(0, np.int64), len(vectors))


def encode_all(encoder: Encoder, texts: Sequence[str], label: str) -> tuple[FloatArray, int]:
    """Vectors ``(n, dim)``, and how many texts were truncated."""
    parts, truncated = [], 0
    with progress(label, len(texts)) as ticker:
        for start in range(0, len(texts), ENCODED_AT_A_TIME):
            encoded = encoder.encode(texts[start : start + ENCODED_AT_A_TIME])
            parts.append(encoded.vectors)
            truncated += encoded.truncated
            ticker.advance(len(encoded.vectors))
    return np.concatenate(parts), truncated


def search_all(
    collection: TestCollection, view: View, queries: FloatArray
) -> dict[str, dict[str, float]]:
    """The run: the best documents of each query, a query itself never among its own."""
    names = list(collection.documents)
    run = {}
    for query, vector in zip(collection.queries, queries, strict=True):
        found = view.search(vector, DEPTH + 1)
        hits = [(names[key], float(score)) for key, score in zip(*found, strict=True)]
        run[query] = dict([hit for hit in hits if hit[0] != query][:DEPTH])
    return run


class Times:
    """Seconds by contender: for each query and search, and for the document sample per round."""

    def __init__(self, contenders: Sequence[Contender], documents: int) -> None:
        self.queries: dict[str, list[float]] = {each.name: [] for each in contenders}
        self.searches: dict[str, list[float]] = {each.name: [] for each in contenders}
        self.samples: dict[str, list[float]] = {each.name: [] for each in contenders}
        self._documents = documents

    def documents_per_second(self, name: str) -> float:
        return self._documents / float(np.median(self.samples[name]))


def time_contenders(
    collection: TestCollection,
    contenders: Sequence[Contender],
    views: dict[str, View],
    vectors: dict[str, FloatArray],
) -> Times:
    chosen = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    documents = sample(chosen, list(collection.documents.values()), TIMED_DOCUMENTS)
    queries = sample(chosen, list(collection.queries.values()), TIMED_QUERIES)
    times = Times(contenders, len(documents))
    with progress(f"{collection.name} timing", ROUNDS * len(contenders)) as ticker:
        for contender in contenders:
            contender.time_queries(queries[:WARM_UP])
            contender.time_documents(documents[:WARM_UP])
        for _ in range(ROUNDS):
            for contender in contenders:
                name = contender.name
                times.queries[name] += contender.time_queries(queries)
                if name in views:
                    times.searches[name] += time_searches(
                        views[name], vectors[name][:TIMED_QUERIES]
                    )
                times.samples[name].append(contender.time_documents(documents))
                ticker.advance(1)
    return times


def time_searches(view: View, queries: FloatArray) -> list[float]:
    seconds = []
    for vector in queries:
        began = time.perf_counter()
        view.search(vector, 10)
        seconds.append(time.perf_counter() - began)
    return seconds


def sample(chosen: random.Random, texts: list[str], count: int) -> list[str]:
    return texts if len(texts) <= count else chosen.sample(texts, count)


def percentiles(seconds: Sequence[float]) -> Percentiles:
    values = np.percentile(np.array(seconds) * 1e3, [50, 95, 99])
    return Percentiles(*(float(value) for value in values))
