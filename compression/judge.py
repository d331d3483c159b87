"""Measures the loss of encoders on one half of a trial."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from trimseek.compression.budget import MEASURE
from trimseek.compression.estimate import (
    AS_MANY,
    FEWEST_QUERIES,
    Claim,
    Estimate,
    combined,
    judged_noise,
    measured,
)
from trimseek.compression.pseudo_judgments import agreed, judged_loss
from trimseek.compression.trial import Half
from trimseek.encoders.cached import embed_with
from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.encoders.weights import FloatArray
from trimseek.errors import CorpusError
from trimseek.eval.quality.agreement import Ranking
from trimseek.eval.quality.collection import TestCollection
from trimseek.eval.quality.judgments import Qrels
from trimseek.eval.quality.measures import measure_run
from trimseek.eval.quality.retrieval import EXACT, BuiltIndex, as_run, build_index, rank
from trimseek.eval.quality.significance import Values

FEWEST_ALONE = 30  # judged queries that a confirmation takes alone


class Questions(NamedTuple):
    """Queries of one kind with what is relevant to them, and float32's nDCG@10 of each."""

    collection: TestCollection
    exact: Values


class HalfJudge(Protocol):
    """Measures losses on one half of a trial, of the encoders in folders."""

    def estimate(self, folder: Path, confidence: float) -> Claim:
        """What an encoder loses, by all that is known."""

    def confirm(self, folder: Path, confidence: float) -> Claim:
        """What is claimed of an encoder."""


class Judge:
    """Measures losses on a half; ``reference``: the folder of the float32 encoder.

    ``documents_by``: the folder of the encoder whose vectors the documents have, whatever encoder
    is measured; None where that embeds them itself. CorpusError if there is nothing to measure on.
    """

    def __init__(self, half: Half, reference: Path, documents_by: Path | None) -> None:
        self.half = half
        index = build_index(EXACT, self.document_vectors(reference, cached=True))
        self.judged = self.questions(half.queries, half.qrels, index, reference)
        if half.queries and not self.judged.exact.any():
            raise CorpusError(f"{half.name}: float32 finds nothing there; nothing can be compared")
        self.made = self.made_questions(index, reference)
        agreed_on = len(self.made.exact)
        if max(len(self.judged.exact), agreed_on) < FEWEST_QUERIES:
            raise CorpusError(
                f"{half.name}: float32 and the words agree on documents for {agreed_on} queries "
                "made from these texts, which are too few to measure a loss on; give more texts"
            )
        self.fixed = None
        if documents_by is not None:
            self.fixed = build_index(EXACT, self.document_vectors(documents_by, cached=True))

    def document_vectors(self, folder: Path, *, cached: bool = False) -> FloatArray:
        """The documents' vectors ``(n, dim)``; ``cached``: kept for the next run."""
        texts = list(self.half.documents.values())
        label = f"{self.half.name}: documents"
        return embed_with(DocumentEncoder(folder), texts, label, cached=cached)

    def collection(self, queries: Mapping[str, str], qrels: Qrels) -> TestCollection:
        """These queries to the half's documents."""
        excluded = self.half.excluded
        return TestCollection(self.half.name, self.half.documents, queries, qrels, excluded)

    def questions(
        self, queries: Mapping[str, str], qrels: Qrels, index: BuiltIndex, reference: Path
    ) -> Questions:
        """The queries that have qrels; ``index``: of float32's vectors."""
        collection = self.collection({id_: queries[id_] for id_ in qrels}, qrels)
        return Questions(collection, self.values(collection, index, reference))

    def made_questions(self, index: BuiltIndex, reference: Path) -> Questions:
        """The made queries for which float32 and BM25 agree; ``index`` as in ``questions``."""
        made = self.half.made
        if not made:
            return self.questions({}, {}, index, reference)
        ranking, scores = self.ranking(self.collection(made, {}), index, reference)
        qrels = agreed(made, self.half.documents, ranking)
        rows = [row for row, id_ in enumerate(made) if id_ in qrels]
        collection = self.collection({id_: made[id_] for id_ in qrels}, qrels)
        return Questions(collection, ndcg(collection, ranking[rows], scores[rows]))

    def ranking(
        self, collection: TestCollection, index: BuiltIndex, folder: Path
    ) -> tuple[Ranking, FloatArray]:
        """As ``rank``, of queries by the encoder of a folder."""
        queries = list(collection.queries.values())
        label = f"{self.half.name}: queries"
        vectors = embed_with(QueryEncoder(folder), queries, label, cached=False)
        return rank(collection, index, vectors, MEASURE.depth)

    def values(self, collection: TestCollection, index: BuiltIndex, folder: Path) -> Values:
        """nDCG@10 of each query, encoded by ``folder`` and searched exactly."""
        if not collection.queries:
            return np.zeros(0)
        return ndcg(collection, *self.ranking(collection, index, folder))

    def index_of(self, folder: Path) -> BuiltIndex:
        """The documents' vectors that queries by this encoder are to find."""
        return self.fixed or build_index(EXACT, self.document_vectors(folder))

    def loss(self, questions: Questions, index: BuiltIndex, folder: Path) -> Estimate:
        """What the encoder of a folder loses on such queries, asked of an index."""
        return measured(questions.exact, self.values(questions.collection, index, folder))

    def estimate(self, folder: Path, confidence: float) -> Claim:
        """What an encoder loses, by judgements and made queries together."""
        index = self.index_of(folder)
        judged, agreement = (
            self.loss(questions, index, folder) for questions in (self.judged, self.made)
        )
        expected, queries = judged_loss(agreement), len(self.judged.exact)
        if not queries:
            noise = judged_noise(agreement.loss, AS_MANY)
            intervals = expected.interval(confidence), expected.interval(confidence, noise)
            return Claim(expected.loss, *intervals, len(self.made.exact), judged=False)
        # a few queries that are all the same by chance would be too sure of themselves
        noise = judged_noise(agreement.loss, queries)
        both = combined([judged._replace(deviation=max(judged.deviation, noise)), expected])
        intervals = both.interval(confidence), both.interval(confidence, noise)
        return Claim(both.loss, *intervals, queries, judged=True)

    def confirm(self, folder: Path, confidence: float) -> Claim:
        """What is claimed of an encoder: by judgements alone where they are enough."""
        queries = len(self.judged.exact)
        if queries < FEWEST_ALONE:
            return self.estimate(folder, confidence)
        judged = self.loss(self.judged, self.index_of(folder), folder)
        interval = judged.interval(confidence)
        return Claim(judged.loss, interval, interval, queries, judged=True)


def ndcg(collection: TestCollection, ranking: Ranking, scores: FloatArray) -> Values:
    """nDCG@10 of each query of a ranking; scores ``(queries, depth)``."""
    values = measure_run(collection.qrels, as_run(collection, ranking, scores), [MEASURE])
    return np.array([values[str(MEASURE)][query] for query in collection.queries])
