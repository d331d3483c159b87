"""Measure encoders on test collections: retrieval quality, speed, memory and size.

Documents are cut at the encoder's max_tokens, as for published results.
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from trimseek.console import note
from trimseek.encoders.cached import embed, text_hash
from trimseek.encoders.folder import TOKENIZER
from trimseek.encoders.tokens import TextTokenizer
from trimseek.encoders.weights import FloatArray
from trimseek.errors import CorpusError, WorkerError
from trimseek.eval.bench.combination import Combination, CombinationRanking
from trimseek.eval.bench.contenders import (
    Contender,
    TrimseekContender,
    WordsContender,
    open_peers,
)
from trimseek.eval.bench.grid import Grid
from trimseek.eval.bench.machine import describe_machine
from trimseek.eval.bench.results import (
    BenchReport,
    CollectionSummary,
    Comparison,
    EncodeSpeed,
    IndexSize,
    Quality,
    Rates,
    Row,
    Unavailable,
    read_results,
    write_results,
)
from trimseek.eval.bench.roofline import MatrixProducts
from trimseek.eval.bench.timing import Times, Work, encode_speed, search_speed, time_contenders
from trimseek.eval.quality.agreement import agreement
from trimseek.eval.quality.collection import TestCollection
from trimseek.eval.quality.graphs import is_graph
from trimseek.eval.quality.measures import depth_of, measure_run
from trimseek.eval.quality.retrieval import (
    EXACT,
    BuiltIndex,
    Graphs,
    as_run,
    build_index,
    build_word_index,
    rank,
    write_run,
)
from trimseek.eval.quality.significance import loss, loss_interval, randomization_test, record
from trimseek.eval.quality.words import WordIndex
from trimseek.search.query_words import QueryWords
from trimseek.settings import load_settings

SAME_VECTORS = 0.9999  # cosine from which on two float32 vectors count as equal
COMPARED_TEXTS = 64  # documents and queries on which vectors are compared


def run_bench(
    collections: Sequence[TestCollection],
    grid: Grid,
    command: str = "",
    unfinished: Path | None = None,
) -> BenchReport:
    """Measure every combination of the grid on every collection.

    ``unfinished``: a file that results are written to after every collection. If a run of the same
    command and versions left it, the collections in it are not measured again.
    """
    with ExitStack() as opened:
        bench = Bench(grid, opened)
        if unfinished is not None and unfinished.is_file():
            bench.go_on(unfinished, command)
        for collection in collections:
            if not bench.has(collection):
                bench.add(collection)
                if unfinished is not None:
                    write_results(bench.report(command), unfinished)
        return bench.report(command)


class Bench:
    """The contenders, which run until ``opened`` is closed, and their results so far."""

    def __init__(self, grid: Grid, opened: ExitStack) -> None:
        self.grid = grid
        self.encoders = {}
        for name, folder in grid.encoders.items():
            self.encoders[name] = TrimseekContender(name, folder)
            opened.callback(self.encoders[name].close)
        self.reference = self.encoders[grid.reference]
        self.words = WordsContender() if grid.words else None
        if self.words is not None:
            opened.callback(self.words.close)
        self.unavailable: dict[str, str] = {}
        peers, self.unavailable = open_peers(grid.peers, self.reference.card, grid.checkpoint)
        self.peers = {peer.name: peer for peer in peers}
        for peer in peers:
            opened.callback(peer.close)
        self.peer_versions = {peer.name: peer.versions for peer in peers}
        self.products = MatrixProducts(load_settings().threads)
        self.rates: list[Rates] = []
        self.summaries: list[CollectionSummary] = []
        self.rows: list[Row] = []

    def add(self, collection: TestCollection) -> None:
        """Measure the collection; its rows replace those that it has."""
        others = [summary for summary in self.summaries if summary.name != collection.name]
        self.summaries = others
        self.rows = [row for row in self.rows if row.collection != collection.name]
        with tempfile.TemporaryDirectory(prefix="trimseek-bench-") as folder:
            self.rows += CollectionBench(self, collection, Path(folder)).rows()

    def go_on(self, unfinished: Path, command: str) -> None:
        """Take over the results of an interrupted run of the same command and versions."""
        try:
            earlier = read_results(unfinished)
        except CorpusError as error:
            note(f"{error}; beginning anew")
            return
        now = self.report(command)
        if (earlier.command, earlier.machine.versions) != (command, now.machine.versions):
            return
        self.summaries, self.rows = list(earlier.collections), list(earlier.rows)
        self.rates = [earlier.machine.rates] if earlier.machine.rates else []
        names = ", ".join(summary.name for summary in earlier.collections)
        note(f"{unfinished}: going on after {names}")

    def has(self, collection: TestCollection) -> bool:
        """Whether there are rows of this name, these texts and these queries."""
        measured = {
            summary.name: (summary.text_hash, summary.query_ids) for summary in self.summaries
        }
        texts = text_hash(list(collection.documents.values()))
        return measured.get(collection.name) == (texts, list(collection.queries))

    def drop(self, peer: str, error: WorkerError) -> None:
        """Leave out a peer whose process failed, and say so."""
        self.unavailable[peer] = str(error).removeprefix(f"{peer}: ")
        self.peers.pop(peer, None)
        note(f"{peer} is left out: {self.unavailable[peer]}")

    def combinations(self) -> Iterator[Combination]:
        """The reference under exact search first; then the grid; words and peers, exactly, too."""
        yield Combination(self.reference, self.reference, EXACT)
        for pair in self.grid.pairs:
            for kind in self.grid.indexes:
                yield Combination(self.encoders[pair.documents], self.encoders[pair.queries], kind)
        if self.words is not None:
            yield Combination(self.words, self.words, EXACT)
        for peer in list(self.peers.values()):
            yield Combination(peer, peer, EXACT)

    def report(self, command: str) -> BenchReport:
        """Everything measured so far; the machine's rates are medians over the collections."""
        medians = None
        if self.rates:
            medians = Rates(
                float(np.median([rates.int8 for rates in self.rates])),
                float(np.median([rates.float32 for rates in self.rates])),
            )
        return BenchReport(
            date=datetime.now(UTC).date().isoformat(),
            command=command,
            reference=self.reference.name,
            measures=[str(measure) for measure in self.grid.measures],
            machine=describe_machine(medians, self.peer_versions),
            collections=self.summaries,
            rows=self.rows,
            unavailable=[Unavailable(peer, reason) for peer, reason in self.unavailable.items()],
        )


