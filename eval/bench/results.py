"""The results of a benchmark, as one JSON file, results.json; ``schema.json`` describes it.

Format version 2 has one row for each collection, document encoder, query encoder and index.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from pydantic import TypeAdapter, ValidationError

from trimseek.atomic import atomic_file
from trimseek.errors import CorpusError
from trimseek.eval.quality.agreement import Agreement
from trimseek.eval.quality.significance import Interval, Record
from trimseek.formats import read_versioned

FORMAT_VERSION = 2


@final
@dataclass(frozen=True)
class Percentiles:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float


@final
@dataclass(frozen=True)
class Comparison:
    """With the reference encoder, on the main measure.

    ``loss``: relative, with its paired bootstrap 95 % ``interval``; ``p_value``: of Fisher's
    randomization test; ``queries``: how many are better, the same and worse.
    """

    loss: float
    interval: Interval
    p_value: float
    queries: Record


@final
@dataclass(frozen=True)
class Quality:
    """How well a combination finds what is relevant.

    ``measures``: means over the judged queries. ``per_query``: the main (first) measure's values,
    in the order of the collection's ``query_ids``. ``taken_from``: the encoder whose values these
    are, because its vectors are the same on a sample of texts.
    """

    measures: dict[str, float]
    per_query: list[float]
    comparison: Comparison | None
    taken_from: str | None = None


@dataclass(frozen=True)
class Closed:
    """A closed loop of clients, each asking again when it is answered.

    ``queries_per_second`` of all together; ``latency`` of one query. An encoder that cannot be
    called from several threads (OpenVINO's) answers one client at a time.
    """

    clients: int
    queries_per_second: float
    latency: Percentiles


@final
@dataclass(frozen=True)
class EncodeSpeed:
    """Encoding, in a warm process with the machine's threads.

    ``query``: one text at a time; ``query_turns``: p50 of each turn, ms. ``batches``: texts a
    second by batch size. ``document_rounds``: documents a second of each round, in batches of the
    encoder's own choice, and ``documents_per_second`` their median. ``tokens_per_second``: of
    those documents, special tokens included, padding not. ``query_share`` and
    ``document_share``: of the machine's matrix-product rate at this precision. ``peak_memory``:
    the process's largest resident size, bytes.
    """

    query: Percentiles
    query_turns: list[float]
    batches: dict[str, float]
    closed: list[Closed]
    documents_per_second: float
    document_rounds: list[float]
    tokens_per_second: float
    query_share: float
    document_share: float
    peak_memory: int


@final
@dataclass(frozen=True)
class SearchSpeed:
    """``search``: of the k nearest; ``end_to_end``: a text to its hits, encoding included."""

    search: Percentiles
    end_to_end: Percentiles
    end_to_end_turns: list[float]


@final
@dataclass(frozen=True)
class IndexSize:
    """A FAISS index of the collection's documents, and the seconds it took to build."""

    bytes_per_document: float
    build_seconds: float


@dataclass(frozen=True)
class Row:
    """One combination.

    ``encode`` and ``retrieve`` are None when nothing was timed, ``quality`` when nothing is judged.
    ``encode``'s query figures are the query encoder's, its document figures the document
    encoder's; ``agreement`` is with the reference encoder's exact ranking. ``encoder_bytes``: size
    of the model files that run.
    """

    collection: str
    encoder: str
    query_encoder: str
    index: str
    peer: bool
    precision: str
    encoder_bytes: int
    query_encoder_bytes: int
    quality: Quality | None
    agreement: Agreement
    index_size: IndexSize
    encode: EncodeSpeed | None
    retrieve: SearchSpeed | None

    @property
    def encoders(self) -> str:
        """The pair as it is named on the command line."""
        return pair_name(self.encoder, self.query_encoder)

    @property
    def name(self) -> str:
        """The pair, and the index unless it is exact."""
        return self.encoders if self.index == "exact" else f"{self.encoders}, {self.index}"


@dataclass(frozen=True)
class CollectionSummary:
    """A collection; ``judged``: whether it has qrels; ``text_hash``: of the documents' texts."""

    name: str
    text_hash: str
    documents: int
    queries: int
    judged: bool
    truncated_documents: int
    mean_document_tokens: float
    mean_query_tokens: float
    query_ids: list[str]


@dataclass(frozen=True)
class Rates:
    """Measured matrix products, 10^9 multiply-accumulates a second: medians over the rounds."""

    int8: float
    float32: float


@dataclass(frozen=True)
class Machine:
    """Where and with what a benchmark ran. ``rates`` is None when nothing was timed."""

    cpu: str
    flags: list[str]
    int8: str
    cores: int
    threads: int
    memory: int
    system: str
    rates: Rates | None
    versions: dict[str, str]
    peer_versions: dict[str, dict[str, str]]


@dataclass(frozen=True)
class Unavailable:
    """A peer that could not run, and why."""

    peer: str
    reason: str


@dataclass(frozen=True)
class BenchReport:
    """Everything that a run of ``trimseek bench`` measured.

    ``reference``: the encoder that losses are relative to. ``command``: as it was typed.
    """

    date: str
    command: str
    reference: str
    measures: list[str]
    machine: Machine
    collections: list[CollectionSummary]
    rows: list[Row]
    unavailable: list[Unavailable]
    format_version: int = FORMAT_VERSION

    def rows_of(self, collection: str) -> list[Row]:
        """The rows of one collection, by its name."""
        return [row for row in self.rows if row.collection == collection]

    @property
    def main_measure(self) -> str:
        """The first measure, which losses are of."""
        return self.measures[0]


def pair_name(document_encoder: str, query_encoder: str) -> str:
    """Two encoders as they are named on the command line."""
    same = document_encoder == query_encoder
    return document_encoder if same else f"{document_encoder}+{query_encoder}"


ADAPTER = TypeAdapter(BenchReport)


def to_json(report: BenchReport) -> dict[str, Any]:
    """What results.json holds."""
    return asdict(report)


def write_results(report: BenchReport, path: Path) -> None:
    """Write results.json, wholly or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(to_json(report), ensure_ascii=False) + "\n", "utf-8")


def read_results(path: Path) -> BenchReport:
    """Read results.json; CorpusError if it is damaged, contradictory or of another version."""
    fields = read_versioned(path, FORMAT_VERSION, CorpusError)
    try:
        report = ADAPTER.validate_python(fields)
        check_consistent(report, path)
        return report
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise CorpusError(
            f"{path}: not a benchmark's results: {where}: {first['msg'].lower()}"
        ) from error


def check_consistent(report: BenchReport, path: Path) -> None:
    """CorpusError if a row names a collection or a measure that the report does not have."""
    queries = {collection.name: len(collection.query_ids) for collection in report.collections}
    for i, row in enumerate(report.rows):
        per_query = row.quality.per_query if row.quality else None
        known = row.collection in queries and bool(report.measures)
        if not known or (row.quality and set(report.measures) - row.quality.measures.keys()):
            raise CorpusError(f"{path}: rows.{i}: its collection or a measure is missing")
        if per_query is not None and len(per_query) != queries[row.collection]:
            raise CorpusError(f"{path}: rows.{i}: values of {len(per_query)} queries, not of all")


def schema() -> str:
    """The JSON Schema of results.json."""
    return json.dumps(ADAPTER.json_schema(), indent=2) + "\n"
