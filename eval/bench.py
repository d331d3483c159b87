"""Measure encoders on test collections: what they find, how long they take, what they weigh.

Quality is that of documents cut at the encoder's max_tokens, as published results are made.
"""

import os
import platform
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from encoders.cached import embed, text_hash
from encoders.cpu import cpu_flags, cpu_name, int8_flags, int8_path
from encoders.folder import TOKENIZER
from encoders.tokens import TextTokenizer
from encoders.weights import FloatArray
from eval.agreement import Ranking, agreement
from eval.collection import TestCollection
from eval.contenders import Contender, OurContender, open_peers
from eval.grid import Grid
from eval.measures import depth_of, measure_run
from eval.results import (
    BenchReport,
    CollectionSummary,
    Comparison,
    EncodeSpeed,
    IndexSize,
    Machine,
    Quality,
    Rates,
    Row,
    Unavailable,
    from_json,
    pair_name,
    write_results,
)
from eval.retrieval import EXACT, BuiltIndex, as_run, build_index, rank, write_run
from eval.roofline import MatrixProducts
from eval.significance import loss, loss_interval, randomization_test, record
from eval.timing import Times, Work, encode_speed, search_speed, time_contenders
from trimseek.console import note
from trimseek.errors import CorpusError, WorkerError
from trimseek.settings import load_settings
from trimseek.versions import installed_versions

SAME_VECTORS = 0.9999  # cosine: rankings of float32 vectors this near are the same
COMPARED_TEXTS = 64  # documents and queries on which vectors are compared


@dataclass(frozen=True)
class Combination:
    """What one row measures."""

    documents: Contender
    queries: Contender
    index: str

    @property
    def peer(self) -> bool:
        return self.queries.peer

    @property
    def encoders(self) -> str:
        return pair_name(self.documents.name, self.queries.name)


@dataclass
class Ranked:
    """What a combination found, and the index that it was found in."""

    ranking: Ranking
    index: BuiltIndex
    path: Path
    per_query: dict[str, dict[str, float]] = field(default_factory=dict)
    taken_from: str | None = None


def bench(
    collections: Sequence[TestCollection],
    grid: Grid,
    command: str = "",
    unfinished: Path | None = None,
) -> BenchReport:
    """Measure every combination of the grid on every collection.

    ``unfinished``: a file that keeps each collection's results once they are there. If a run of
    the same command and versions left it, its collections are not measured again.
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
    """The contenders, warm for as long as ``opened`` is, and what was measured of them so far."""

    def __init__(self, grid: Grid, opened: ExitStack) -> None:
        self.grid = grid
        self.ours = {}
        for name, folder in grid.encoders.items():
            self.ours[name] = OurContender(name, folder)
            opened.callback(self.ours[name].close)
        self.reference = self.ours[grid.reference]
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
        """Measure the collection and append its rows."""
        self.summaries = [each for each in self.summaries if each.name != collection.name]
        self.rows = [row for row in self.rows if row.collection != collection.name]
        with tempfile.TemporaryDirectory(prefix="trimseek-bench-") as folder:
            self.rows += CollectionBench(self, collection, Path(folder)).rows()

    def go_on(self, unfinished: Path, command: str) -> None:
        """Take over what an interrupted run measured, if it was this one."""
        try:
            found = from_json(unfinished)
        except CorpusError as error:
            note(f"{error}; beginning anew")
            return
        now = self.report(command)
        if (found.command, found.machine.versions) != (command, now.machine.versions):
            return
        self.summaries, self.rows = list(found.collections), list(found.rows)
        self.rates = [found.machine.rates] if found.machine.rates else []
        names = ", ".join(each.name for each in found.collections)
        note(f"{unfinished}: going on after {names}")

    def has(self, collection: TestCollection) -> bool:
        """Whether the collection's rows are there already."""
        found = {each.name: (each.text_hash, each.query_ids) for each in self.summaries}
        texts = text_hash(list(collection.documents.values()))
        return found.get(collection.name) == (texts, list(collection.queries))

    def drop(self, peer: str, error: WorkerError) -> None:
        """Leave out a peer that broke down, and say so."""
        self.unavailable[peer] = str(error).removeprefix(f"{peer}: ")
        self.peers.pop(peer, None)
        note(f"{peer} is left out: {self.unavailable[peer]}")

    def combinations(self) -> Iterator[Combination]:
        """The reference under exact search first, then ours, then peers under exact search."""
        yield Combination(self.reference, self.reference, EXACT)
        for pair in self.grid.pairs:
            for kind in self.grid.indexes:
                yield Combination(self.ours[pair.document], self.ours[pair.query], kind)
        for peer in list(self.peers.values()):
            yield Combination(peer, peer, EXACT)

    def report(self, command: str) -> BenchReport:
        rates = None
        if self.rates:
            rates = Rates(
                float(np.median([each.int8 for each in self.rates])),
                float(np.median([each.float32 for each in self.rates])),
            )
        return BenchReport(
            date=datetime.now(UTC).date().isoformat(),
            command=command,
            reference=self.reference.name,
            measures=[str(measure) for measure in self.grid.measures],
            machine=machine(rates, self.peer_versions),
            collections=self.summaries,
            rows=self.rows,
            unavailable=[Unavailable(*each) for each in self.unavailable.items()],
        )


