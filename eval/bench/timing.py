"""Time contenders in turns.

A round has phases: queries one at a time, first without and then with search; batches of queries;
documents; clients. In each phase every contender has its turn, in an order that moves on with every
phase, so that a machine that slows down slows all of them down. Turns of queries are short and
many, because disturbances of a shared machine come and go within seconds. The machine's rate of
matrix products is measured in every round.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import final

import numpy as np

from trimseek.console import progress
from trimseek.errors import WorkerError
from trimseek.eval.bench.contenders import Contender
from trimseek.eval.bench.results import Closed, EncodeSpeed, Percentiles, Rates, SearchSpeed
from trimseek.eval.bench.roofline import MatrixProducts
from trimseek.eval.quality.collection import TestCollection

ROUNDS = 6
QUERY_TURNS = 12  # in each round
TIMED_QUERIES = 8  # in each turn; every turn has queries of its own
TIMED_DOCUMENTS = 96  # in each round; every round has documents of its own
CLIENT_ROUNDS = 3  # the first rounds, which time clients, too
CLIENT_SECONDS = 1.0  # of each closed loop
WARM_UP = 2  # texts
# Before each turn. The threads of the contender before spin for some milliseconds, waiting for more
# work: without a pause that adds 4 ms to a third of the next contender's first dozen queries.
PAUSE = 0.1  # seconds
HITS = 10
SEED = 13

Seconds = list[float]


@dataclass
class EncodeTimes:
    """Seconds that one contender took to encode.

    ``queries``: of each query, by turn. ``batches``: of one text, by batch size and round.
    ``documents``: of all documents of a round, by round. ``closed``: by number of clients and
    round, how long the loop ran and the latencies. ``peak_memory``: bytes.
    """

    queries: list[Seconds] = field(default_factory=list)
    batches: dict[int, Seconds] = field(default_factory=dict)
    documents: Seconds = field(default_factory=list)
    closed: dict[int, list[tuple[float, Seconds]]] = field(default_factory=dict)
    peak_memory: int = 0


@dataclass
class SearchTimes:
    """Seconds of each query, by turn: of the search alone, and with encoding (``total``)."""

    search: list[Seconds] = field(default_factory=list)
    total: list[Seconds] = field(default_factory=list)


@dataclass(frozen=True)
class Sample:
    """Queries of each turn and documents of each round, the same for every contender."""

    queries: list[list[str]]
    documents: list[list[str]]


@final
@dataclass
class Times:
    """``encode`` by contender; ``search`` by contender and index file.

    ``rates``: matrix products of each round, int8 and float32, 10^9 multiply-accumulates a second.
    """

    sample: Sample
    encode: dict[str, EncodeTimes]
    search: dict[tuple[str, Path], SearchTimes]
    rates: list[tuple[float, float]] = field(default_factory=list)

    @property
    def machine_rates(self) -> Rates:
        """Medians over the rounds."""
        int8, float32 = np.median(np.array(self.rates), axis=0).tolist()
        return Rates(int8, float32)


def time_contenders(
    collection: TestCollection,
    contenders: Mapping[str, Contender],
    indexes: Sequence[tuple[str, Path]],
    *,
    batches: Sequence[int],
    clients: Sequence[int],
    products: MatrixProducts,
    failed: Callable[[str, WorkerError], None],
) -> Times:
    """Time every contender in turns; see the module for the order.

    ``indexes``: pairs of a contender, by name, and an index file that its queries search.
    ``batches``, ``clients``: numbers of queries at once and of clients at once. A peer whose
    process breaks down is reported to ``failed`` and left out; for an encoder of trimseek the
    WorkerError is raised.
    """
    times = Times(
        draw_sample(collection),
        {name: EncodeTimes() for name in contenders},
        {pair: SearchTimes() for pair in indexes},
    )
    phases = Phases(times, indexes, batches, clients)
    rotation = Rotation(contenders, failed)
    rotation.run(phases.prepare)
    with progress(f"{collection.name}: timing", ROUNDS) as ticker:
        for number in range(ROUNDS):
            times.rates.append(products.rates())
            turns = times.sample.queries[number * QUERY_TURNS : (number + 1) * QUERY_TURNS]
            queries = [query for turn in turns for query in turn]
            for turn in turns:
                rotation.run(partial(phases.time_queries, texts=turn))
            rotation.run(partial(phases.time_batches, texts=queries))
            rotation.run(partial(phases.time_documents, texts=times.sample.documents[number]))
            if number < CLIENT_ROUNDS:
                rotation.run(partial(phases.time_clients, texts=queries))
            ticker.advance(1)
    rotation.run(phases.read_memory)
    return times


class Rotation:
    """Gives every contender its turn, in an order that moves on by one with every phase."""

    def __init__(
        self, contenders: Mapping[str, Contender], failed: Callable[[str, WorkerError], None]
    ) -> None:
        self._running = dict(contenders)
        self._failed = failed
        self._shift = 0

    def run(self, phase: Callable[[Contender], None]) -> None:
        """Run a phase with each contender after a pause; drop a peer that raises WorkerError."""
        order = list(self._running)
        self._shift = (self._shift + 1) % max(1, len(order))
        for name in order[self._shift :] + order[: self._shift]:
            time.sleep(PAUSE)
            try:
                phase(self._running[name])
            except WorkerError as error:
                if not self._running[name].peer:
                    raise
                self._failed(name, error)
                del self._running[name]


class Phases:
    """What happens in one contender's turn of each phase; the seconds go to ``times``."""

    def __init__(
        self,
        times: Times,
        indexes: Sequence[tuple[str, Path]],
        batches: Sequence[int],
        clients: Sequence[int],
    ) -> None:
        self._times = times
        self._indexes = indexes
        self._batches, self._clients = batches, clients

    def prepare(self, contender: Contender) -> None:
        """Open its indexes, and count its memory from here."""
        contender.peak_memory(reset=True)
        for path in self._index_files(contender):
            contender.open_index(path)

    def time_queries(self, contender: Contender, texts: list[str]) -> None:
        """One query at a time: first encoding alone, then encoding and search."""
        seconds = contender.time(texts, "query", batch=1, warm_up=WARM_UP)
        self._times.encode[contender.name].queries.append(seconds)
        for path in self._index_files(contender):
            answer = contender.query(texts, path, k=HITS, warm_up=0)
            search = self._times.search[contender.name, path]
            search.search.append(answer["search"])
            search.total.append(answer["total"])

    def time_batches(self, contender: Contender, texts: list[str]) -> None:
        """Batches of queries, which are repeated where there are too few."""
        times = self._times.encode[contender.name]
        for size in self._batches:
            batch = (texts * (size // len(texts) + 1))[:size]
            seconds = contender.time(batch, "query", batch=size, warm_up=1)
            times.batches.setdefault(size, []).append(sum(seconds) / len(batch))

    def time_documents(self, contender: Contender, texts: list[str]) -> None:
        """Documents in batches of the encoder's own choice."""
        seconds = contender.time(texts, "document", batch=None, warm_up=1)
        self._times.encode[contender.name].documents.append(sum(seconds))

    def time_clients(self, contender: Contender, texts: list[str]) -> None:
        """Closed loops of as many clients as asked for."""
        times = self._times.encode[contender.name]
        for count in self._clients:
            answer = contender.clients(texts, count, CLIENT_SECONDS)
            outcome = (answer["seconds"], answer["latencies"])
            times.closed.setdefault(count, []).append(outcome)

    def read_memory(self, contender: Contender) -> None:
        """The most memory since ``prepare``."""
        self._times.encode[contender.name].peak_memory = contender.peak_memory()

    def _index_files(self, contender: Contender) -> list[Path]:
        return [path for name, path in self._indexes if name == contender.name]


def draw_sample(collection: TestCollection) -> Sample:
    """Texts for each turn; none occurs twice unless the collection has too few."""
    chosen = random.Random(SEED)  # noqa: S311 - a sample, not a secret

    def draw(texts: list[str], turns: int, count: int) -> list[list[str]]:
        shuffled = chosen.sample(texts, min(len(texts), turns * count))
        endless = shuffled * (turns * count // len(shuffled) + 1)
        return [endless[i * count : (i + 1) * count] for i in range(turns)]

    return Sample(
        draw(list(collection.queries.values()), ROUNDS * QUERY_TURNS, TIMED_QUERIES),
        draw(list(collection.documents.values()), ROUNDS, TIMED_DOCUMENTS),
    )


@dataclass(frozen=True)
class Work:
    """Tokens and multiply-accumulates of the texts that were timed.

    ``tokens``: of each round's documents. ``query``: multiply-accumulates of the mean query of
    each turn; ``documents``: of all documents of each round.
    """

    tokens: list[int]
    query: list[float]
    documents: list[float]


def encode_speed(
    queries: EncodeTimes,
    documents: EncodeTimes,
    rates: Rates,
    precisions: tuple[str, str],
    work: Work,
) -> EncodeSpeed:
    """The speed of a pair: queries of one contender, documents of another or the same.

    ``precisions``: of the two encoders, which choose the rate that their shares are of.
    """
    limits = [
        (rates.int8 if precision == "int8" else rates.float32) * 1e9 for precision in precisions
    ]
    query_turns = [float(np.median(seconds)) for seconds in queries.queries]
    round_seconds = documents.documents
    counts = [TIMED_DOCUMENTS] * len(round_seconds)
    achieved = [macs / seconds for macs, seconds in zip(work.query, query_turns, strict=False)]
    in_bulk = [macs / seconds for macs, seconds in zip(work.documents, round_seconds, strict=True)]
    return EncodeSpeed(
        query=percentiles([second for turn in queries.queries for second in turn]),
        query_turns=[seconds * 1e3 for seconds in query_turns],
        batches={
            str(size): 1 / float(np.median(seconds)) for size, seconds in queries.batches.items()
        },
        closed=[closed_loop(count, runs) for count, runs in queries.closed.items()],
        documents_per_second=median_rate(counts, round_seconds),
        document_rounds=[n / seconds for n, seconds in zip(counts, round_seconds, strict=True)],
        tokens_per_second=median_rate(work.tokens, round_seconds),
        query_share=float(np.median(achieved)) / limits[0],
        document_share=float(np.median(in_bulk)) / limits[1],
        peak_memory=max(queries.peak_memory, documents.peak_memory),
    )


def search_speed(times: SearchTimes) -> SearchSpeed:
    """Percentiles over all queries, and the median of each turn."""
    return SearchSpeed(
        search=percentiles([second for turn in times.search for second in turn]),
        end_to_end=percentiles([second for turn in times.total for second in turn]),
        end_to_end_turns=[float(np.median(turn)) * 1e3 for turn in times.total],
    )


def median_rate(counts: Sequence[int], seconds: Sequence[float]) -> float:
    """Median over the rounds of a count a second."""
    return float(np.median([n / second for n, second in zip(counts, seconds, strict=True)]))


def closed_loop(clients: int, runs: Sequence[tuple[float, Seconds]]) -> Closed:
    """All runs of so many clients together; a run is its duration and its latencies."""
    latencies = [second for _, of_run in runs for second in of_run]
    rate = len(latencies) / sum(elapsed for elapsed, _ in runs)
    return Closed(clients, rate, percentiles(latencies))


def percentiles(seconds: Sequence[float]) -> Percentiles:
    """p50, p95 and p99 in milliseconds."""
    values = np.percentile(np.array(seconds) * 1e3, [50, 95, 99])
    return Percentiles(*(float(value) for value in values))
