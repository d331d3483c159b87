"""The results of a benchmark of recommenders as tables and a folder."""

import json
from pathlib import Path

from trimseek.atomic import make_folder, write_text
from trimseek.eval.bench.output import RESULTS
from trimseek.eval.bench.pareto import Panel, Point, draw_panels, write_picture
from trimseek.eval.bench.recommendation.run import (
    CLIENTS,
    LONG,
    RecommendationReport,
    SystemRow,
    to_json,
)
from trimseek.eval.bench.report import EMPTY_CELL, Cells, markdown_table

PICTURE = "pareto"


def quality_cells(report: RecommendationReport) -> Cells:
    """How well each system finds what users took last."""
    headings = ("system", "HR@10", "NDCG@10", "loss", "95 % interval", "coverage", "MB")
    title = (
        f"{report.log}: the last items of {report.tested:,} users, among all {report.items:,}; "
        f"losses of NDCG@10 beside {report.rows[0].name}"
    )
    return Cells(title, headings, [quality_row(row) for row in report.rows])


def quality_row(row: SystemRow) -> tuple[str, ...]:
    """One system's quality and size."""
    interval = EMPTY_CELL
    if row.interval is not None:
        interval = f"{row.interval.low:+.1%} to {row.interval.high:+.1%}"
    return (
        row.name,
        f"{row.hit_rate:.4f}",
        f"{row.ndcg:.4f}",
        EMPTY_CELL if row.loss is None else f"{row.loss:+.1%}",
        interval,
        f"{row.coverage:.0%}",
        f"{row.bytes / 1e6:.2f}",
    )


def speed_cells(report: RecommendationReport) -> Cells:
    """How fast each system answers."""
    first = report.rows[0].speed
    headings = (
        *("system", "encode ms", "speed", "ms", "speed ", f"ms, {LONG} items", "speed  "),
        *(f"ms, {CLIENTS} clients", "answers/s"),
    )
    rows = []
    for row in report.rows:
        if row.speed is None or first is None:
            continue
        rows.append(
            (
                row.name,
                *encode_cells(row.speed.encode, first.encode),
                f"{row.speed.one:.3f}",
                f"{first.one / row.speed.one:.2f}x",
                f"{row.speed.long:.3f}",
                f"{first.long / row.speed.long:.2f}x",
                f"{row.speed.many:.2f}",
                f"{row.speed.per_second:,.0f}",
            )
        )
    return Cells("a history encoded, and to its ten items, search included, p50", headings, rows)


def encode_cells(own: float | None, first: float | None) -> tuple[str, str]:
    """Milliseconds of encoding, and how many times as fast as the first."""
    if own is None or first is None:
        return EMPTY_CELL, EMPTY_CELL
    return f"{own:.3f}", f"{first / own:.2f}x"


def tables(report: RecommendationReport) -> list[Cells]:
    """All tables."""
    timed = [speed_cells(report)] if report.rows[0].speed is not None else []
    return [quality_cells(report), *timed]


def setting_line(report: RecommendationReport) -> str:
    """On what it was measured."""
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"Measured on {machine.cpu}, {machine.cores} cores, {' '.join(machine.flags)}, "
        f"{machine.threads} threads; {versions}; {report.date}."
    )


def write_report(report: RecommendationReport, folder: Path) -> None:
    """Write results.json, report.md and, where speed was measured, a picture."""
    make_folder(folder)
    write_text(folder / RESULTS, json.dumps(to_json(report), ensure_ascii=False) + "\n")
    parts = [f"## {cells.title}\n\n{markdown_table(cells)}\n" for cells in tables(report)]
    picture = f"![]({PICTURE}.svg)\n\n" if report.rows[0].speed is not None else ""
    text = "\n".join(parts)
    write_text(
        folder / "report.md",
        f"# {report.log}\n\n{text}\n{picture}{setting_line(report)}\n\n`{report.command}`\n",
    )
    if report.rows[0].speed is not None:
        points = [
            Point(row.name, row.speed.one, row.ndcg, peer=row.peer)
            for row in report.rows
            if row.speed is not None
        ]
        panel = Panel(report.log, "NDCG@10", points, "a history to its items, p50")
        write_picture(draw_panels([panel], "Quality against latency"), folder, PICTURE)
