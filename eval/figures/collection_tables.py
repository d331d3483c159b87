"""Tables of a benchmark with a row for each encoder and a column for each collection."""

from collections.abc import Callable

from trimseek.eval.bench.report import (
    EMPTY_CELL,
    Cells,
    baseline_of,
    document_ratio,
    number,
    query_ratio,
    times,
)
from trimseek.eval.bench.results import BenchReport, Row

Cell = Callable[[Row, Row], str]  # of a row and of its collection's baseline


def benchmark_tables(report: BenchReport) -> list[Cells]:
    """Quality, latency, throughput, and the share of the machine's matrix products."""
    tables = [
        quality_table(report),
        *query_tables(report),
        *document_tables(report),
    ]
    if limit := report.machine.rates:
        title = (
            f"documents, share of this machine's matrix products ({limit.int8:.0f} int8, "
            f"{limit.float32:.0f} float32 * 10^9 multiply-accumulates a second)"
        )
        tables.append(table_by_collection(report, title, document_share))
    return tables


def quality_table(report: BenchReport) -> Cells:
    """Means of the main measure."""
    measure = report.main_measure
    return table_by_collection(
        report,
        measure,
        lambda row, _: f"{row.quality.measures[measure]:.4f}" if row.quality else EMPTY_CELL,
    )


def query_tables(report: BenchReport) -> list[Cells]:
    """Latency of encoding one query, in ms and as a multiple of the baseline's speed."""
    return [
        table_by_collection(report, "one query, encoding p50 in ms", query_p50),
        speed_table(report, "one query", query_ratio),
    ]


def document_tables(report: BenchReport) -> list[Cells]:
    """Documents encoded a second, and the multiple of the baseline's speed."""
    return [
        table_by_collection(report, "documents a second", documents_per_second),
        speed_table(report, "documents", document_ratio),
    ]


def speed_table(report: BenchReport, work: str, ratio: Callable[[Row, Row], float | None]) -> Cells:
    """Multiples of the baseline's speed; ``ratio``: of a row and of its baseline."""
    name = baseline_of(report, report.rows).encoders
    return table_by_collection(
        report,
        f"{work}, multiple of {name}'s speed",
        lambda row, baseline: times(ratio(row, baseline)),
    )


def table_by_collection(report: BenchReport, title: str, cell: Cell) -> Cells:
    """A row for each encoder (and index), a column for each collection."""
    rows = []
    for name in dict.fromkeys(row.name for row in report.rows):
        cells = [name]
        for collection in report.collections:
            of_collection = report.rows_of(collection.name)
            row = next((row for row in of_collection if row.name == name), None)
            cells.append(cell(row, baseline_of(report, of_collection)) if row else EMPTY_CELL)
        rows.append(cells)
    names = [collection.name for collection in report.collections]
    return Cells(title, ["encoder", *names], rows)


def query_p50(row: Row, _baseline: Row) -> str:
    """Milliseconds."""
    return number(row.encode and row.encode.query.p50, 2)


def documents_per_second(row: Row, _baseline: Row) -> str:
    """In batches of the encoder's own choice."""
    return number(row.encode and row.encode.documents_per_second, 0)


def document_share(row: Row, _baseline: Row) -> str:
    """The share of the machine's matrix-product rate that encoding documents reaches."""
    return f"{row.encode.document_share:.0%}" if row.encode else EMPTY_CELL
