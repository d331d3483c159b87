"""The picture of recall against latency."""

from pathlib import Path

import pytest

from trimseek.eval.bench import timing
from trimseek.eval.bench.grid import plan
from trimseek.eval.bench.output import write_report
from trimseek.eval.bench.recall import family, latency_at, recall_panels
from trimseek.eval.bench.run import run_bench
from trimseek.eval.quality.collection import TestCollection


def test_families() -> None:
    assert family("hnsw:effort=20") == family("hnsw") == "hnsw"
    assert family("HNSW32,SQ8:efSearch=64") == "HNSW32,SQ8"


def test_latencies_between_points() -> None:
    points = [(0.1, 0.9), (0.2, 0.98), (0.4, 1.0)]
    assert latency_at(points, 0.5) == 0.1
    assert latency_at(points, 0.94) == pytest.approx(0.15)
    assert latency_at(points, 0.99) == pytest.approx(0.3)
    assert latency_at(points[:2], 0.99) is None


def test_a_line_for_each_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ROUNDS", 2), ("QUERY_TURNS", 2), ("CLIENT_SECONDS", 0.1), ("PAUSE", 0)):
        monkeypatch.setattr(timing, name, value)
    documents = {f"d{i}": f"number {i} of {i % 7} things" for i in range(60)}
    queries = {"q1": "seven things", "q2": "number 12"}
    grid = plan(
        ["minilm-int8"],
        indexes=["hnsw:effort=10", "hnsw:effort=40", "HNSW8:efSearch=8"],
        reference="minilm-int8",
        clients=[2],
        cached=False,
    )
    report = run_bench([TestCollection("things", documents, queries, {})], grid)
    lines = recall_panels(report)["things"]
    assert list(lines) == ["hnsw"]  # one search of FAISS's graph makes no line
    assert len(lines["hnsw"]) == 2
    assert all(0 < recall <= 1 for _, recall in lines["hnsw"])
    write_report(report, tmp_path)
    assert "recall@10" in (tmp_path / "recall.svg").read_text("utf-8")
    assert "ms at recall 0.99" in (tmp_path / "report.md").read_text("utf-8")
    assert "![](recall.svg)" in (tmp_path / "report.md").read_text("utf-8")
    assert (tmp_path / "report.html").read_text("utf-8").count("<svg") == 3
