"""The profile of a request and its load, on a small index and for a moment only."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import write_jsonl
from trimseek.errors import ConfigError
from trimseek.eval.figures import requests
from trimseek.eval.figures.requests import (
    STAGES,
    RequestCosts,
    measured_load,
    profile_cells,
    profiled,
    read_requests,
    searches_per_second,
    throughput_cells,
)
from trimseek.eval.figures.service import TRIMSEEK
from trimseek.eval.figures.wrk import wrk
from trimseek.search.options import Mode

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
TEXTS = [f"text {i} of the shell" for i in range(30)]


@pytest.fixture
def folder(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (("SECONDS", 1), ("WARM_UP", 5), ("CLIENTS", 4), ("QUESTIONS", 30)):
        monkeypatch.setattr(requests, name, value)
    return small_index


@needs_wrk
@pytest.mark.parametrize("mode", [Mode.DENSE, Mode.HYBRID])
def test_a_profile(folder: Path, mode: Mode) -> None:
    profile = profiled(folder, "minilm-int8", mode, TEXTS)
    assert tuple(profile.stages) == STAGES
    assert min(profile.stages.values()) >= 0
    assert profile.stages["encoder"] > 0
    assert (profile.stages["words"] > 5) == (mode is Mode.HYBRID)
    assert profile.together > 0
    assert profile.http_p99 >= profile.http > 0


@needs_wrk
def test_a_moment_of_load(folder: Path) -> None:
    load = measured_load(folder, "minilm-int8", Mode.DENSE, TEXTS, TRIMSEEK, clients=4)
    assert load.failed == 0
    assert load.per_second > 0
    assert load.p99 >= load.p50 > 0
    assert load.user > load.generator > 0


def test_searches_without_http(folder: Path, tmp_path: Path) -> None:
    questions = write_jsonl(tmp_path / "q.jsonl", [{"text": text} for text in TEXTS])
    assert searches_per_second(folder, "minilm-int8", Mode.HYBRID, questions) > 0


def test_without_wrk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigError, match="wrk is not installed"):
        wrk("http://127.0.0.1:1/", ["{}"], 1, 1, 1)


def test_the_committed_tables() -> None:
    costs: RequestCosts = read_requests()
    assert len(profile_cells(costs).headings) == 1 + len(costs.profiles)
    assert len(throughput_cells(costs).rows) == len(costs.throughput)