class CollectionBench:
    """One collection; FAISS files go to ``folder``."""

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
        self.embedded: dict[tuple[str, str], FloatArray] = {}

    def rows(self) -> list[Row]:
        self.bench.summaries.append(self.summary())
        ranked: dict[Combination, Ranked] = {}
        for each in dict.fromkeys(self.bench.combinations()):
            try:
                ranked[each] = self.ranked(each, next(iter(ranked.values()), None))
            except WorkerError as error:
                if not each.peer:
                    raise
                self.bench.drop(each.queries.name, error)
        times = self.time(ranked) if self.grid.timing else None
        reference = next(iter(ranked.values()))
        return [
            self.row(combination, found, reference, times)
            for combination, found in ranked.items()
            if combination.queries.name not in self.bench.unavailable
        ]

    def summary(self) -> CollectionSummary:
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

    def ranked(self, combination: Combination, reference: Ranked | None) -> Ranked:
        """Rank with the combination, or take over the reference's ranking of the same vectors."""
        same = combination.peer and reference is not None and self.same_vectors(combination)
        documents = self.bench.reference if same else combination.documents
        index, path = self.index(documents, combination.index)
        if same and reference is not None:
            name = self.bench.reference.name
            return Ranked(reference.ranking, index, path, reference.per_query, name)
        vectors = self.vectors(combination.queries, "query")
        ranking, scores = rank(self.collection, index, vectors, self.depth)
        run = as_run(self.collection, ranking, scores)
        if self.grid.runs is not None:
            name = file_name(f"{combination.encoders}.{combination.index}")
            path_of_run = self.grid.runs / f"{file_name(self.collection.name)}.{name}.trec"
            write_run(run, path_of_run, name)
        found = Ranked(ranking, index, path)
        if self.collection.is_judged:
            found.per_query = measure_run(self.collection.qrels, run, self.grid.measures)
        return found

    def index(self, documents: Contender, kind: str) -> tuple[BuiltIndex, Path]:
        if (documents.name, kind) not in self.indexes:
            built = build_index(kind, self.vectors(documents, "document"))
            path = self.folder / f"{len(self.indexes)}.faiss"
            built.write(path)
            self.indexes[documents.name, kind] = built, path
        return self.indexes[documents.name, kind]

    def vectors(self, contender: Contender, role: str) -> FloatArray:
        if (contender.name, role) not in self.embedded:
            self.embedded[contender.name, role] = embed(
                self.document_texts if role == "document" else self.query_texts,
                lambda texts: contender.encode(texts, role),
                dim=(
                    contender if isinstance(contender, OurContender) else self.bench.reference
                ).card.dim,
                fingerprint=f"{contender.fingerprint}-{role}",
                label=f"{self.collection.name}: {contender.name}, {role}s",
                cached=self.grid.cached,
            )
        return self.embedded[contender.name, role]

    def same_vectors(self, combination: Combination) -> bool:
        """Whether a float32 peer's vectors of some texts are the reference's, to float32's eye."""
        if combination.queries.precision == "int8":
            return False
        for texts, role in ((self.document_texts, "document"), (self.query_texts, "query")):
            step = max(1, len(texts) // COMPARED_TEXTS)
            ours = self.vectors(self.bench.reference, role)[::step][:COMPARED_TEXTS]
            theirs = combination.queries.encode(texts[::step][:COMPARED_TEXTS], role)
            if (ours * theirs).sum(1).min() < SAME_VECTORS:
                return False
        return True

    def time(self, ranked: dict[Combination, Ranked]) -> Times:
        contenders = {}
        for combination in ranked:
            for each in (combination.documents, combination.queries):
                contenders[each.name] = each
        times = time_contenders(
            self.collection,
            contenders,
            [(each.queries.name, found.path) for each, found in ranked.items()],
            batches=self.grid.batches,
            clients=self.grid.clients,
            products=self.bench.products,
            failed=self.bench.drop,
        )
        self.bench.rates.append(times.machine_rates)
        return times

    def row(
        self, combination: Combination, found: Ranked, reference: Ranked, times: Times | None
    ) -> Row:
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
            quality=self.quality(found, reference) if found.per_query else None,
            agreement=agreement(reference.ranking, found.ranking),
            index_size=IndexSize(found.index.bytes_per_document, found.index.build_seconds),
            encode=self.encode_speed(combination, times) if times else None,
            retrieve=search_speed(times.search[queries.name, found.path]) if times else None,
        )

    def encode_speed(self, combination: Combination, times: Times) -> EncodeSpeed:
        documents, queries = combination.documents, combination.queries
        return encode_speed(
            times.encode[queries.name],
            times.encode[documents.name],
            times.machine_rates,
            (queries.precision, documents.precision),
            self.work(times, documents, queries),
        )

    def quality(self, found: Ranked, reference: Ranked) -> Quality:
        main = str(self.grid.measures[0])
        values = {
            measure: [each[query] for query in self.collection.queries]
            for measure, each in found.per_query.items()
        }
        comparison = None
        if found is not reference:
            ours = np.array(values[main])
            theirs = np.array(
                [reference.per_query[main][query] for query in self.collection.queries]
            )
            comparison = Comparison(
                loss(theirs, ours),
                loss_interval(theirs, ours),
                randomization_test(theirs, ours),
                record(theirs, ours),
            )
        return Quality(
            measures={measure: float(np.mean(each)) for measure, each in values.items()},
            per_query=[round(value, 4) for value in values[main]],
            comparison=comparison,
            taken_from=found.taken_from,
        )

    def work(self, times: Times, documents: Contender, queries: Contender) -> Work:
        """What encoding took; a peer has the reference's weights."""
        by_query = queries if isinstance(queries, OurContender) else self.bench.reference
        by_document = documents if isinstance(documents, OurContender) else self.bench.reference
        in_bulk, one_by_one = (
            [[len(self.tokens[text].ids) for text in texts] for texts in turns]
            for turns in (times.sample.documents, times.sample.queries)
        )
        return Work(
            tokens=[sum(lengths) for lengths in in_bulk],
            query=[by_query.work(lengths) / len(lengths) for lengths in one_by_one],
            documents=[float(by_document.work(lengths)) for lengths in in_bulk],
        )


def file_name(name: str) -> str:
    """A name with nothing in it that a path or a run file's tag could not hold."""
    return "".join(c if c.isalnum() or c in "-+." else "_" for c in name)


def machine(rates: Rates | None, peer_versions: dict[str, dict[str, str]]) -> Machine:
    return Machine(
        cpu=cpu_name(),
        flags=int8_flags() + [flag for flag in ("avx2", "fma") if flag in cpu_flags()],
        int8=int8_path().value,
        cores=os.cpu_count() or 1,
        threads=load_settings().threads,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        rates=rates,
        versions=installed_versions(),
        peer_versions=peer_versions,
    )
