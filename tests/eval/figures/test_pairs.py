"""Pairs of encoders: tables, means and picture of measured rows, and a small measurement."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from trimseek.eval.bench.pareto import as_svg
from trimseek.eval.figures import pairs
from trimseek.eval.figures.pairs import (
    FULL,
    REFERENCE,
    PairQuality,
    choice_table,
    draw_pairs,
    mean_loss,
    measure_pairs,
    pairs_tables,
)
from trimseek.eval.quality.significance import Interval

ROW = PairQuality(
    *("a", REFERENCE, 0.5, 0.0, Interval(0, 0), 0.6, 0.0, Interval(0, 0), 4.0, 20.0, "some CPU")
)
ROWS = [
    row
    for collection in ("a", "b")
    for row in (
        replace(ROW, collection=collection),
        replace(ROW, collection=collection, pair=FULL, query_ms=2.0, document_ms=8.0),
        replace(
            ROW,
            collection=collection,
            pair="x+y",
            dense_loss=0.01 if collection == "a" else 0.03,
            dense_interval=Interval(-0.01, 0.03),
            hybrid_loss=0.02,
            hybrid_interval=Interval(0.01, 0.03),
            query_ms=0.5,
            document_ms=2.0,
        ),
    )
]


def test_the_interval_of_a_mean_is_narrower() -> None:
    mean, interval = mean_loss([(0.02, Interval(-0.02, 0.06))] * 4)
    assert mean == pytest.approx(0.02)
    assert interval == pytest.approx((0.0, 0.04))


def test_tables() -> None:
    choice = choice_table(ROWS)
    cells = {row[0]: list(row[1:]) for row in choice.rows}
    assert list(cells) == [REFERENCE, FULL, "x+y"]
    assert cells["x+y"] == [
        *("98.0% (96.6-99.4)", "97.0%", "98.0% (97.3-98.7)", "98.0%"),
        *("0.50", "4.0x", "2.00", "4.0x"),
    ]
    assert cells[FULL][4:] == ["2.00", "1.0x", "8.00", "1.0x"]
    _, dense, hybrid = pairs_tables(ROWS)
    assert dense.rows[1] == ["x+y", "99.0% (97.0-101.0)", "97.0% (97.0-101.0)"]
    assert hybrid.rows[1][1] == "98.0% (97.0-99.0)"


def test_the_picture_names_every_pair() -> None:
    svg = as_svg(draw_pairs(ROWS))
    for name in (REFERENCE, FULL, "x+y"):
        assert name in svg


@pytest.mark.usefixtures("minilm_float32")
def test_a_collection_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a red cat", "the blue sea", "shell commands", "a loaf of bread", "rain in spring"]
    folder = tmp_path / "small"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "title": "", "text": text} for i, text in enumerate(texts)]
    queries = [{"_id": f"q{i}", "text": text} for i, text in enumerate(texts[:3])]
    (folder / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (folder / "queries.jsonl").write_text("\n".join(map(json.dumps, queries)))
    judged = "".join(f"q{i}\td{i}\t1\n" for i in range(3))
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}")
    monkeypatch.setattr(pairs, "MEASURED", (REFERENCE, FULL, "minilm-int8+minilm-dash"))
    rows = list(measure_pairs(str(folder)))
    assert [row.pair for row in rows] == [REFERENCE, FULL, "minilm-int8+minilm-dash"]
    for row in rows:
        assert row.dense == row.hybrid == 1.0
        assert row.dense_loss == row.hybrid_loss == 0.0
        assert row.query_ms > 0
        assert row.document_ms > 0
