"""Where encoding's time goes, and how it grows."""

import json
from pathlib import Path

import pytest

from tests.conftest import Run
from trimseek.encoders import Quantization, write_encoder
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.native.library import STAGES, kernels
from trimseek.eval.bench.encode_profile import profile_cells, profile_encoder
from trimseek.eval.bench.machine import describe_machine
from trimseek.eval.bench.pareto import as_svg
from trimseek.eval.figures.encoding import (
    BATCHES,
    LENGTHS,
    Concurrency,
    EncodingResults,
    Growth,
    MemoryPoint,
    concurrency_cells,
    draw_encoding,
    growth_after_first_minute,
    growth_cells,
    measure_concurrency,
    measure_memory,
)
from trimseek.eval.quality.collection import TestCollection

COLLECTION = TestCollection(
    name="words",
    documents={"a": "the shell command for text", "b": "number of words in the list of files"},
    queries={"1": "split words", "2": "shell"},
    qrels={},
)


@pytest.mark.parametrize("runtime", ["native", "onnxruntime"])
def test_a_profile_adds_up(
    runtime: str, tiny: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runtime == "native" and kernels() is None:
        pytest.skip("no kernels for this CPU")
    monkeypatch.setenv("TRIMSEEK_RUNTIME", runtime)
    write_encoder(tiny, tmp_path / "e", Quantization())
    query, documents = profile_encoder("tiny", tmp_path / "e", COLLECTION, 1)
    assert (query.work, documents.work) == ("one query", "2 documents")
    assert query.texts == documents.texts == 2
    for profile in (query, documents):
        assert profile.runtime == runtime
        assert profile.total == profile.tokenization + profile.python + profile.running
        assert min(profile.tokenization, profile.running, profile.rate) > 0
        known = set(STAGES) if runtime == "native" else {"DynamicQuantizeMatMul"}
        assert known <= profile.stages.keys()
        assert all(ms >= 0 for ms in profile.stages.values())
    rows = profile_cells([query, documents]).rows
    assert [row[0] for row in rows] == [f"tiny, {runtime}"] * 2
    assert "%" in rows[0][-1]
    assert documents.tokens > query.tokens


def test_the_command_prints_a_profile(
    tiny_encoder: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimseek.eval.bench.encode_profile.RUNS", 2)
    words = ("bench", "profile", "sample:python", "--encoder", tiny_encoder)
    done = run(*words, "--json")
    assert done.returncode == 0, done.stderr
    assert [profile["work"] for profile in json.loads(done.stdout)] == ["one query", "64 documents"]
    assert "where the time goes" in run(*words).stdout


def test_threads_at_once_and_memory_are_of_real_texts(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimseek.eval.figures.encoding.ENCODER", str(tiny_encoder))
    monkeypatch.setattr("trimseek.eval.figures.encoding.MEMORY_ENCODER", str(tiny_encoder))
    texts = ["split words", "the shell command", "a list of files"] * 4
    concurrency = measure_concurrency(texts)
    assert concurrency.same_vectors
    assert min(concurrency.one_by_one, concurrency.together, *concurrency.batches.values()) > 0
    points = list(measure_memory(texts, 10_000))
    assert [point.texts for point in points] == [4096, 8192, 12288]
    assert points[0].megabytes > 10


def test_what_is_said_of_memory_begins_after_a_minute() -> None:
    points = [MemoryPoint(i, 30.0 * i, mb) for i, mb in enumerate((10, 90, 100, 104, 102))]
    assert growth_after_first_minute(points) == 4
    assert growth_after_first_minute(points[:1]) == 0


def test_tables_and_picture() -> None:
    grown = [Growth(n, batch, 0.1 * n / batch, 0.01 * n) for batch in BATCHES for n in LENGTHS]
    cells = growth_cells(grown)
    assert len(cells.rows) == len(LENGTHS)
    assert cells.rows[0] == ["8", "0.80", "0.10", "0.03", "0.08"]
    speeds = Concurrency(8, 100.0, {8: 200.0}, 250.0, True)
    assert concurrency_cells(speeds).rows == [["100", "200", "250", "yes"]]
    points = [MemoryPoint(1000, 60.0, 100.0), MemoryPoint(2000, 120.0, 101.0)]
    results = EncodingResults(
        [], grown, speeds, "tiny", points, describe_machine(None, {}), "2026-01-01"
    )
    svg = as_svg(draw_encoding(results))
    for text in ("limit: int8 products", "batches of 32", "tiny: 2,000 short texts"):
        assert text in svg
