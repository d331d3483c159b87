"""Reports are made of results that are written out here, so that each number is known."""

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from trimseek.eval.bench import compare
from trimseek.eval.bench.page import page
from trimseek.eval.bench.pareto import Point, as_svg, draw, frontier, panels, spread_out
from trimseek.eval.bench.report import caveats, markdown, summary_cells, tables
from trimseek.eval.bench.results import (
    BenchReport,
    Closed,
    CollectionSummary,
    Comparison,
    EncodeSpeed,
    IndexSize,
    Machine,
    Percentiles,
    Quality,
    Rates,
    Row,
    SearchSpeed,
    Unavailable,
)
from trimseek.eval.quality.agreement import Agreement
from trimseek.eval.quality.significance import Interval, Record

QUERIES = [f"q{i}" for i in range(60)]


def row(
    name: str,
    ms: float,
    documents: float,
    ndcg: float,
    *,
    collection: str = "one",
    peer: bool = False,
    share: float = 0.5,
) -> Row:
    reference = name == "full"
    return Row(
        collection=collection,
        encoder=name,
        query_encoder=name,
        index="exact",
        peer=peer,
        precision="int8" if name.endswith("int8") else "float32",
        encoder_bytes=23_500_000,
        query_encoder_bytes=23_500_000,
        quality=Quality(
            measures={"nDCG@10": ndcg, "recall@10": 0.75},
            per_query=[round(min(1.0, ndcg + (i % 7) / 40), 4) for i in range(60)],
            comparison=None
            if reference
            else Comparison(1 - ndcg / 0.5, Interval(-0.01, 0.05), 0.21, Record(3, 50, 7)),
        ),
        agreement=Agreement(0.9, 1.0, 0.91),
        index_size=IndexSize(776.0, 0.1),
        encode=EncodeSpeed(
            query=Percentiles(ms, ms * 2, ms * 3),
            query_turns=[ms * x for x in (0.98, 1, 1.01, 0.99, 1, 1.02, 1, 1)],
            batches={"32": 500.0},
            closed=[Closed(8, 321.0, Percentiles(1, 2, 3))],
            documents_per_second=documents,
            document_rounds=[documents * x for x in (1.01, 1, 0.99, 1, 1, 1.02, 1, 0.98)],
            tokens_per_second=documents * 100,
            query_share=share,
            document_share=share,
            peak_memory=200_000_000,
        ),
        retrieve=SearchSpeed(Percentiles(0.1, 0.2, 0.3), Percentiles(ms + 0.1, 9, 9), [ms]),
    )


def collection(name: str) -> CollectionSummary:
    return CollectionSummary(name, "hash", 1000, 60, True, 0, 90.0, 12.0, QUERIES)


def report(*rows: Row) -> BenchReport:
    return BenchReport(
        date="2026-11-23",
        command="trimseek bench '<script>alert(1)</script>'",
        reference="full",
        measures=["nDCG@10", "recall@10"],
        machine=Machine(
            "CPU <b>", [], "avx2", 2, 2, 1, "Linux", Rates(400, 100), {"numpy": "2"}, {}
        ),
        collections=[collection(name) for name in dict.fromkeys(row.collection for row in rows)],
        rows=list(rows),
        unavailable=[Unavailable("fastembed", "No module named 'fastembed'")],
    )


FULL, SMALL = row("full", 4.0, 50, 0.5), row("small-int8", 1.0, 200, 0.49)
PEER = row("st-torch", 10.0, 20, 0.5, peer=True)


def test_speeds_are_multiples_of_what_people_have_today() -> None:
    text = markdown(report(FULL, SMALL, PEER))
    assert "| small-int8 | 1.00 | 2.00 | 3.00 | 10.0x | 0.10 | 1.10 | 9.00 | 9.00 |" in text
    assert (
        "| small-int8 | 500 | 321 | 200 | 10.0x | 20,000 | 50% | 50% | 200 | 23.5 | 776 |" in text
    )
    assert "| st-torch | 10.00 | 20.00 | 30.00 | 1.0x |" in text
    assert "multiple of st-torch's" in text


def test_without_such_a_peer_they_are_multiples_of_the_references() -> None:
    assert "| small-int8 | 1.00 | 2.00 | 3.00 | 4.0x |" in markdown(report(FULL, SMALL))


def test_losses_and_unavailable_peers_are_told() -> None:
    text = markdown(report(FULL, SMALL, PEER))
    assert "| small-int8 | 0.4900 | 0.7500 |" in text
    assert (
        "| small-int8 | 2.00% | -1.0% to +5.0% | 0.210 | 3/50/7 | 0.900 | 1.000 | 0.910 |" in text
    )
    assert "fastembed did not run, or not to the end: No module named 'fastembed'" in text


