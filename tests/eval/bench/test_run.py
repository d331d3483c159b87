import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import ROOT, Run
from trimseek.encoders.pairs import Pair
from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError, CorpusError, EncoderError, WorkerError
from trimseek.eval.bench import timing
from trimseek.eval.bench.contenders import Contender
from trimseek.eval.bench.grid import plan
from trimseek.eval.bench.output import write_report
from trimseek.eval.bench.results import BenchReport, Row, read_results, schema, to_json
from trimseek.eval.bench.run import Bench, run_bench
from trimseek.eval.quality.collection import TestCollection

DOCUMENTS = {
    "cat": "A kitten sleeps on the sofa.",
    "car": "The engine of the automobile needs oil.",
    "tax": "Income is reported to the revenue service once a year.",
}
QUERIES = {"q1": "feline nap", "q2": "vehicle repair", "cat": "what a cat does"}
QRELS = {"q1": {"cat": 1}, "q2": {"car": 1}, "cat": {"tax": 1}}
SCHEMA = ROOT / "eval" / "bench" / "schema.json"


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    names = ("CLIENT_SECONDS", "PAUSE", "ROUNDS", "QUERY_TURNS")
    before = {name: getattr(timing, name) for name in names}
    timing.CLIENT_SECONDS, timing.PAUSE = 0.1, 0.0
    timing.ROUNDS, timing.QUERY_TURNS = 2, 2
    yield
    for name, value in before.items():
        setattr(timing, name, value)


@pytest.fixture(scope="module")
def small() -> TestCollection:
    return TestCollection("small", DOCUMENTS, QUERIES, QRELS)


@pytest.fixture(scope="module")
def report(small: TestCollection) -> BenchReport:
    grid = plan(
        ["minilm-int8", "minilm-float32+minilm-int8", "bm25"],
        indexes=["exact", "HNSW8"],
        batches=[2],
        clients=[2],
        cached=False,
    )
    unjudged = TestCollection("unjudged", DOCUMENTS, QUERIES, {})
    return run_bench([small, unjudged], grid, "trimseek bench <small> & unjudged")


def vector_rows(report: BenchReport, collection: str) -> list[Row]:
    return [row for row in report.rows_of(collection) if row.encoder != "bm25"]


def test_every_combination_has_a_row(report: BenchReport) -> None:
    rows = report.rows_of("small")
    assert [(row.encoder, row.query_encoder, row.index) for row in rows] == [
        ("minilm-float32", "minilm-float32", "exact"),
        ("minilm-float32", "minilm-float32", "HNSW8"),
        ("minilm-int8", "minilm-int8", "exact"),
        ("minilm-int8", "minilm-int8", "HNSW8"),
        ("minilm-float32", "minilm-int8", "exact"),
        ("minilm-float32", "minilm-int8", "HNSW8"),
        ("bm25", "bm25", "exact"),
    ]
    assert report.reference == "minilm-float32"
    assert rows[4].name == "minilm-float32+minilm-int8"
    assert rows[5].name == "minilm-float32+minilm-int8, HNSW8"


def test_quality_of_each_row(report: BenchReport) -> None:
    for row in vector_rows(report, "small"):
        assert row.quality is not None
        assert row.quality.measures["recall@10"] == 1
        # q1 and q2 find their documents first. The third query has the id of a document, which is
        # left out, so that the relevant one of the two others is at the first or second place.
        assert row.quality.measures["MRR@10"] in (pytest.approx(1), pytest.approx(2.5 / 3))
        assert len(row.quality.per_query) == 3
    reference, *others = report.rows_of("small")
    assert [row.name for row in others][-1] == "bm25"
    assert reference.quality is not None
    assert reference.quality.comparison is None
    assert (reference.agreement.overlap, reference.agreement.recall) == (1, 1)
    for row in others:
        assert row.quality is not None
        assert row.quality.comparison is not None
        queries = row.quality.comparison.queries
        assert queries.wins + queries.ties + queries.losses == 3


def test_what_is_not_judged_is_only_compared(report: BenchReport) -> None:
    rows = vector_rows(report, "unjudged")
    assert len(rows) == 6
    assert all(row.quality is None and row.agreement.recall == 1 for row in rows)


def test_speed_of_each_row(report: BenchReport) -> None:
    for row in vector_rows(report, "small") + vector_rows(report, "unjudged"):
        assert row.encode is not None
        assert row.retrieve is not None
        query = row.encode.query
        assert 0 < query.p50 <= query.p95 <= query.p99
        assert len(row.encode.query_turns) == 4
        assert len(row.encode.document_rounds) == 2
        assert row.encode.batches["2"] > 0
        assert row.encode.closed[0].clients == 2
        assert row.encode.closed[0].queries_per_second > 0
        assert row.encode.tokens_per_second > row.encode.documents_per_second > 0
        assert 0 < row.encode.query_share < 2
        assert 0 < row.retrieve.search.p50 < row.retrieve.end_to_end.p50
        assert row.encode.peak_memory > 30e6
        assert row.index_size.bytes_per_document >= 384 * 2
    by_name = {row.name: row for row in report.rows_of("small")}
    assert by_name["minilm-int8"].encoder_bytes < by_name["minilm-float32"].encoder_bytes / 3
    both = by_name["minilm-float32+minilm-int8"]
    assert both.encode is not None
    for name, field in (("minilm-int8", "query_turns"), ("minilm-float32", "document_rounds")):
        alone = by_name[name].encode
        assert getattr(both.encode, field) == getattr(alone, field)


