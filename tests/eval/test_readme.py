"""The committed measurements, not new ones: a claim that no longer holds fails here."""

import statistics

import pytest

from eval.modes import read_modes
from eval.over_http import read_http
from eval.readme import ALIGNED_QUALITY, README, RESULTS, read_startup, with_results
from eval.report import baseline_of, query_ratio
from eval.results import BenchReport, Row, from_json
from eval.scale import read_scaling
from eval.shrinking import read_shrinking
from eval.workers.backends import PEERS


@pytest.fixture(scope="module")
def report() -> BenchReport:
    return from_json(RESULTS)


def rows(report: BenchReport, collection: str) -> dict[str, Row]:
    return {row.name: row for row in report.rows_of(collection)}


def test_the_readme_says_what_the_results_say() -> None:
    text = README.read_text("utf-8")
    assert with_results(text) == text


def test_every_peer_was_measured_or_is_reported(report: BenchReport) -> None:
    for collection in report.collections:
        measured = {row.encoder for row in report.rows_of(collection.name) if row.peer}
        assert measured | {each.peer for each in report.unavailable} == set(PEERS)


def test_int8_finds_what_float32_finds(report: BenchReport) -> None:
    for collection in report.collections:
        quality = rows(report, collection.name)["minilm-int8"].quality
        assert quality is not None
        assert quality.comparison is not None
        assert quality.comparison.loss <= 0.005
    published = rows(report, "scifact")["minilm-float32"].quality
    assert published is not None
    assert published.measures["nDCG@10"] == pytest.approx(0.645, abs=0.002)


def test_a_query_is_encoded_faster_than_by_any_peer(report: BenchReport) -> None:
    for collection in report.collections:
        own = report.rows_of(collection.name)
        ratios = {row.name: query_ratio(row, baseline_of(report, own)) or 0 for row in own}
        ours = ratios.pop("minilm-int8")
        assert ours > max(ratios.values())


def test_small_query_encoders_keep_what_is_said_of_them() -> None:
    quality = from_json(ALIGNED_QUALITY)
    assert len(quality.collections) == 5
    for name, mean, worst in (("swift", 0.98, 0.965), ("dash", 0.94, 0.92)):
        kept = [
            1 - row.quality.comparison.loss
            for row in quality.rows
            if row.name == f"minilm-int8+minilm-{name}"
            if row.quality and row.quality.comparison
        ]
        assert len(kept) == 5
        assert statistics.fmean(kept) >= mean
        assert min(kept) >= worst


def test_half_of_the_heads_and_neurons_keep_what_is_said_of_them() -> None:
    found = read_shrinking()
    for recipe, least in (("75 %", 0.975), ("50 %", 0.93), ("all", 0.99)):
        kept = [1 - each.loss for each in found if each.recipe.startswith(recipe)]
        assert len(kept) >= 3
        assert statistics.fmean(kept) >= least
    int4 = [each.graph_bytes for each in found if "int4" in each.recipe]
    assert max(int4) <= 17_000_000


def test_hybrid_finds_more_than_vectors_alone() -> None:
    found = read_modes()
    means = {
        mode: statistics.fmean(each.value for each in found if each.mode == mode)
        for mode in ("dense", "hybrid")
    }
    assert means["hybrid"] > means["dense"]
    assert len({each.collection for each in found}) == 5


def test_startup() -> None:
    startup = read_startup()
    assert startup.documents >= 10_000
    assert startup.help_seconds < 0.4
    assert startup.ready_seconds < 2
    assert startup.resident_mb < 350


def test_an_index_grows_as_it_is_said() -> None:
    found = read_scaling()
    largest = [row for row in found.rows if row.chunks >= 300_000]
    assert {row.kind for row in largest} == {"exact", "sq8", "hnsw", "ivf"}
    recalls = {row.kind: row.opened.trials[-1].recall for row in largest}
    assert recalls["hnsw"] >= 0.99
    assert recalls["ivf"] >= 0.97
    assert max(row.opened.open_seconds for row in largest) < 1.5
    assert found.ingest.index_seconds <= 1.1 * found.ingest.encode_seconds


def test_the_service_is_faster_than_a_plain_one() -> None:
    found = read_http()
    assert found.documents >= 100_000
    assert found.steady.errors == {}
    assert found.overload.failed == 0
    assert found.closed.queries_per_second > found.baseline.queries_per_second