def test_a_share_above_the_limit_is_explained() -> None:
    fast = row("st-openvino", 3.0, 50, 0.5, peer=True, share=1.2)
    (line,) = [line for line in caveats(report(FULL, fast)) if "above the limit" in line]
    assert line.startswith("st-openvino: ")


def test_several_collections_are_summed_up() -> None:
    rows = [
        FULL,
        SMALL,
        PEER,
        row("full", 4.0, 50, 0.5, collection="two"),
        row("small-int8", 1.0, 200, 0.45, collection="two"),
        row("st-torch", 40.0, 20, 0.5, collection="two", peer=True),
    ]
    cells = summary_cells(report(*rows))
    assert cells.rows[1][:6] == ["small-int8", "0.4700", "94.0%", "90.0%", "1.00", "20.0x"]
    assert len(list(tables(report(*rows)))) == 1 + 2 * 4
    assert panels(report(*rows))[0].title == "all 2 collections"
    assert [round(point.quality, 6) for point in panels(report(*rows))[0].points] == [100, 94, 100]


def test_the_page_escapes_what_it_is_given_and_needs_nothing_else() -> None:
    html = page(report(FULL, SMALL, PEER))
    assert "<script>alert(1)" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "CPU &lt;b&gt;" in html
    assert not re.search(r'(src|href)="(?!#)', html.replace("xlink:href", "x"))
    assert html.count("<table>") == 4
    assert "<svg" in html
    assert "<?xml" not in html


def test_the_frontier_is_what_nothing_beats() -> None:
    points = [
        Point("slow and good", 10, 0.9, False),
        Point("fast and fair", 1, 0.7, False),
        Point("beaten", 5, 0.6, False),
        Point("as good but slower", 12, 0.9, True),
        Point("as fast but worse", 1, 0.5, True),
    ]
    assert [point.name for point in frontier(points)] == ["fast and fair", "slow and good"]


def test_the_picture_names_every_point() -> None:
    benchmark = report(FULL, SMALL, PEER)
    svg = as_svg(draw(benchmark))
    ET.fromstring(svg)
    for name in ("full", "small-int8", "st-torch", "frontier", "nDCG@10"):
        assert name in svg
    assert svg == as_svg(draw(benchmark))  # the same numbers, the same file


def test_nothing_timed_no_picture() -> None:
    assert draw(report(replace(FULL, encode=None, retrieve=None))) is None


def test_names_are_kept_apart() -> None:
    heights = spread_out([(0.5, 0.5)] * 6)
    assert all(b - a > 0.04 for a, b in itertools.pairwise(heights))
    assert spread_out([(0.1, 0.5), (0.9, 0.5)]) == [0.5, 0.5]


def changes(before: BenchReport, after: BenchReport) -> dict[tuple[str, str], compare.Change]:
    return {
        (change.encoder, change.kind): change for change in compare.compare_reports(before, after)
    }


def test_the_same_results_have_not_changed() -> None:
    same = changes(report(FULL, SMALL, PEER), report(FULL, SMALL, PEER))
    assert len(same) == 3 + 2 * 2  # quality of three rows, speeds of the two beside the baseline
    assert not any(change.real for change in same.values())


def test_real_changes_are_told_from_noise() -> None:
    before = report(FULL, SMALL, PEER)
    after = report(FULL, row("small-int8", 0.5, 202, 0.40), PEER)
    by_kind = changes(before, after)
    assert by_kind["small-int8", "nDCG@10"].real
    assert by_kind["small-int8", "nDCG@10"].change < -0.1
    query = by_kind["small-int8", "query speed"]
    assert query.real
    assert query.change == pytest.approx(1.0, abs=0.02)
    assert not by_kind["small-int8", "document speed"].real  # one per cent
    assert not by_kind["full", "query speed"].real


def test_a_slower_machine_is_no_change() -> None:
    before = report(FULL, SMALL, PEER)
    after = report(
        row("full", 8.0, 25, 0.5),
        row("small-int8", 2.0, 100, 0.49),
        row("st-torch", 20.0, 10, 0.5, peer=True),
    )
    assert not any(change.real for change in changes(before, after).values())


def test_rows_of_one_report_only_are_named() -> None:
    lines = compare.unmatched(report(FULL, SMALL), report(FULL, PEER))
    assert lines == ["only in the first: one, small-int8", "only in the second: one, st-torch"]
