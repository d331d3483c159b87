"""The service under load, and the plain one beside it, both real and for a moment only."""

import asyncio
from pathlib import Path

import pytest

from trimseek.eval.figures import over_http
from trimseek.eval.figures.over_http import (
    HttpResults,
    http_cells,
    measure_baseline,
    measure_service,
    plain_service,
    read_http,
)
from trimseek.eval.figures.service import service

TEXTS = ["a cat", "words of the shell"]


@pytest.fixture
def folder(small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (("SECONDS", 0.5), ("RATE", 20.0), ("CLIENTS", 4), ("QUERIES", 10)):
        monkeypatch.setattr(over_http, name, value)
    return small_index


def test_a_moment_of_load(folder: Path) -> None:
    with service(folder) as running:
        address = f"{running.url}/v1/indexes/index/search"
        steady, overhead, closed, overload = asyncio.run(measure_service(address, TEXTS))
    assert steady.requests == 10
    assert steady.errors == {}
    assert overhead > 0
    assert closed.clients == 4
    assert closed.queries_per_second > 0
    assert overload.rate == 3 * closed.queries_per_second
    assert overload.failed == 0
    assert 0 <= overload.refused < 1
    assert overload.recovered.p50 > 0


@pytest.mark.peers
def test_the_plain_service_answers(folder: Path) -> None:
    with plain_service(folder) as address:
        baseline = asyncio.run(measure_baseline(address, TEXTS))
    assert baseline.queries_per_second > 1


def test_what_was_measured_is_shown() -> None:
    results = read_http()
    assert isinstance(results, HttpResults)
    shown = {row[0]: row[1] for row in http_cells(results).rows}
    assert f"{results.closed.queries_per_second:.0f} searches/s" in next(
        text for load, text in shown.items() if load.startswith("16 clients")
    )