class CollectionBench:
    """Measures one collection; indexes go to ``folder``."""

    def __init__(self, bench: Bench, collection: TestCollection, folder: Path) -> None:
        self.bench, self.grid, self.collection, self.folder = bench, bench.grid, collection, folder
        self.document_texts = list(collection.documents.values())
        self.query_texts = list(collection.queries.values())
        self.depth = depth_of(self.grid.measures)
        card = bench.reference.card
        tokenizer = TextTokenizer.from_file(
            bench.reference.folder / TOKENIZER, card.max_tokens, card.prompts.get("document", "")
        )
        texts = [*self.document_texts, *self.query_texts]
        self.tokens = dict(zip(texts, tokenizer.encode(texts), strict=True))
        self.indexes: dict[tuple[str, str], tuple[BuiltIndex, Path]] = {}
        self.graphs = Graphs(folder)
        self.embedded: dict[tuple[str, str], FloatArray] = {}

    def rows(self) -> list[Row]:
        """Rank, then time; a row for each combination whose peer did not fail."""
        self.bench.summaries.append(self.summary())
        rankings: dict[Combination, CombinationRanking] = {}
        for combination in dict.fromkeys(self.bench.combinations()):
            try:
                reference = next(iter(rankings.values()), None)
                rankings[combination] = self.rank(combination, reference)
            except WorkerError as error:
                if not combination.peer:
                    raise
                self.bench.drop(combination.queries.name, error)
        times = self.time(rankings) if self.grid.timing else None
        first = next(iter(rankings.values()))
        return [
            self.row(combination, ranking, first, times)
            for combination, ranking in rankings.items()
            if combination.queries.name not in self.bench.unavailable
        ]

    def summary(self) -> CollectionSummary:
        """Its size and lengths in the reference's tokens; notes how many documents are cut."""
        documents = [self.tokens[text] for text in self.document_texts]
        queries = [self.tokens[text] for text in self.query_texts]
        truncated = sum(text.truncated for text in documents)
        if truncated:
            limit = self.bench.reference.card.max_tokens
            note(f"{self.collection.name}: {truncated:,} documents cut at {limit} tokens")
        return CollectionSummary(
            name=self.collection.name,
            text_hash=text_hash(self.document_texts),
            documents=len(documents),
            queries=len(queries),
            judged=self.collection.is_judged,
            truncated_documents=truncated,
            mean_document_tokens=float(np.mean([len(text.ids) for text in documents])),
            mean_query_tokens=float(np.mean([len(text.ids) for text in queries])),
            query_ids=list(self.collection.queries),
        )

    def rank(
        self, combination: Combination, reference: CombinationRanking | None
    ) -> CombinationRanking:
        """Rank with the combination; a peer with the reference's vectors has its ranking."""
        same = combination.peer and reference is not None and self.same_vectors(combination)
        documents = self.bench.reference if same else combination.documents
        index, path = self.index(documents, combination.index)
        if same and reference is not None:
            name = self.bench.reference.name
            return CombinationRanking(reference.ranking, index, path, reference.per_query, name)
        queries: FloatArray | list[QueryWords]
        if isinstance(index.index, WordIndex):
            queries = index.index.queries(self.query_texts)
        else:
            queries = self.vectors(combination.queries, "query")
        ranking, scores = rank(self.collection, index, queries, self.depth)
        run = as_run(self.collection, ranking, scores)
        if self.grid.runs is not None:
            name = file_name(f"{combination.encoders}.{combination.index}")
            path_of_run = self.grid.runs / f"{file_name(self.collection.name)}.{name}.trec"
            write_run(run, path_of_run, name)
        per_query = {}
        if self.collection.is_judged:
            per_query = measure_run(self.collection.qrels, run, self.grid.measures)
        return CombinationRanking(ranking, index, path, per_query)

    def index(self, documents: Contender, kind: str) -> tuple[BuiltIndex, Path]:
        """The index of a contender's document vectors and its file, built when first wanted."""
        if (documents.name, kind) not in self.indexes:
            if documents is self.bench.words:
                built = build_word_index(self.document_texts, self.folder / "words")
            elif is_graph(kind):
                vectors = self.vectors(documents, "document")
                built = self.graphs.index(documents.name, kind, vectors)
            else:
                built = build_index(kind, self.vectors(documents, "document"))
            path = self.folder / f"{len(self.indexes)}{built.suffix}"
            built.write(path)
            self.indexes[documents.name, kind] = built, path
        return self.indexes[documents.name, kind]

    def vectors(self, contender: Contender, role: str) -> FloatArray:
        """Vectors ``(n, dim)`` of all documents or all queries, encoded when first wanted."""
        if (contender.name, role) not in self.embedded:
            self.embedded[contender.name, role] = embed(
                self.document_texts if role == "document" else self.query_texts,
                lambda texts: contender.encode(texts, role),
                dim=self.weights_of(contender).card.dim,
                fingerprint=f"{contender.fingerprint}-{role}",
                label=f"{self.collection.name}: {contender.name}, {role}s",
                cached=self.grid.cached,
            )
        return self.embedded[contender.name, role]

    def weights_of(self, contender: Contender) -> TrimseekContender:
        """The encoder of trimseek with the contender's weights: a peer has the reference's."""
        return contender if isinstance(contender, TrimseekContender) else self.bench.reference

    def same_vectors(self, combination: Combination) -> bool:
        """Whether a peer's vectors of some texts equal the reference's but for rounding.

        A peer that computes in int8 is never compared.
        """
        if combination.queries.precision == "int8":
            return False
        for texts, role in ((self.document_texts, "document"), (self.query_texts, "query")):
            step = max(1, len(texts) // COMPARED_TEXTS)
            vectors = self.vectors(self.bench.reference, role)[::step][:COMPARED_TEXTS]
            peer_vectors = combination.queries.encode(texts[::step][:COMPARED_TEXTS], role)
            if (vectors * peer_vectors).sum(1).min() < SAME_VECTORS:
                return False
        return True

    def time(self, rankings: dict[Combination, CombinationRanking]) -> Times:
        """Time every contender of the combinations; the machine's rates go to ``bench``."""
        contenders = {}
        for combination in rankings:
            for contender in (combination.documents, combination.queries):
                contenders[contender.name] = contender
        times = time_contenders(
            self.collection,
            contenders,
            [(pair.queries.name, ranking.path) for pair, ranking in rankings.items()],
            batches=self.grid.batches,
            clients=self.grid.clients,
            products=self.bench.products,
            failed=self.bench.drop,
        )
        self.bench.rates.append(times.machine_rates)
        return times

    def row(
        self,
        combination: Combination,
        ranking: CombinationRanking,
        reference: CombinationRanking,
        times: Times | None,
    ) -> Row:
        """The combination's row; ``times`` is None where nothing was timed."""
        documents, queries = combination.documents, combination.queries
        return Row(
            collection=self.collection.name,
            encoder=documents.name,
            query_encoder=queries.name,
            index=combination.index,
            peer=combination.peer,
            precision=queries.precision,
            encoder_bytes=documents.encoder_bytes,
            query_encoder_bytes=queries.encoder_bytes,
            quality=self.quality(ranking, reference) if ranking.per_query else None,
            agreement=agreement(reference.ranking, ranking.ranking),
            index_size=IndexSize(ranking.index.bytes_per_document, ranking.index.build_seconds),
            encode=self.encode_speed(combination, times) if times else None,
            retrieve=search_speed(times.search[queries.name, ranking.path]) if times else None,
        )

    def encode_speed(self, combination: Combination, times: Times) -> EncodeSpeed:
        """Of the combination's two contenders."""
        documents, queries = combination.documents, combination.queries
        return encode_speed(
            times.encode[queries.name],
            times.encode[documents.name],
            times.machine_rates,
            (queries.precision, documents.precision),
            self.work(times, documents, queries),
        )

    def quality(self, ranking: CombinationRanking, reference: CombinationRanking) -> Quality:
        """Means, and the comparison with the reference unless it is the reference itself."""
        main = str(self.grid.measures[0])
        values = {
            measure: [by_query[query] for query in self.collection.queries]
            for measure, by_query in ranking.per_query.items()
        }
        comparison = None
        if ranking is not reference:
            candidate_values = np.array(values[main])
            reference_values = np.array(
                [reference.per_query[main][query] for query in self.collection.queries]
            )
            comparison = Comparison(
                loss(reference_values, candidate_values),
                loss_interval(reference_values, candidate_values),
                randomization_test(reference_values, candidate_values),
                record(reference_values, candidate_values),
            )
        return Quality(
            measures={measure: float(np.mean(numbers)) for measure, numbers in values.items()},
            per_query=[round(value, 4) for value in values[main]],
            comparison=comparison,
            taken_from=ranking.taken_from,
        )

    def work(self, times: Times, documents: Contender, queries: Contender) -> Work:
        """The timed texts' tokens and products; a peer has the reference's weights, words none."""

        def products(contender: Contender, lengths: Sequence[int]) -> float:
            by_words = contender is self.bench.words
            return 0.0 if by_words else float(self.weights_of(contender).work(lengths))

        in_bulk, one_by_one = (
            [[len(self.tokens[text].ids) for text in texts] for texts in turns]
            for turns in (times.sample.documents, times.sample.queries)
        )
        return Work(
            tokens=[sum(lengths) for lengths in in_bulk],
            query=[products(queries, lengths) / len(lengths) for lengths in one_by_one],
            documents=[products(documents, lengths) for lengths in in_bulk],
        )


def file_name(name: str) -> str:
    """The name with ``_`` for what a path or a run file's tag should not hold."""
    return "".join(c if c.isalnum() or c in "-+." else "_" for c in name)
