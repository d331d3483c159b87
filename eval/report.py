"""A benchmark's numbers as tables, for the terminal and for Markdown."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table

from eval.bench import BenchReport, CollectionReport, Percentiles, Row
from eval.contenders import BASELINE
from eval.metrics import MEASURES

NOTHING = "-"
LATENCIES = ("p50", "p95", "p99")
UNITS = "encode and search: ms for one query; MB: size of the graph"


class Cells(NamedTuple):
    """A table before it is drawn."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def quality_cells(report: CollectionReport) -> Cells:
    return Cells(
        ("encoder", *MEASURES),
        [
            (row.encoder, *(f"{row.quality[name]:.4f}" for name in MEASURES))
            for row in report.rows
            if row.quality is not None
        ],
    )


def speed_cells(report: CollectionReport) -> Cells:
    """Milliseconds and documents a second; with the ratio to the torch baseline, if it ran."""
    baseline = next((row for row in report.rows if row.encoder == BASELINE), None)
    ratio = ["ratio"] * (baseline is not None)
    latencies = [f"{what} {name}" for what in ("encode", "search") for name in LATENCIES]
    headings = ["encoder", *latencies[:3], *ratio, *latencies[3:], "docs/s", *ratio, "MB"]
    return Cells(headings, [speed_row(row, baseline) for row in report.rows])


def speed_row(row: Row, baseline: Row | None) -> list[str]:
    query_ratio, document_ratio = [], []
    if baseline is not None:
        query_ratio = [f"{baseline.encode.p50 / row.encode.p50:.1f}x"]
        document_ratio = [f"{row.documents_per_second / baseline.documents_per_second:.1f}x"]
    return [
        row.encoder,
        *milliseconds(row.encode),
        *query_ratio,
        *milliseconds(row.search),
        f"{row.documents_per_second:.0f}",
        *document_ratio,
        f"{row.graph_bytes / 1e6:.1f}" if row.graph_bytes else NOTHING,
    ]


def milliseconds(times: Percentiles | None) -> list[str]:
    if times is None:
        return [NOTHING] * 3
    return [f"{value:.2f}" for value in (times.p50, times.p95, times.p99)]


def title(report: CollectionReport) -> str:
    return f"{report.collection}: {report.documents:,} documents, {report.queries:,} queries"


def setting(report: BenchReport) -> str:
    """The machine and versions, in one line."""
    machine = report.machine
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return f"{machine.cpu}, {machine.int8}, {machine.threads} threads; {versions}; {report.date}"


def terminal_tables(report: BenchReport) -> Iterable[Table]:
    for collection in report.collections:
        yield terminal_table(quality_cells(collection), title(collection))
        yield terminal_table(speed_cells(collection), UNITS)


def terminal_table(cells: Cells, heading: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, title=heading, title_justify="left", padding=(0, 0))
    for i, name in enumerate(cells.headings):
        table.add_column(name, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in cells.rows:
        table.add_row(*row)
    return table


def markdown(report: BenchReport) -> str:
    """The same tables for the README."""
    parts = []
    for collection in report.collections:
        parts.append(f"**{title(collection)}**")
        parts += [markdown_table(quality_cells(collection))]
        parts += [markdown_table(speed_cells(collection))]
    return (
        "\n\n".join([*parts, f"{UNITS[0].upper()}{UNITS[1:]}. Measured on {setting(report)}."])
        + "\n"
    )


def markdown_table(cells: Cells) -> str:
    rule = ["---"] + ["---:"] * (len(cells.headings) - 1)
    lines = [cells.headings, rule, *cells.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
