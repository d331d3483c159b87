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
from trimseek.compression.latency import PAUSE
from trimseek.encoders.cross_encoder import CrossEncoder
from trimseek.encoders.shrink.calibration import Ids
from trimseek.encoders.tokens import PairTokenizer
from trimseek.encoders.weights import FloatArray
from trimseek.eval.quality.collection import TestCollection
from trimseek.eval.quality.measures import measure_run
from trimseek.eval.quality.significance import Values
from trimseek.indexer.analyzer import analyzer_of
from trimseek.indexer.stems import language_of
from trimseek.indexer.words import blocks_of, pack_counts
from trimseek.search.words import Words

DEPTH = 20  # candidates of a query
MOST_QUERIES = 150
TIMED_QUERIES = 5
TIMED_ROUNDS = 5
BEST_GRADE = 10  # of what float32 puts first
SAMPLED = 200  # texts that the language is told by


class Ordering(NamedTuple):
    """A query, and the documents that are to be put in order, by their ids."""

    id: str
    query: str
    candidates: list[str]


class CrossCompressor(Compressor):
    """As ``Compressor``, of a cross-encoder; nothing is trained. ``judged``: see above."""

    judged = False

    def begin(self) -> Values:
        """Each query's nDCG@10 by float32."""
        encoder = CrossEncoder(self.reference)
        scores = [self.scores_of(encoder, ordering) for ordering in self.orderings]
        if self.judged:
            self.qrels = {
                ordering.id: dict(self.trial.qrels[ordering.id]) for ordering in self.orderings
            }
        else:
            self.qrels = {
                ordering.id: agreed_grades(ordering, values)
                for ordering, values in zip(self.orderings, scores, strict=True)
            }
        return self.ndcg(scores)

    @cached_property
    def orderings(self) -> list[Ordering]:
        """The queries, and what is put in order for each."""
        return orderings(self.trial)

    def calibration(self) -> list[Ids]:
        """Token ids of queries with what BM25 finds for them."""
        tokenizer = PairTokenizer(self.base.tokenizer, self.base.max_tokens)
        calibration: list[Ids] = []
        tokens = 0
        for place in range(DEPTH):
            for ordering in self.orderings:
                if place < len(ordering.candidates):
                    text = self.trial.documents[ordering.candidates[place]]
                    (pair,) = tokenizer.encode(ordering.query, [text])
                    calibration.append(pair.ids)
                    tokens += len(pair.ids)
                if tokens > CALIBRATION_TOKENS[1]:
                    return calibration
        return calibration

    def values_of(self, folder: Path) -> Values:
        """Each query's nDCG@10 by the cross-encoder of a folder."""
        encoder = CrossEncoder(folder)
        return self.ndcg([self.scores_of(encoder, ordering) for ordering in self.orderings])

    def scores_of(self, encoder: CrossEncoder, ordering: Ordering) -> FloatArray:
        """The scores of a query's candidates, in their order."""
        texts = [self.trial.documents[id_] for id_ in ordering.candidates]
        return encoder.scores(ordering.query, texts).scores

    def ndcg(self, scores: Sequence[FloatArray]) -> Values:
        """Of each query, nDCG@10 of its candidates in the order of their scores."""
        run = {
            ordering.id: dict(zip(ordering.candidates, values.tolist(), strict=True))
            for ordering, values in zip(self.orderings, scores, strict=True)
        }
        values = measure_run(self.qrels, run, [MEASURE])[str(MEASURE)]
        return np.array([values[ordering.id] for ordering in self.orderings])

    def milliseconds(self, folders: Sequence[Path]) -> list[float]:
        """p50 of putting one query's candidates in order, ms, of each folder, in turns."""
        encoders = [CrossEncoder(folder) for folder in folders]
        times: list[list[float]] = [[] for _ in encoders]
        for number in range(TIMED_ROUNDS + 1):
            for encoder, seconds in zip(encoders, times, strict=True):
                time.sleep(PAUSE)
                for ordering in self.orderings[:TIMED_QUERIES]:
                    began = time.perf_counter()
                    self.scores_of(encoder, ordering)
                    if number:  # the first round only warms up
                        seconds.append(time.perf_counter() - began)
        return [1000 * median(seconds) for seconds in times]

    def can_train(self) -> bool:
        """Never: there is no alignment of cross-encoders yet."""
        return False


class JudgedCrossCompressor(CrossCompressor):
    """Whose losses are measured by the judgements of the trial."""

    judged = True


def orderings(trial: TestCollection) -> list[Ordering]:
    """Some of a collection's queries, evenly from all, with what BM25 finds.

    Not those of which it finds fewer than two documents.
    """
    ids = list(trial.documents)
    texts = list(trial.documents.values())
    analyzer = analyzer_of(language_of(texts[:: -(-len(texts) // SAMPLED)]))
    terms: dict[str, int] = {}
    rows = []
    for number, text in enumerate(texts):
        counts = analyzer.counts(text)
        known = {terms.setdefault(term, len(terms)): count for term, count in counts.items()}
        rows.append((number + 1, pack_counts(known, {})))
    blocks = tuple(blocks_of(rows))
    words = Words(None, 0, 0, blocks, (None,) * len(blocks), len(rows))
    found = []
    names = list(trial.queries)
    for id_ in names[:: -(-len(names) // MOST_QUERIES)]:
        query = trial.queries[id_]
        asked = [[terms[term]] for term in analyzer.counts(query) if term in terms]
        best = words.scores(asked).best(DEPTH).chunks.tolist() if asked else []
        if len(best) > 1:
            found.append(Ordering(id_, query, [ids[number - 1] for number in best]))
    return found


def agreed_grades(ordering: Ordering, scores: FloatArray) -> dict[str, int]:
    """Grades of the documents by their place in an order, ``BEST_GRADE`` for the first."""
    order = np.argsort(-scores, kind="stable")[:BEST_GRADE].tolist()
    return {ordering.candidates[i]: BEST_GRADE - place for place, i in enumerate(order)}
