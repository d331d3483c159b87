"""Time contenders in turns.

A round has phases: queries one at a time, first without and then with search, batches of queries,
documents, clients. In each phase every contender has its turn, in an order that moves on every
time, so that a machine that slows down slows all of them down. Turns of queries are short and
many, as what disturbs a shared machine comes and goes within seconds. The machine's own rate is
measured in every round.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import numpy as np

from eval.collection import TestCollection
from eval.contenders import Contender
from eval.results import Closed, EncodeSpeed, Percentiles, Rates, SearchSpeed
from eval.roofline import MatrixProducts
from trimseek.console import progress
from trimseek.errors import WorkerError

ROUNDS = 6
QUERY_TURNS = 12  # in each round
TIMED_QUERIES = 8  # in each turn, other ones in each
TIMED_DOCUMENTS = 96  # in each round, other ones in each
CLIENT_ROUNDS = 3
CLIENT_SECONDS = 1.0
WARM_UP = 2
# Before each turn. The threads of the one before go on spinning for some milliseconds, waiting for
# more: without a rest that adds 4 ms to a third of the next one's first dozen queries.
REST = 0.1  # seconds
HITS = 10
SEED = 13

Seconds = list[float]


@dataclass
class EncodeTimes:
    """Of one contender: for each turn the seconds of its queries, and so on."""

    queries: list[Seconds] = field(default_factory=list)
    batches: dict[int, Seconds] = field(default_factory=dict)  # of one text, for each round
    documents: Seconds = field(default_factory=list)  # of all of a round's documents
    closed: dict[int, list[tuple[float, Seconds]]] = field(default_factory=dict)
    peak_memory: int = 0


@dataclass
class SearchTimes:
    """Of one contender on one index: for each turn the seconds of its queries."""

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
    """``encode`` by contender; ``search`` by contender and index file; rates by round."""

    sample: Sample
    encode: dict[str, EncodeTimes]
    search: dict[tuple[str, Path], SearchTimes]
    rates: list[tuple[float, float]] = field(default_factory=list)

    @property
    def machine_rates(self) -> Rates:
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
    """Run the rounds. ``indexes``: which contender's queries search which index file.

    ``failed`` is told of a peer that breaks down, which then is left out; an encoder of ours
    raises.
    """
    times = Times(
        sample(collection),
        {name: EncodeTimes() for name in contenders},
        {pair: SearchTimes() for pair in indexes},
    )
    running = dict(contenders)

    shift = 0

    def turns(turn: Callable[[Contender], None]) -> None:
        nonlocal shift
        order = list(running)
        shift = (shift + 1) % max(1, len(order))
        for name in order[shift:] + order[:shift]:
            time.sleep(REST)
            try:
                turn(running[name])
            except WorkerError as error:
                if not running[name].peer:
                    raise
                failed(name, error)
                del running[name]

    def prepare(contender: Contender) -> None:
        contender.peak_memory(reset=True)
        for name, path in indexes:
            if name == contender.name:
                contender.open_index(path)

    def queries(contender: Contender) -> None:
        seconds = contender.time(texts, "query", batch=1, warm_up=WARM_UP)
        times.encode[contender.name].queries.append(seconds)
        for name, path in indexes:
            if name == contender.name:
                found = contender.query(texts, path, k=HITS, warm_up=0)
                times.search[name, path].search.append(found["search"])
                times.search[name, path].total.append(found["total"])

    def batched(contender: Contender) -> None:
        for size in batches:
            repeated = (of_round * (size // len(of_round) + 1))[:size]
            seconds = contender.time(repeated, "query", batch=size, warm_up=1)
            of_one = sum(seconds) / len(repeated)
            times.encode[contender.name].batches.setdefault(size, []).append(of_one)

    def documents(contender: Contender) -> None:
        seconds = contender.time(documents_now, "document", batch=None, warm_up=1)
        times.encode[contender.name].documents.append(sum(seconds))

    def closed(contender: Contender) -> None:
        for count in clients:
            found = contender.clients(of_round, count, CLIENT_SECONDS)
            outcome = (found["seconds"], found["latencies"])
            times.encode[contender.name].closed.setdefault(count, []).append(outcome)

    def weigh(contender: Contender) -> None:
        times.encode[contender.name].peak_memory = contender.peak_memory()

    turns(prepare)
    with progress(f"{collection.name}: timing", ROUNDS) as ticker:
        for number in range(ROUNDS):
            documents_now = times.sample.documents[number]
            of_round: list[str] = []
            times.rates.append(products.rates())
            for texts in times.sample.queries[number * QUERY_TURNS : (number + 1) * QUERY_TURNS]:
                of_round += texts
                turns(queries)
            turns(batched)
            turns(documents)
            if number < CLIENT_ROUNDS:
                turns(closed)
            ticker.advance(1)
    turns(weigh)
    return times


def sample(collection: TestCollection) -> Sample:
    """Texts for each turn, drawn without repetition as far as the collection has them."""
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
    """What the texts take: ``tokens`` of each round's documents, and multiply-accumulates.

    ``query``: of a mean query of each turn; ``documents``: of all of each round's.
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
    """Sum up a query encoder's and a document encoder's times; ``precisions`` are those two's."""
    limits = [(rates.int8 if each == "int8" else rates.float32) * 1e9 for each in precisions]
    query_turns = [float(np.median(seconds)) for seconds in queries.queries]
    spent = documents.documents
    counts = [TIMED_DOCUMENTS] * len(spent)
    achieved = [macs / seconds for macs, seconds in zip(work.query, query_turns, strict=False)]
    in_bulk = [macs / seconds for macs, seconds in zip(work.documents, spent, strict=True)]
    return EncodeSpeed(
        query=percentiles([second for each in queries.queries for second in each]),
        query_turns=[seconds * 1e3 for seconds in query_turns],
        batches={str(size): 1 / float(np.median(each)) for size, each in queries.batches.items()},
        closed=[closed_loop(count, runs) for count, runs in queries.closed.items()],
        documents_per_second=median_rate(counts, spent),
        document_rounds=[n / seconds for n, seconds in zip(counts, spent, strict=True)],
        tokens_per_second=median_rate(work.tokens, spent),
        query_share=float(np.median(achieved)) / limits[0],
        document_share=float(np.median(in_bulk)) / limits[1],
        peak_memory=max(queries.peak_memory, documents.peak_memory),
    )


def search_speed(times: SearchTimes) -> SearchSpeed:
    return SearchSpeed(
        search=percentiles([second for each in times.search for second in each]),
        end_to_end=percentiles([second for each in times.total for second in each]),
        end_to_end_turns=[float(np.median(each)) * 1e3 for each in times.total],
    )


def median_rate(counts: Sequence[int], seconds: Sequence[float]) -> float:
    return float(np.median([n / second for n, second in zip(counts, seconds, strict=True)]))


def closed_loop(clients: int, runs: Sequence[tuple[float, Seconds]]) -> Closed:
    latencies = [second for _, each in runs for second in each]
    rate = len(latencies) / sum(elapsed for elapsed, _ in runs)
    return Closed(clients, rate, percentiles(latencies))


def percentiles(seconds: Sequence[float]) -> Percentiles:
    values = np.percentile(np.array(seconds) * 1e3, [50, 95, 99])
    return Percentiles(*(float(value) for value in values))
