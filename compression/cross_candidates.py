"""Makes small cross-encoders of one base and measures each, as ``candidates`` does of encoders.

Speed is that of putting the candidates of one query in order. Loss is that of nDCG@10 of these
orders: on a judged collection by its judgements, otherwise by the float32 cross-encoder's own
order, of which the first has grade 10, the second 9 and so on (agreement of rankings).
Candidates are what BM25 finds.
"""

import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

from trimseek.compression.budget import MEASURE
from trimseek.compression.candidates import CALIBRATION_TOKENS, Compressor
from trimseek.compression.estimate import FEWEST_QUERIES, Claim, measured
from trimseek.compression.judge import HalfJudge
from trimseek.compression.latency import PAUSE
from trimseek.compression.text_words import TextWords
from trimseek.compression.trial import Half
from trimseek.encoders.cross_encoder import CrossEncoder
from trimseek.encoders.shrink.calibration import Ids
from trimseek.encoders.tokens import PairTokenizer
from trimseek.encoders.weights import FloatArray
from trimseek.errors import CorpusError
from trimseek.eval.quality.measures import measure_run
from trimseek.eval.quality.significance import Values
from trimseek.time_limit import check_time

DEPTH = 20  # candidates of a query
MOST_QUERIES = 100  # of a half
TIMED_QUERIES = 5
TIMED_ROUNDS = 5
BEST_GRADE = 10  # of what float32 puts first


class Ordering(NamedTuple):
    """A query, and the documents that are to be put in order, by their ids."""

    id: str
    query: str
    candidates: list[str]


class OrderJudge:
    """Measures losses of cross-encoders on a half and its orderings.

    ``reference``: the folder of float32's. CorpusError if there are too few queries.
    """

    def __init__(self, half: Half, found: list[Ordering], reference: Path) -> None:
        self.half, self.orderings = half, found
        if len(self.orderings) < FEWEST_QUERIES:
            raise CorpusError(
                f"{half.name}: {len(self.orderings)} queries with two documents that have their "
                f"words are too few to measure a loss on; {FEWEST_QUERIES} are needed"
            )
        scores = self.scores(reference)
        self.qrels = {
            ordering.id: half.qrels.get(ordering.id) or agreed_grades(ordering, values)
            for ordering, values in zip(self.orderings, scores, strict=True)
        }
        self.exact = self.ndcg(scores)
        if not self.exact.any():
            raise CorpusError(f"{half.name}: float32 finds nothing there; nothing can be compared")

    def scores(self, folder: Path) -> list[FloatArray]:
        """Of each query, the scores of its candidates by the cross-encoder of a folder."""
        encoder, found = CrossEncoder(folder), []
        for ordering in self.orderings:
            check_time()
            found.append(scores_of(encoder, ordering, self.half))
        return found

    def ndcg(self, scores: Sequence[FloatArray]) -> Values:
        """Of each query, nDCG@10 of its candidates in the order of their scores."""
        run = {
            ordering.id: dict(zip(ordering.candidates, values.tolist(), strict=True))
            for ordering, values in zip(self.orderings, scores, strict=True)
        }
        values = measure_run(self.qrels, run, [MEASURE])[str(MEASURE)]
        return np.array([values[ordering.id] for ordering in self.orderings])

    def estimate(self, folder: Path, confidence: float) -> Claim:
        """What a cross-encoder loses."""
        estimate = measured(self.exact, self.ndcg(self.scores(folder)))
        interval = estimate.interval(confidence)
        judged = bool(self.half.qrels)
        return Claim(estimate.loss, interval, interval, len(self.orderings), judged)

    confirm = estimate


class CrossCompressor(Compressor):
    """As ``Compressor``, of a cross-encoder; nothing is trained."""

    def judge(self, half: Half, documents_by: Path | None) -> HalfJudge:
        """Measures losses on a half."""
        found = self.orderings if half is self.trial.choosing else orderings(half)
        began = time.monotonic()
        judge = OrderJudge(half, found, self.reference)
        self.judging_seconds = time.monotonic() - began
        return judge

    def confirming_seconds(self) -> float:
        """As long as float32 took for the half, which is slower."""
        return self.judging_seconds

    @cached_property
    def orderings(self) -> list[Ordering]:
        """The queries that choose, and what is put in order for each."""
        return orderings(self.trial.choosing)

    def calibration(self) -> list[Ids]:
        """Token ids of queries with what BM25 finds for them."""
        tokenizer = PairTokenizer(self.base.tokenizer, self.base.max_tokens)
        calibration: list[Ids] = []
        tokens = 0
        for place in range(DEPTH):
            for ordering in self.orderings:
                if place < len(ordering.candidates):
                    text = self.trial.choosing.documents[ordering.candidates[place]]
                    (pair,) = tokenizer.encode(ordering.query, [text])
                    calibration.append(pair.ids)
                    tokens += len(pair.ids)
                if tokens > CALIBRATION_TOKENS[1]:
                    return calibration
        return calibration

    def milliseconds(self, folders: Sequence[Path]) -> list[float]:
        """p50 of putting one query's candidates in order, ms, of each folder, in turns."""
        encoders = [CrossEncoder(folder) for folder in folders]
        times: list[list[float]] = [[] for _ in encoders]
        for number in range(TIMED_ROUNDS + 1):
            for encoder, seconds in zip(encoders, times, strict=True):
                time.sleep(PAUSE)
                for ordering in self.orderings[:TIMED_QUERIES]:
                    began = time.perf_counter()
                    scores_of(encoder, ordering, self.trial.choosing)
                    if number:  # the first round only warms up
                        seconds.append(time.perf_counter() - began)
        return [1000 * median(seconds) for seconds in times]

    def can_train(self) -> bool:
        """Never: there is no alignment of cross-encoders yet."""
        return False


def orderings(half: Half) -> list[Ordering]:
    """Some of a half's queries, evenly from all, with what BM25 finds.

    Not those of which it finds fewer than two documents.
    """
    ids, words = list(half.documents), TextWords(list(half.documents.values()))
    queries = half.queries or half.made
    names = list(queries)
    found = []
    for id_ in names[:: -(-len(names) // MOST_QUERIES)]:
        best = words.best(queries[id_], DEPTH)
        if len(best) > 1:
            found.append(Ordering(id_, queries[id_], [ids[position] for position in best]))
    return found


def scores_of(encoder: CrossEncoder, ordering: Ordering, half: Half) -> FloatArray:
    """The scores of a query's candidates, in their order."""
    texts = [half.documents[id_] for id_ in ordering.candidates]
    return encoder.scores(ordering.query, texts).scores


def agreed_grades(ordering: Ordering, scores: FloatArray) -> dict[str, int]:
    """Grades of the documents by their place in an order, ``BEST_GRADE`` for the first."""
    order = np.argsort(-scores, kind="stable")[:BEST_GRADE].tolist()
    return {ordering.candidates[i]: BEST_GRADE - place for place, i in enumerate(order)}
