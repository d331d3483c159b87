"""What a search reads of a cluster: its shards' answers, put together as one index would give them.

A query's words are weighed by all documents, and whatever is of equal rank comes in the order of
the corpus; so the lists of shards, merged, are the list of one index. Lists are read as far as they
are needed and no further: the front's memory depends on how many hits are wanted, not on how many
shards there are.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from heapq import merge, nlargest
from itertools import islice
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trimseek.cluster.placement import grouped, shard_of, shard_of_key
from trimseek.cluster.shard import LikelyHits, ShardList, ShardQuery, Span
from trimseek.cluster.shards import Question, Shards, seconds_left
from trimseek.cluster.statistics import CorpusWords
from trimseek.errors import MissingShardsError
from trimseek.indexer.card import IndexCard
from trimseek.indexer.documents import Document
from trimseek.indexer.facets import MOST_VALUES
from trimseek.indexer.filters import Condition, Field, Filter, Scalar, kind_name
from trimseek.indexer.rows import StoredChunk
from trimseek.search.candidates import Candidate
from trimseek.search.fusion import HybridSearch, Ranking, tells
from trimseek.search.hits import Hit, ShardCount, Source
from trimseek.search.options import Mode, Options
from trimseek.search.query_words import QueryWords
from trimseek.search.reader import ValueCounts
from trimseek.search.retrieval import deeper, with_source
from trimseek.search.suggestions import TEXTS, Writing, suggestion
from trimseek.search.vocabulary import weighed

T = TypeVar("T")
K = TypeVar("K")

MOST_LIKELY = 40  # hits of a search whose shards give them together with their lists
LIKELY = 10  # hits of the beginning of each list of each shard
SPARE = 16  # places of each list that are asked for beyond a shard's share
FIRST_VALUES, VALUES_GROWTH, MOST_VALUES_READ = 1000, 8, 64_000  # of a facet, of each shard


class ClusterReader:
    """One question to a cluster; ``shards``: how many have answered all that was asked.

    ``seconds``: that a shard may take for an answer.
    """

    def __init__(
        self, card: IndexCard, documents: int, shards: Shards, words: CorpusWords, seconds: float
    ) -> None:
        self.card, self._documents, self._shards = card, documents, shards
        self._words, self._seconds = words, seconds
        self._failed: dict[int, str] = {}
        self._needs_all = False
        self._hits: dict[int, Hit] = {}

    has_words = True

    @property
    def shards(self) -> ShardCount:
        """How many shards have answered all that was asked."""
        return ShardCount(self._shards.count - len(self._failed), self._shards.count)

    def ask(self, questions: Mapping[int, Question], *, needs_all: bool) -> dict[int, Any]:
        """Ask shards that have answered until now; MissingShardsError where all are needed.

        Also where none is left.
        """
        asked = {shard: each for shard, each in questions.items() if shard not in self._failed}
        if asked:
            answers = self._shards.ask(asked, seconds_left(self._seconds))
            self._failed |= answers.failed
        if self._failed and (
            needs_all or self._needs_all or len(self._failed) == self._shards.count
        ):
            shard, reason = next(iter(self._failed.items()))
            raise MissingShardsError(
                f"{len(self._failed)} of {self._shards.count} shards do not answer (shard {shard}: "
                f"{' '.join(reason.split()):.200}); try again"
            )
        return answers.by_shard if asked else {}

    def ask_all(self, method: str, *arguments: Any, needs_all: bool = True) -> list[Any]:
        """Ask every shard the same; the answers in the order of shards."""
        question = Question(method, arguments)
        answers = self.ask(dict.fromkeys(range(self._shards.count), question), needs_all=needs_all)
        return [answers[shard] for shard in sorted(answers)]

    def _ask_owners(self, method: str, documents: Sequence[int], field: Field) -> list[Any]:
        """Ask of a field of some documents, by their keys: each shard of its own."""
        of_shard = grouped(documents, shard_of_key)
        questions = {shard: Question(method, (field, own)) for shard, own in of_shard.items()}
        return list(self.ask(questions, needs_all=False).values())

    def _ask_of_candidates(
        self, method: str, candidates: Sequence[Candidate], *arguments: Any
    ) -> dict[int, Any]:
        """Ask of candidates: each shard of its own, as the first argument; joined by document."""
        of_shard = grouped(candidates, lambda candidate: shard_of_key(candidate.document))
        questions = {shard: Question(method, (own, *arguments)) for shard, own in of_shard.items()}
        return joined(self.ask(questions, needs_all=False).values())

    def words(self, query: str, *, prefix: bool = False) -> QueryWords:
        """A query's words."""
        return QueryWords(query, self._words, self._words, prefix=prefix)

    def batches(
        self,
        words: QueryWords,
        vector: NDArray[np.float32] | None,
        options: Options,
        first: int,
    ) -> Iterator[list[Candidate]]:
        """Documents, best first, some at a time."""
        self._needs_all = options.require_all
        likely = None
        if options.offset + first <= MOST_LIKELY and not options.scorer:
            likely = LikelyHits(min(first, LIKELY), words.telling_words, of_hits(options))
        query = self._query(words, vector, options)
        lists = MergedLists(self, query, self._shards.count, likely)
        self._hits = lists.hits
        if options.mode is Mode.LEXICAL:
            return deeper(lists.lexical, first)
        if options.mode is Mode.DENSE:
            return deeper(lists.dense, first)
        return HybridSearch(lists, options.weight, options.fusion).batches()

    def _query(
        self, words: QueryWords, vector: NDArray[np.float32] | None, options: Options
    ) -> ShardQuery:
        vector = None if options.mode is Mode.LEXICAL else vector
        given = (options.title_weight, options.where, options.effort)
        if options.mode is Mode.DENSE:
            return ShardQuery(vector, None, (), 0, 0, 0.0, *given)
        terms = weighed(words.term_ids, self._words)
        return ShardQuery(
            vector,
            tuple(map(self._words.term_of, terms.ids)),
            tuple(terms.weights),
            terms.rarest,
            terms.documents,
            self._words.mean_length(options.title_weight),
            *given,
        )

    def field_values(self, field: Field, documents: Sequence[int]) -> dict[int, Scalar]:
        """The first value of a metadata field of each document that has one."""
        return joined(self._ask_owners("field_values", documents, field))

    def facet_counts(self, field: Field, documents: Sequence[int]) -> ValueCounts:
        """The values of a field among some documents."""
        return most_frequent(self._ask_owners("facet_counts", documents, field))[:MOST_VALUES]

    def facet_totals(self, field: Field, where: Filter | None) -> ValueCounts:
        """The values of a field among all documents of a filter.

        Each shard gives its most frequent values, more until no value that it left out could be
        among the most frequent of all (the threshold algorithm of Fagin, Lotem & Naor 2003), or
        could change their counts.
        """
        wanted = FIRST_VALUES
        while True:
            counted = self.ask_all("facet_totals", field, where, wanted)
            best = most_frequent(counted)[:MOST_VALUES]
            cut = [some for some in counted if len(some) >= wanted]
            if not cut or wanted >= MOST_VALUES_READ:
                return best
            known = [{(kind_name(value), value) for value, _ in some} for some in cut]
            keys = {(kind_name(value), value) for value, _ in best}
            left_out = sum(some[-1][1] for some in cut)
            if all(keys <= of_shard for of_shard in known) and left_out < best[-1][1]:
                return best
            wanted *= VALUES_GROWTH

    def passages(
        self, candidates: Sequence[Candidate], words: QueryWords
    ) -> dict[int, StoredChunk]:
        """Each document's best passage by document."""
        return self._ask_of_candidates("passages", candidates, words.telling_words)

    def vectors(
        self, candidates: Sequence[Candidate], words: QueryWords
    ) -> dict[int, NDArray[np.float32]]:
        """Each document's best passage's vector."""
        return self._ask_of_candidates("vectors", candidates, words.telling_words)

    def hits(
        self, candidates: Sequence[Candidate], words: QueryWords, options: Options
    ) -> list[Hit]:
        """The documents of some candidates, in their order."""
        left = [each for each in candidates if each.document not in self._hits]
        found = self._hits | self._ask_of_candidates(
            "hits", left, words.telling_words, of_hits(options)
        )
        return [
            found[each.document]._replace(score=each.score, sources=each.sources)
            for each in candidates
            if each.document in found
        ]

    def suggestion(self, words: QueryWords) -> str | None:
        """What a query with mistyped words may have meant."""
        return suggestion(words, self._words, self._words, self._writings)

    def _writings(self, terms: Sequence[str]) -> dict[str, set[str]]:
        """How the first documents of each term write all of them."""
        if not terms:
            return {}
        of_shards: list[Writing] = self.ask_all("written_words", terms, needs_all=False)
        chosen: set[int] = set()
        for term in terms:
            keys = merge(*(writing.first.get(term, []) for writing in of_shards))
            chosen.update(islice(keys, TEXTS))
        words = {
            key: by_term
            for writing in of_shards
            for key, by_term in writing.words.items()
            if key in chosen
        }
        return Writing({}, words).joined()

    def warnings(self, conditions: Sequence[Condition]) -> tuple[str, ...]:
        """A sentence for each condition that asks for what no document has."""
        if not conditions:
            return ()
        of_shards = self.ask_all("missing", conditions, needs_all=False)
        notes = [most_telling(sentences) for sentences in zip(*of_shards, strict=True)]
        return tuple(note for note in dict.fromkeys(notes) if note)

    def passage_sums(self, ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """The sum of the vectors of the passages of those documents that are there."""
        return self._of_ids("passage_sums", ids)

    def keys_of(self, ids: Sequence[str]) -> dict[str, int]:
        """The keys of those documents that are there, by id."""
        return self._of_ids("keys_of", ids)

    def documents(self, ids: Sequence[str]) -> dict[str, Document]:
        """Those documents that are there, by id."""
        return self._of_ids("documents", ids)

    def _of_ids(self, method: str, ids: Sequence[str]) -> dict[str, Any]:
        of_shard = grouped(ids, lambda id_: shard_of(id_, self._shards.count))
        questions = {shard: Question(method, (own,)) for shard, own in of_shard.items()}
        return joined(self.ask(questions, needs_all=True).values())

    def documents_after(
        self, key: int, count: int, where: Filter | None
    ) -> list[tuple[int, Document]]:
        """At most so many documents behind a key, ascending, that a filter lets through."""
        found: list[tuple[int, Document]] = []
        share = -(-count // self._shards.count) + SPARE
        wanted = dict.fromkeys(range(self._shards.count), (key, min(count, share)))
        while wanted:
            questions = {
                shard: Question("documents_after", (after, most, where))
                for shard, (after, most) in wanted.items()
            }
            following = {}
            for shard, some in self.ask(questions, needs_all=True).items():
                found += some
                if len(some) == wanted[shard][1]:
                    following[shard] = some[-1][0]
            found = sorted(found, key=lambda row: row[0])[:count]
            # a shard may have more before the last one that is wanted
            last = found[-1][0] if len(found) == count else math.inf
            wanted = {
                shard: (after, min(count, share))
                for shard, after in following.items()
                if after < last
            }
        return found

    def count(self, where: Filter | None) -> int:
        """How many documents a filter lets through."""
        return self._documents if where is None else sum(self.ask_all("count", where))

    def sample(self, count: int) -> list[Document]:
        """At most so many documents, evenly from all."""
        share = -(-count // self._shards.count)
        return [document for some in self.ask_all("sample", share) for document in some][:count]


class MergedList:
    """One list of all shards, from its beginning, as far as it was read."""

    def __init__(self, shards: int) -> None:
        self.shards = shards
        self.rows: list[tuple[float, int, int, float]] = []  # -score, document, chunk, other score
        self.read = [0] * shards
        self.lowest = [math.inf] * shards  # score of the last row that was read
        self.complete = [False] * shards

    def wanted(self, depth: int) -> dict[int, Span]:
        """What is still to be read of each shard, so that ``depth`` rows are the best of all."""
        share = depth if self.shards == 1 else min(depth, -(-depth // self.shards) + SPARE)
        if not any(self.read) and not any(self.complete):
            return {shard: Span(0, share) for shard in range(self.shards)}
        known = sorted(self.rows)[:depth]
        least = -known[-1][0] if len(known) == depth else -math.inf
        return {
            shard: Span(self.read[shard], min(depth, max(share, 2 * self.read[shard])))
            for shard in range(self.shards)
            if not self.complete[shard] and self.read[shard] < depth and self.lowest[shard] >= least
        }

    def add(self, shard: int, rows: ShardList) -> None:
        """Note what a shard gave."""
        self.rows += zip(
            (-rows.scores).tolist(),
            rows.documents.tolist(),
            rows.chunks.tolist(),
            rows.others.tolist(),
            strict=True,
        )
        self.read[shard] += len(rows.documents)
        self.lowest[shard] = float(rows.scores[-1]) if len(rows.scores) else self.lowest[shard]
        self.complete[shard] = rows.complete or not len(rows.documents)

    def drop(self, shard: int) -> None:
        """Forget a shard that does not answer any more."""
        self.rows = [row for row in self.rows if shard_of_key(row[1]) != shard]
        self.complete[shard] = True

    def best(self, depth: int) -> list[tuple[float, int, int, float]]:
        """The best rows, of equal ones the older document first."""
        self.rows.sort()
        return self.rows[:depth]

    def is_complete(self, depth: int) -> bool:
        """Whether there are no more rows than these."""
        return all(self.complete) and len(self.rows) <= depth


class MergedLists:
    """A query's two lists, of all shards (``fusion.Retriever``)."""

    def __init__(
        self, reader: ClusterReader, query: ShardQuery, shards: int, likely: LikelyHits | None
    ) -> None:
        self._reader, self._query, self._likely = reader, query, likely
        self.hits: dict[int, Hit] = {}
        self._dense, self._lexical = MergedList(shards), MergedList(shards)
        self._live = set(range(shards))

    @property
    def tells(self) -> bool:
        """Whether the query has words that tell documents from each other."""
        return self._query.terms is not None and tells(self._query)

    def _read(self, depth: int, *, lexical_too: bool) -> None:
        """Read both lists to a depth, at once where both are needed."""
        by_meaning = self._query.vector is not None
        while True:
            dense = self._dense.wanted(depth) if by_meaning else {}
            lexical = self._lexical.wanted(depth) if lexical_too else {}
            shards = {*dense, *lexical} & self._live
            if not shards:
                return
            questions = {
                shard: Question(
                    "lists", (self._query, dense.get(shard), lexical.get(shard), self._likely)
                )
                for shard in shards
            }
            self._likely = None  # with the beginnings of lists alone
            answers = self._reader.ask(questions, needs_all=False)
            for shard, lists in answers.items():
                self.hits |= lists.hits
                if lists.dense is not None:
                    self._dense.add(shard, lists.dense)
                if lists.lexical is not None:
                    self._lexical.add(shard, lists.lexical)
            for shard in shards - answers.keys():
                self._live.discard(shard)
                self._dense.drop(shard)
                self._lexical.drop(shard)

    def dense(self, depth: int) -> Ranking:
        """Documents by the score of their best chunk."""
        self._read(depth, lexical_too=self.tells)
        candidates = [
            Candidate(document, -score, chunk)
            for score, document, chunk, _ in self._dense.best(depth)
        ]
        return Ranking(with_source(candidates, "dense"), self._dense.is_complete(depth))

    def lexical(self, depth: int) -> Ranking:
        """Documents by BM25."""
        self._read(depth, lexical_too=True)
        candidates = [
            Candidate(document, -score) for score, document, _, _ in self._lexical.best(depth)
        ]
        return Ranking(with_source(candidates, "lexical"), self._lexical.is_complete(depth))

    def cosines(self, documents: Sequence[int]) -> dict[int, Candidate]:
        """The best chunk of documents that are in the lexical list alone."""
        wanted = set(documents)
        return {
            document: Candidate(document, cosine, chunk or None, {"dense": Source(None, cosine)})
            for _, document, chunk, cosine in self._lexical.rows
            if document in wanted and not math.isnan(cosine)
        }

    def bm25(self, documents: Sequence[int]) -> dict[int, float]:
        """The scores of documents that are in the dense list alone."""
        wanted = set(documents)
        return {
            document: bm25
            for _, document, _, bm25 in self._dense.rows
            if document in wanted and not math.isnan(bm25)
        }


def joined(parts: Iterable[dict[K, Any]]) -> dict[K, Any]:
    """What shards say of their own, as one."""
    return {key: value for part in parts for key, value in part.items()}


def of_hits(options: Options) -> Options:
    """What a shard needs to make hits of documents that are chosen."""
    return replace(options, scorer=None, vector=None, where=None)


def most_frequent(counted: Sequence[ValueCounts]) -> ValueCounts:
    """The counts of shards added up, the most frequent first; of equal ones the smaller value."""
    totals: dict[tuple[str, Any], int] = {}
    for some in counted:
        for value, documents in some:
            key = (kind_name(value), value)
            totals[key] = totals.get(key, 0) + documents
    # in the order of SQLite: numbers, true and false among them, before texts
    order = sorted(
        totals.items(),
        key=lambda each: (-each[1], isinstance(each[0][1], str), each[0][1]),
    )
    return [(value, documents) for (_, value), documents in order]


def most_telling(sentences: Sequence[Sequence[str]]) -> str:
    """What all shards say of a condition; "" where some document has what it asks for."""
    last = [of_shard[-1] for of_shard in sentences]
    if not all(last):
        return ""
    # one that has the field in another kind knows more than one that does not have it at all
    known = [sentence for sentence in last if not sentence.startswith("no document has the field")]
    return nlargest(1, known or last, key=len)[0]