def test_words_are_found_without_any_encoder(report: BenchReport) -> None:
    row = report.rows_of("small")[-1]
    assert row.quality is not None
    assert row.quality.per_query[:2] == [0, 0]  # "feline nap", "vehicle repair"
    assert row.encode is not None
    assert row.retrieve is not None
    assert 0 < row.encode.query.p50 < row.retrieve.end_to_end.p50
    assert row.encode.documents_per_second > 100
    assert (row.encode.query_share, row.encoder_bytes) == (0, 0)
    assert 0 < row.index_size.bytes_per_document < 384


def test_the_machine_and_its_limit(report: BenchReport) -> None:
    machine = report.machine
    assert machine.rates is not None
    assert machine.rates.int8 > 1
    assert machine.rates.float32 > 1
    assert machine.cores >= machine.threads >= 1
    assert "onnxruntime" in machine.versions


def test_results_are_read_as_they_were_written(report: BenchReport, tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(to_json(report)))
    assert read_results(path) == report


def test_the_documented_schema_is_the_real_one() -> None:
    assert SCHEMA.read_text("utf-8") == schema()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"format_version": 2}', "not a benchmark's results: date: field required"),
        ('{"format_version": 1}', "format version 1, this trimseek reads 2"),
        ("[]", "damaged"),
        ('{"format_version": 2, "x": ' + "[" * 100_000, "damaged"),
        ("{", "damaged"),
    ],
)
def test_results_that_are_none_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(CorpusError, match=message):
        read_results(tmp_path / "r.json")


def test_results_that_contradict_themselves_are_refused(
    report: BenchReport, tmp_path: Path
) -> None:
    quality = report.rows[0].quality
    assert quality is not None
    for wrong, message in (
        (replace(report, collections=report.collections[1:]), "rows.0: its collection or a"),
        (replace(report, measures=[]), "its collection or a measure is missing"),
        (replace(report, measures=["P@3"]), "its collection or a measure is missing"),
        (
            replace(
                report, rows=[replace(report.rows[0], quality=replace(quality, per_query=[1.0]))]
            ),
            "values of 1 queries, not of all",
        ),
    ):
        (tmp_path / "r.json").write_text(json.dumps(to_json(wrong)))
        with pytest.raises(CorpusError, match=message):
            read_results(tmp_path / "r.json")


