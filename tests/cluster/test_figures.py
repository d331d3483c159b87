"""The tables of what a cluster costs, and the simulation behind one of them."""

import numpy as np
import pytest

from trimseek.cluster.figures import (
    CLUSTER,
    PAGE,
    ClusterFigures,
    ClusterRun,
    Line,
    fitted,
    page,
    simulated,
)
from trimseek.eval.bench.results import Percentiles
from trimseek.eval.figures.files import read_figures


def test_the_page_has_what_was_measured() -> None:
    text = PAGE.read_text("utf-8")
    assert page(text) == text


def test_a_line_is_fitted_without_the_run_that_it_is_checked_against() -> None:
    runs = [
        ClusterRun(shards, 0.0, Percentiles(0, 0, 0), 0.0, 0.0, 0.0, 0.0) for shards in (1, 2, 4, 8)
    ]
    line = fitted(runs, [5.0, 7.0, 1000.0, 19.0])
    assert line.fixed == pytest.approx(3)
    assert line.each == pytest.approx(2)
    assert Line(3, 2).at(4) == 11


def test_the_slowest_shard_counts() -> None:
    answers = read_figures(CLUSTER, ClusterFigures).answers_ms
    one, _ = simulated(answers, 1, hedged=False)
    assert np.median(one) == pytest.approx(np.median(answers), rel=0.05)
    plain, none = simulated(answers, 64, hedged=False)
    hedged, more = simulated(answers, 64, hedged=True)
    # of 64 shards, half of all questions meet a straggler: 1 - 0.99 ** 64
    assert (plain > np.percentile(answers, 99)).mean() > 0.4
    assert np.percentile(hedged, 99) < np.percentile(plain, 99) / 2
    assert none == 0
    assert 0.04 < more < 0.08
