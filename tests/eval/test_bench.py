import json
from dataclasses import asdict
from pathlib import Path

import pytest

from eval.bench import bench
from eval.collection import TestCollection
from eval.contenders import BASELINE
from eval.readme import README, RESULTS, read_startup, with_results
from eval.report import markdown, quality_cells
from eval.results import from_json, to_json
from tests.conftest import Run, shared
from trimseek.errors import CorpusError

DOCUMENTS = {
    "cat": "A kitten sleeps on the sofa.",
    "car": "The engine of the automobile needs oil.",
    "tax": "Income is reported to the revenue service once a year.",
}
QUERIES = {"q1": "feline nap", "q2": "vehicle repair", "cat": "what a cat does"}
QRELS = {"q1": {"cat": 1}, "q2": {"car": 1}, "cat": {"tax": 1}}


@pytest.fixture(scope="module")
def small() -> TestCollection:
    return TestCollection("small", DOCUMENTS, QUERIES, QRELS)


def test_quality_and_speed_of_each_encoder(small: TestCollection, tmp_path: Path) -> None:
    report = bench([small], ["minilm-int8", "minilm-float32"], baseline=False)
    rows = report.collections[0].rows
    assert [row.encoder for row in rows] == ["minilm-int8", "minilm-float32"]
    for row in rows:
        assert row.quality is not None
        assert row.search is not None
        assert row.quality["recall@10"] == 1
        # q1 and q2 find theirs first; the third query is called like a document, which is left
        # out, so that of the two others the right one is at the first or second place
        assert row.quality["MRR@10"] in (pytest.approx(1), pytest.approx(2.5 / 3))
        assert 0 < row.encode.p50 <= row.encode.p95 <= row.encode.p99
        assert 0 < row.search.p50 <= row.search.p99
        assert row.documents_per_second > 0
    path = tmp_path / "results.json"
    path.write_text(json.dumps(to_json(report)))
    assert from_json(path) == report
    assert "| minilm-int8 | " in markdown(report)


def test_the_baseline_runs_beside_us_and_agrees_on_shape(small: TestCollection) -> None:
    report = bench([small], ["minilm-int8"], baseline=True)
    baseline, ours = report.collections[0].rows
    assert baseline.encoder == BASELINE
    assert baseline.quality is None
    assert baseline.encode.p50 > 0
    assert [row[0] for row in quality_cells(report.collections[0]).rows] == [ours.encoder]


def test_the_command_prints_tables_and_json(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", DOCUMENTS), ("queries", QUERIES)):
        lines = [json.dumps({"_id": id_, "text": text}) for id_, text in texts.items()]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    lines = [f"{q}\t{d}\t{grade}" for q, grades in QRELS.items() for d, grade in grades.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(lines))
    done = run("bench", folder, "--json", "--encoder", "minilm")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["collections"][0]["queries"] == 3
    shown = run("bench", folder, "--encoder", "minilm")
    assert "set: 3 documents, 3 queries" in shown.stdout
    assert "nDCG@10" in shown.stdout


def test_results_that_are_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text('{"format_version": 1}')
    with pytest.raises(CorpusError, match="not a benchmark's results"):
        from_json(tmp_path / "r.json")


def test_the_readme_says_what_the_results_say() -> None:
    text = README.read_text("utf-8")
    assert with_results(text) == text


def test_the_results_hold_what_is_promised() -> None:
    """The committed measurements, not a new one: a claim that no longer holds fails here."""
    report = from_json(RESULTS)
    by_name = {each.collection: each for each in report.collections}
    for name in ("scifact", "cranfield"):
        rows = {row.encoder: row.quality or {} for row in by_name[name].rows}
        loss = 1 - rows["minilm-int8"]["nDCG@10"] / rows["minilm-float32"]["nDCG@10"]
        assert loss <= 0.005
        if name == "scifact":
            assert rows["minilm-float32"]["nDCG@10"] == pytest.approx(0.645, abs=0.002)
    startup = read_startup()
    assert startup.documents >= 10_000
    assert startup.help_seconds < 0.4
    assert startup.ready_seconds < 2
    assert startup.resident_mb < 350
    # Queries of ten words and documents of one paragraph; the README says what longer ones gain.
    speed = {row.encoder: row for row in by_name["sample:python"].rows}
    ours, baseline = speed["minilm-int8"], speed[BASELINE]
    assert baseline.encode.p50 / ours.encode.p50 >= 6
    assert ours.documents_per_second / baseline.documents_per_second >= 3.5


def test_cranfield_quality_is_the_committed_one() -> None:
    """Quality, unlike speed, must come out the same on every run: here for the queries' side."""
    from eval import read_collection
    from eval.bench import index_documents, search_all
    from eval.contenders import OurEncoder
    from eval.metrics import measure

    collection = read_collection(str(shared("data/cranfield")))
    encoder = OurEncoder("minilm-int8")
    view = index_documents(collection, encoder)
    queries = encoder.queries.encode(list(collection.queries.values())).vectors
    found = measure(collection.qrels, search_all(collection, view, queries))
    committed = {each.collection: each for each in from_json(RESULTS).collections}["cranfield"]
    row = next(row for row in committed.rows if row.encoder == "minilm-int8")
    assert asdict(row)["quality"]["nDCG@10"] == pytest.approx(found["nDCG@10"], abs=0.003)