def test_a_second_run_takes_its_vectors_from_the_cache(
    small: TestCollection, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMSEEK_HOME", str(tmp_path))
    grid = plan([str(tiny_encoder)], reference=str(tiny_encoder), timing=False)
    first = run_bench([small], grid)
    cached = sorted(path.name for path in (tmp_path / "embeddings").rglob("*.npy"))
    assert cached == ["0.npy", "0.npy"]
    monkeypatch.setattr("trimseek.eval.bench.contenders.Contender.encode", None)
    (before,), (after,) = first.rows, run_bench([small], grid).rows
    assert replace(after, index_size=before.index_size) == before


def test_an_interrupted_run_goes_on_after_the_collections_it_had(
    small: TestCollection, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = plan([str(tiny_encoder)], timing=False, cached=False)
    others = {id_: text + "." for id_, text in DOCUMENTS.items()}
    second = TestCollection("second", others, QUERIES, QRELS)
    add, added = Bench.add, []

    def interrupted(self: Bench, collection: TestCollection) -> None:
        added.append(collection.name)
        if added == ["small", "second"]:
            raise KeyboardInterrupt
        add(self, collection)

    monkeypatch.setattr(Bench, "add", interrupted)
    left = tmp_path / "unfinished.json"
    with pytest.raises(KeyboardInterrupt):
        run_bench([small, second], grid, "the command", left)
    report = run_bench([small, second], grid, "the command", left)
    assert added == ["small", "second", "second"]
    assert [summary.name for summary in report.collections] == ["small", "second"]
    assert [row.collection for row in report.rows] == ["small", "second"]
    run_bench([small], grid, "another command", left)
    assert added == ["small", "second", "second", "small"]
    left.write_text("{")
    run_bench([small], grid, "the command", left)
    assert added[4:] == ["small"]


@pytest.mark.slow  # each imports transformers and torch
def test_a_peer_that_breaks_down_is_reported(
    small: TestCollection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMSEEK_PEERS", sys.prefix)
    grid = plan(["minilm-int8"], peers=["transformers", "st-torch"], cached=False, clients=[1])

    def break_down(*_: object, **__: object) -> None:
        raise WorkerError("transformers: its process ended with status -9: without a word")

    monkeypatch.setattr(
        "trimseek.eval.bench.contenders.PeerContender.query", break_down, raising=False
    )
    report = run_bench([small], grid)
    assert {missing.peer: missing.reason.partition(":")[0] for missing in report.unavailable} == {
        "transformers": "its process ended with status -9",
        "st-torch": "ModuleNotFoundError",
    }
    assert not any(row.peer for row in report.rows)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"indexes": ["nonsense"]},
            "--index nonsense: neither exact nor hnsw nor a FAISS description",
        ),
        ({"measures": ["F1"]}, "unknown measure 'F1'"),
        ({"batches": [0]}, "--batch 0: must be from 1 to 10,000"),
        ({"clients": [100_000]}, "--clients 100000: must be from 1 to 1,000"),
    ],
)
def test_a_grid_that_makes_no_sense(arguments: dict[str, list[object]], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(["minilm-int8"], **arguments)  # type: ignore[arg-type]


def test_encoders_of_two_spaces_make_no_pair(tiny_encoder: Path, other_encoder: Path) -> None:
    with pytest.raises(EncoderError, match="the two are of different spaces"):
        plan([f"{tiny_encoder}+{other_encoder}"])


def test_the_reference_ranks_exactly_whatever_indexes_are_asked_for(small: TestCollection) -> None:
    grid = plan(["minilm-int8"], indexes=["HNSW8"], timing=False, cached=False)
    assert [row.name for row in run_bench([small], grid).rows] == [
        "minilm-float32",
        "minilm-float32, HNSW8",
        "minilm-int8, HNSW8",
    ]


def test_without_a_cache_each_text_is_encoded_once(
    small: TestCollection, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, seen = Contender.encode, []

    def counted(self: Contender, texts: Sequence[str], role: str) -> FloatArray:
        seen.append(role)
        return encode(self, texts, role)

    monkeypatch.setattr(Contender, "encode", counted)
    grid = plan([str(tiny_encoder)], indexes=["exact", "Flat"], timing=False, cached=False)
    run_bench([small], grid)
    assert sorted(seen) == ["document", "query"]


def test_the_reference_is_the_base_at_float32(tiny_encoder: Path) -> None:
    assert plan(["minilm-int8"]).pairs == (
        Pair("minilm-float32", "minilm-float32"),
        Pair("minilm-int8", "minilm-int8"),
    )
    assert plan(["minilm", "minilm-int8"], reference="minilm").pairs == (Pair("minilm", "minilm"),)
    assert plan([str(tiny_encoder)]).reference == str(tiny_encoder)


def test_the_report_folder(report: BenchReport, tmp_path: Path) -> None:
    write_report(report, tmp_path / "r")
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
        "documents.png",
        "documents.svg",
        "pareto.png",
        "pareto.svg",
        "report.html",
        "report.md",
        "results.json",
    ]
    assert (tmp_path / "r" / "pareto.png").read_bytes()[:4] == b"\x89PNG"
    assert read_results(tmp_path / "r" / "results.json") == report


def write_collection(folder: Path) -> Path:
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", DOCUMENTS), ("queries", QUERIES)):
        lines = [json.dumps({"_id": id_, "text": text}) for id_, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    lines = [f"{q}\t{d}\t{grade}" for q, grades in QRELS.items() for d, grade in grades.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines))
    return folder


def test_the_command(run: Run, tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "set")
    words = ("--encoder", "minilm", "--no-timing", "--measure", "ndcg@3")
    done = run("bench", folder, *words, "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert results["measures"] == ["nDCG@3"]
    assert results["collections"][0]["queries"] == 3
    assert results["rows"][0]["encode"] is None
    shown = run("bench", folder, *words, "--into", "out", "--runs")
    assert shown.returncode == 0, shown.stderr
    assert "set: 3 documents of 11 tokens, 3 queries of 5" in shown.stdout
    runs = sorted(path.name for path in (tmp_path / "out" / "runs").iterdir())
    assert runs == [
        "set.minilm-float32.exact.trec",
        "set.minilm.exact.trec",
    ]
    assert not (tmp_path / "out" / "pareto.png").exists()  # nothing was timed
    compared = run("bench", "compare", "out/results.json", "out/results.json")
    assert compared.returncode == 0, compared.stderr
    assert "nDCG@3" in compared.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "no collection given; try: trimseek bench sample:python"),
        (("set", "--runs"), "--runs needs --into FOLDER"),
        (("set", "set"), "two collections are called set"),
        (("missing",), "missing: no such file or folder"),
        (("set", "--split", "dev"), r"dev.tsv: missing; there are test (--split)"),
        (("compare", "a.json", "b.json"), "a.json: damaged"),
        (("set", "--encoder", "minilm+"), "half of the encoder has no name"),
        (("set", "--peer", "spacy"), "peer"),
    ],
)
def test_mistakes_are_one_line(
    words: tuple[str, ...], message: str, run: Run, tmp_path: Path
) -> None:
    write_collection(tmp_path / "set")
    done = run("bench", *words)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert message in done.stderr
