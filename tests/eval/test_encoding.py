"""Where encoding's time goes, and how it grows."""

import json
from pathlib import Path

import pytest

from encoders import Quantization, write_encoder
from encoders.checkpoint import Checkpoint
from encoders.native.library import STAGES, kernels
from eval.bench import machine
from eval.collection import TestCollection
from eval.encode_profile import profile_cells, profile_encoder
from eval.encoding import (
    BATCHES,
    LENGTHS,
    Concurrency,
    EncodingResults,
    Growth,
    Memory,
    concurrency,
    concurrency_cells,
    draw,
    growth_after_first_minute,
    growth_cells,
    memory,
)
from eval.pareto import as_svg
from tests.conftest import Run

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
    for each in (query, documents):
        assert each.runtime == runtime
        assert each.total == each.tokenization + each.python + each.running
        assert min(each.tokenization, each.running, each.rate) > 0
        known = set(STAGES) if runtime == "native" else {"DynamicQuantizeMatMul"}
        assert known <= each.stages.keys()
        assert all(ms >= 0 for ms in each.stages.values())
    rows = profile_cells([query, documents]).rows
    assert [row[0] for row in rows] == [f"tiny, {runtime}"] * 2
    assert "%" in rows[0][-1]
    assert documents.tokens > query.tokens


def test_the_command_prints_a_profile(tiny_encoder: Path, run: Run) -> None:
    asked = ("bench", "sample:python", "--profile", "--encoder", tiny_encoder)
    done = run(*asked, "--json")
    assert done.returncode == 0, done.stderr
    assert [each["work"] for each in json.loads(done.stdout)] == ["one query", "64 documents"]
    assert "where the time goes" in run(*asked).stdout


def test_threads_at_once_and_memory_are_of_real_texts(
    tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eval.encoding.ENCODER", str(tiny_encoder))
    monkeypatch.setattr("eval.encoding.MEMORY_ENCODER", str(tiny_encoder))
    texts = ["split words", "the shell command", "a list of files"] * 4
    found = concurrency(texts)
    assert found.same_vectors
    assert min(found.one_by_one, found.together, *found.batches.values()) > 0
    looks = list(memory(texts, 10_000))
    assert [each.texts for each in looks] == [4096, 8192, 12288]
    assert looks[0].megabytes > 10


def test_what_is_said_of_memory_begins_after_a_minute() -> None:
    looks = [Memory(i, 30.0 * i, mb) for i, mb in enumerate((10, 90, 100, 104, 102))]
    assert growth_after_first_minute(looks) == 4
    assert growth_after_first_minute(looks[:1]) == 0


def test_tables_and_picture() -> None:
    grown = [Growth(n, batch, 0.1 * n / batch, 0.01 * n) for batch in BATCHES for n in LENGTHS]
    cells = growth_cells(grown)
    assert len(cells.rows) == len(LENGTHS)
    assert cells.rows[0] == ["8", "0.80", "0.10", "0.03", "0.08"]
    speeds = Concurrency(8, 100.0, {8: 200.0}, 250.0, True)
    assert concurrency_cells(speeds).rows == [["100", "200", "250", "yes"]]
    looks = [Memory(1000, 60.0, 100.0), Memory(2000, 120.0, 101.0)]
    found = EncodingResults([], grown, speeds, "tiny", looks, machine(None, {}), "2026-01-01")
    svg = as_svg(draw(found))
    for text in ("limit: int8 products", "batches of 32", "tiny: 2,000 short texts"):
        assert text in svg
