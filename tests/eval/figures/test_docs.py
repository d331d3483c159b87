"""The committed measurements, not new ones: a claim that no longer holds fails here."""

import re
import statistics

import numpy as np
import pytest

from trimseek.errors import ConfigError
from trimseek.eval.bench.report import baseline_of, query_ratio
from trimseek.eval.bench.results import BenchReport, Row, read_results
from trimseek.eval.bench.workers.backends import PEERS
from trimseek.eval.figures.__main__ import FIGURES
from trimseek.eval.figures.docs import (
    BENCH,
    README,
    RESULTS_PAGE,
    between,
    results_page,
    with_summary,
)
from trimseek.eval.figures.files import RESULTS
from trimseek.eval.figures.modes import read_modes
from trimseek.eval.figures.over_http import read_http
from trimseek.eval.figures.pairs import read_pairs
from trimseek.eval.figures.scale import read_scaling
from trimseek.eval.figures.shrinking import read_shrinking
from trimseek.eval.figures.startup import read_startup


@pytest.fixture(scope="module")
def report() -> BenchReport:
    return read_results(BENCH)


def rows_by_name(report: BenchReport, collection: str) -> dict[str, Row]:
    return {row.name: row for row in report.rows_of(collection)}


def test_the_results_page_says_what_the_results_say() -> None:
    text = RESULTS_PAGE.read_text("utf-8")
    assert results_page(text) == text


def test_the_readme_says_what_the_results_say() -> None:
    text = README.read_text("utf-8")
    assert with_summary(text) == text


def test_a_section_stands_between_its_markers() -> None:
    text = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n"
    assert between(text, "x", "new\n", "page.md") == text.replace("old", "new")
    for damaged in ("a\n", "<!-- x -->\n", "<!-- /x -->\n<!-- x -->\n"):
        with pytest.raises(ConfigError, match="page.md: lacks the lines <!-- x -->"):
            between(damaged, "x", "new\n", "page.md")


def test_every_file_of_results_is_named_with_its_command() -> None:
    text = RESULTS_PAGE.read_text("utf-8")
    files, _, _ = text.partition("## Benchmark")
    for path in RESULTS.iterdir():
        assert f"`{path.name}`" in files, path.name
    for name in re.findall(r"trimseek\.eval\.figures (\w+)", text):
        assert name in FIGURES
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", text):
        assert (RESULTS_PAGE.parent / picture).is_file()


def test_every_peer_was_measured_or_is_reported(report: BenchReport) -> None:
    for collection in report.collections:
        measured = {row.encoder for row in report.rows_of(collection.name) if row.peer}
        assert measured | {missing.peer for missing in report.unavailable} == set(PEERS)


def test_int8_finds_what_float32_finds(report: BenchReport) -> None:
    losses = []
    for collection in report.collections:
        quality = rows_by_name(report, collection.name)["minilm-int8"].quality
        assert quality is not None
        assert quality.comparison is not None
        losses.append(quality.comparison.loss)
        assert quality.comparison.interval.low <= 0.005
    assert np.mean(losses) <= 0.005
    published = rows_by_name(report, "scifact")["minilm-float32"].quality
    assert published is not None
    assert published.measures["nDCG@10"] == pytest.approx(0.645, abs=0.002)


def test_a_query_is_encoded_faster_than_by_any_peer(report: BenchReport) -> None:
    for collection in report.collections:
        measured = report.rows_of(collection.name)
        baseline = baseline_of(report, measured)
        ratios = {row.name: query_ratio(row, baseline) or 0 for row in measured}
        peers = [ratios[row.name] for row in measured if row.peer]
        assert ratios["minilm-int8"] > max(peers)


def test_small_encoders_keep_what_is_said_of_them() -> None:
    rows = read_pairs()
    for pair, mean, worst in (
        ("minilm-int8+minilm-swift", 0.975, 0.96),
        ("minilm-int8+minilm-dash", 0.955, 0.935),
        ("minilm-brief+minilm-int8", 0.965, 0.945),
        ("minilm-brief+minilm-swift", 0.96, 0.94),
    ):
        kept = [1 - row.dense_loss for row in rows if row.pair == pair]
        assert len(kept) == 5
        assert statistics.fmean(kept) >= mean
        assert min(kept) >= worst


def test_half_of_the_heads_and_neurons_keep_what_is_said_of_them() -> None:
    rows = read_shrinking()
    said = (("75 % of", 0.985), ("50 % of", 0.96), ("int8, int4 token table", 0.99), ("int4", 0.98))
    for recipe, least in said:
        kept = [1 - row.loss for row in rows if row.recipe.startswith(recipe)]
        assert len(kept) >= 3
        assert statistics.fmean(kept) >= least
    sizes = {row.recipe: row.graph_bytes for row in rows}
    assert sizes["int8, int4 token table"] <= 17_000_000
    assert sizes["int4"] <= 12_100_000


def test_hybrid_finds_more_than_vectors_alone() -> None:
    rows = read_modes()
    means = {
        mode: statistics.fmean(row.value for row in rows if row.mode == mode)
        for mode in ("dense", "hybrid")
    }
    assert means["hybrid"] > means["dense"]
    assert len({row.collection for row in rows}) == 5


def test_startup() -> None:
    startup = read_startup()
    assert startup.documents >= 10_000
    assert startup.help_seconds < 0.4
    assert startup.ready_seconds < 2
    assert startup.memory_mb < 350


def test_an_index_grows_as_it_is_said() -> None:
    scaling = read_scaling()
    largest = [row for row in scaling.rows if row.chunks >= 300_000]
    assert {row.kind for row in largest} == {"exact", "sq8", "hnsw", "ivf"}
    recalls = {row.kind: row.opened.trials[-1].recall for row in largest}
    assert recalls["hnsw"] >= 0.99
    assert recalls["ivf"] >= 0.97
    assert max(row.opened.open_seconds for row in largest) < 1.5
    assert scaling.ingest.index_seconds <= 1.1 * scaling.ingest.encode_seconds


def test_the_service_is_faster_than_a_plain_one() -> None:
    results = read_http()
    assert results.documents >= 100_000
    assert results.steady.errors == {}
    assert results.overload.failed == 0
    assert results.closed.queries_per_second > results.baseline.queries_per_second
