"""A benchmark's results as tables: for the terminal, for Markdown and for HTML."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from trimseek.eval.bench.recall import family, latency_at, lines, recall_panels
from trimseek.eval.bench.results import (
    BenchReport,
    CollectionSummary,
    Comparison,
    Machine,
    Percentiles,
    Row,
)

RECALLS = (0.95, 0.99, 0.995)
EMPTY_CELL = "-"
# Peers that most people use today: speeds are multiples of the first one that ran.
BASELINES = ("st-torch", "transformers")
TRIMMED_SHARE = 0.2  # of the turns, left out at either end

Column = Callable[[Row], str]


class Cells(NamedTuple):
    """A table's texts; ``headings`` may end in a space, so that two are told apart as keys."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(report: BenchReport) -> Iterable[Cells]:
    """The summary of all collections if there are several, then every collection's tables."""
    if len(report.collections) > 1:
        yield summary_cells(report)
    for collection in report.collections:
        yield from collection_tables(report, collection)


def collection_tables(report: BenchReport, collection: CollectionSummary) -> Iterable[Cells]:
    """Quality, differences from the reference, latency, throughput: those that were measured."""
    rows = report.rows_of(collection.name)
    if collection.judged:
        yield quality_cells(report, collection, rows)
    yield difference_cells(report, collection, rows)
    if any(row.encode for row in rows):
        yield latency_cells(report, rows)
        yield throughput_cells(report, rows)
    if found := lines(report, collection.name):
        yield recall_cells(found, rows)


def recall_cells(found: dict[str, list[tuple[float, float]]], rows: list[Row]) -> Cells:
    """How long a search takes that finds so much, and what the index costs."""
    cells = []
    for name, points in found.items():
        of_family = [row for row in rows if family(row.index) == name]
        reached = [latency_at(points, recall) for recall in RECALLS]
        cells.append(
            [
                name,
                f"{of_family[0].index_size.build_seconds:.1f}",
                f"{of_family[0].index_size.bytes_per_document:,.0f}",
                *(EMPTY_CELL if each is None else f"{each:.3f}" for each in reached),
            ]
        )
    headings = ["index", "build s", "bytes a text"]
    headings += [f"ms at recall {recall:g}" for recall in RECALLS]
    return Cells("a search, encoding apart, one at a time, p50", headings, cells)


def quality_cells(report: BenchReport, collection: CollectionSummary, rows: list[Row]) -> Cells:
    """Means of every measure."""
    columns: dict[str, Column] = {"encoder": lambda row: row.name}
    for measure in report.measures:
        columns[measure] = lambda row, name=measure: (  # type: ignore[misc]
            f"{row.quality.measures[name]:.4f}" if row.quality else EMPTY_CELL
        )
    return table_of(collection_title(collection), columns, rows)


def difference_cells(report: BenchReport, collection: CollectionSummary, rows: list[Row]) -> Cells:
    """How far rows differ from the reference under exact search: losses, rankings."""
    columns: dict[str, Column] = {"encoder": lambda row: row.name}
    heading = f"beside {report.reference}, exact: "
    if collection.judged:
        columns |= {
            "loss": comparison_column(lambda comparison: percent(comparison.loss)),
            "95 % interval": comparison_column(interval),
            "p": comparison_column(lambda comparison: number(comparison.p_value, 3)),
            "better/same/worse": comparison_column(wins),
        }
        heading += f"loss of {report.main_measure}, how many queries are better, and "
    else:
        heading = f"{collection_title(collection)}, not judged; {heading}"
    columns |= {
        "overlap@10": lambda row: number(row.agreement.overlap, 3),
        "top 10 found": lambda row: number(row.agreement.recall, 3),
        "RBO": lambda row: number(row.agreement.rbo, 3),
    }
    return table_of(f"{heading}how far the rankings agree", columns, rows)


def collection_title(collection: CollectionSummary) -> str:
    """``scifact: 5,183 documents of 187 tokens, 300 queries of 24``."""
    return (
        f"{collection.name}: {collection.documents:,} documents of "
        f"{collection.mean_document_tokens:.0f} tokens, {collection.queries:,} queries of "
        f"{collection.mean_query_tokens:.0f}"
    )


def latency_cells(report: BenchReport, rows: list[Row]) -> Cells:
    """One query at a time."""
    baseline = baseline_of(report, rows)
    columns: dict[str, Column] = {
        "encoder": lambda row: row.name,
        "encode p50": lambda row: milliseconds(row.encode and row.encode.query, "p50"),
        "p95": lambda row: milliseconds(row.encode and row.encode.query, "p95"),
        "p99": lambda row: milliseconds(row.encode and row.encode.query, "p99"),
        "speed": lambda row: times(query_ratio(row, baseline)),
        "search p50": lambda row: milliseconds(row.retrieve and row.retrieve.search, "p50"),
        "end to end p50": lambda row: milliseconds(row.retrieve and row.retrieve.end_to_end, "p50"),
        "p95 ": lambda row: milliseconds(row.retrieve and row.retrieve.end_to_end, "p95"),
        "p99 ": lambda row: milliseconds(row.retrieve and row.retrieve.end_to_end, "p99"),
    }
    heading = f"one query at a time, ms; speed: multiple of {baseline.encoders}'s"
    return table_of(heading, columns, rows)


def throughput_cells(report: BenchReport, rows: list[Row]) -> Cells:
    """Queries in batches and of clients at once, documents in bulk, memory and sizes."""
    baseline = baseline_of(report, rows)
    first = next(row.encode for row in rows if row.encode)
    columns: dict[str, Column] = {"encoder": lambda row: row.name}
    for size in first.batches:
        columns[f"q/s by {size}"] = lambda row, name=size: number(  # type: ignore[misc]
            row.encode and row.encode.batches.get(name), 0
        )
    for closed in first.closed:
        columns[f"q/s of {closed.clients}"] = (
            lambda row, count=closed.clients: clients(row, count)  # type: ignore[misc]
        )
    columns |= {
        "docs/s": lambda row: number(row.encode and row.encode.documents_per_second, 0),
        "speed": lambda row: times(document_ratio(row, baseline)),
        "tokens/s": lambda row: number(row.encode and row.encode.tokens_per_second, 0),
        "limit q": lambda row: share(row.encode and row.encode.query_share),
        "limit d": lambda row: share(row.encode and row.encode.document_share),
        "peak MB": lambda row: megabytes(row.encode and row.encode.peak_memory, 0),
        "model MB": lambda row: megabytes(row.encoder_bytes, 1),
        "index B/doc": lambda row: number(row.index_size.bytes_per_document, 0),
    }
    rates = report.machine.rates
    limit = ""
    if rates:
        limit = (
            f"; limit: share of this machine's matrix products, {rates.int8:.0f} (int8) and "
            f"{rates.float32:.0f} (float32) * 10^9 multiply-accumulates a second"
        )
    heading = (
        "throughput: queries/s in batches and of clients at once, documents/s in bulk, as a "
        f"multiple of {baseline.encoders}'s speed"
    )
    return table_of(heading + limit, columns, rows)


def summary_cells(report: BenchReport) -> Cells:
    """Over the collections: mean of the main measure, geometric means of the speed ratios."""
    names = list(dict.fromkeys(row.name for row in report.rows))
    judged = [collection.name for collection in report.collections if collection.judged]
    rows = [summary_row(report, name, judged) for name in names]
    baseline = baseline_of(report, report.rows).encoders
    heading = (
        f"all {len(report.collections)} collections: mean {report.main_measure}, what is kept of "
        f"{report.reference}'s; query and document speed: multiple of {baseline}'s, geometric mean"
    )
    headings = ("encoder", report.main_measure, "kept", "worst", "query ms", "query speed")
    return Cells(heading, (*headings, "document speed", "model MB", "peak MB"), rows)


def summary_row(report: BenchReport, name: str, judged: Sequence[str]) -> list[str]:
    """The cells of one encoder; quality is of the ``judged`` collections."""
    rows = {row.collection: row for row in report.rows if row.name == name}
    values, kept, queries, documents, latency = [], [], [], [], []
    for collection, row in rows.items():
        baseline = baseline_of(report, report.rows_of(collection))
        if collection in judged and row.quality:
            values.append(row.quality.measures[report.main_measure])
            kept.append(1 - row.quality.comparison.loss if row.quality.comparison else 1.0)
        if row.encode:
            queries.append(query_ratio(row, baseline))
            documents.append(document_ratio(row, baseline))
            latency.append(row.encode.query.p50)
    last = next(reversed(rows.values()))
    return [
        name,
        number(statistics.fmean(values), 4) if values else EMPTY_CELL,
        percent(statistics.fmean(kept), 1) if kept else EMPTY_CELL,
        percent(min(kept), 1) if kept else EMPTY_CELL,
        number(statistics.geometric_mean(latency), 2) if latency else EMPTY_CELL,
        times(geometric_mean(queries)),
        times(geometric_mean(documents)),
        megabytes(last.encoder_bytes, 1),
        megabytes(
            max((row.encode.peak_memory for row in rows.values() if row.encode), default=0), 0
        ),
    ]


def baseline_of(report: BenchReport, rows: Sequence[Row]) -> Row:
    """The row that speeds are multiples of: a peer of ``BASELINES``, else the reference."""
    for name in (*BASELINES, report.reference):
        for row in rows:
            if row.encoders == name and row.encode:
                return row
    return rows[0]


def query_ratio(row: Row, baseline: Row) -> float | None:
    """How many times as fast as the baseline a query is encoded; None if nothing was timed."""
    ratios = query_ratios(row, baseline)
    return trimmed_mean(ratios) if ratios else None


def document_ratio(row: Row, baseline: Row) -> float | None:
    """How many times as many documents a second; None if nothing was timed."""
    ratios = document_ratios(row, baseline)
    return trimmed_mean(ratios) if ratios else None


def trimmed_mean(ratios: Sequence[float]) -> float:
    """Geometric mean without the fifth of the turns at either end.

    Like the median it ignores disturbed turns, and it varies less: between two runs of 18 turns
    by up to a tenth.
    """
    cut = int(len(ratios) * TRIMMED_SHARE)
    return statistics.geometric_mean(sorted(ratios)[cut : len(ratios) - cut])


def query_ratios(row: Row, baseline: Row) -> list[float]:
    """How many times as fast a query is encoded, by turn; empty if nothing was timed."""
    if not row.encode or not baseline.encode:
        return []
    pairs = zip(baseline.encode.query_turns, row.encode.query_turns, strict=False)
    return [baseline_ms / ms for baseline_ms, ms in pairs]


def document_ratios(row: Row, baseline: Row) -> list[float]:
    """How many times as many documents a second, by round; empty if nothing was timed."""
    if not row.encode or not baseline.encode:
        return []
    pairs = zip(row.encode.document_rounds, baseline.encode.document_rounds, strict=False)
    return [rate / baseline_rate for rate, baseline_rate in pairs]


def geometric_mean(values: Sequence[float | None]) -> float | None:
    """Of the values that are not None; None if there are none."""
    known = [value for value in values if value is not None]
    return statistics.geometric_mean(known) if known else None


def table_of(title: str, columns: dict[str, Column], rows: list[Row]) -> Cells:
    """A table from functions that give a row's cell, by heading."""
    return Cells(
        title, tuple(columns), [[column(row) for column in columns.values()] for row in rows]
    )


def comparison_column(cell: Callable[[Comparison], str]) -> Column:
    """A column of the comparison with the reference; empty for rows that have none."""

    def column(row: Row) -> str:
        comparison = row.quality and row.quality.comparison
        return cell(comparison) if comparison else EMPTY_CELL

    return column


def interval(comparison: Comparison) -> str:
    """Of the loss, as ``-1.0% to +5.0%``."""
    low, high = comparison.interval
    return f"{low:+.1%} to {high:+.1%}"


def wins(comparison: Comparison) -> str:
    """Queries that are better, the same and worse, as ``3/50/7``."""
    queries = comparison.queries
    return f"{queries.wins}/{queries.ties}/{queries.losses}"


def clients(row: Row, count: int) -> str:
    """Queries a second of so many clients together."""
    loops = row.encode.closed if row.encode else []
    rates = [loop.queries_per_second for loop in loops if loop.clients == count]
    return number(rates[0] if rates else None, 0)


def number(value: float | None, digits: int) -> str:
    """With so many digits behind the point."""
    return EMPTY_CELL if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 2) -> str:
    """0.0123 as ``1.23%``; never -0."""
    return EMPTY_CELL if value is None else f"{value + 0.0:.{digits}%}"


def share(value: float | None) -> str:
    """0.123 as ``12%``."""
    return percent(value, 0)


def times(value: float | None) -> str:
    """A multiple, as ``4.2x``."""
    return EMPTY_CELL if value is None else f"{value:.1f}x"


def megabytes(value: float | None, digits: int) -> str:
    """Bytes in 10^6; empty for 0."""
    return EMPTY_CELL if not value else f"{value / 1e6:.{digits}f}"


def milliseconds(percentiles: Percentiles | None, which: str) -> str:
    """One of the percentiles, which is named ``p50``, ``p95`` or ``p99``."""
    return EMPTY_CELL if percentiles is None else f"{getattr(percentiles, which):.2f}"


def setting_line(report: BenchReport) -> str:
    """The machine, versions and date, in one line."""
    return f"{machine_line(report.machine)}; {report.date}"


def hardware_line(machine: Machine) -> str:
    """CPU, cores and int8 instructions, in one line."""
    return f"{machine.cpu}, {machine.cores} cores, {machine.int8}"


def machine_line(machine: Machine) -> str:
    """CPU, cores, int8 instructions, threads and versions, in one line."""
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return f"{hardware_line(machine)}, {machine.threads} threads; {versions}"


def caveats(report: BenchReport) -> list[str]:
    """Lines that the tables need: missing peers, equal vectors, limits, peers' versions."""
    lines = [
        f"{missing.peer} did not run, or not to the end: {missing.reason}"
        for missing in report.unavailable
    ]
    equal = sorted({row.name for row in report.rows if row.quality and row.quality.taken_from})
    if equal:
        lines.append(
            f"{', '.join(equal)}: vectors equal {report.reference}'s on a sample (cosine at least "
            "0.9999), so their quality is its"
        )
    over = sorted({row.name for row in report.rows if over_the_limit(row)})
    if over:
        lines.append(
            f"{', '.join(over)}: above the limit, so that it computes in fewer bits than its name "
            "says (OpenVINO takes bfloat16 where the CPU has it) or on fewer tokens"
        )
    by_versions: dict[str, list[str]] = {}
    for peer, versions in report.machine.peer_versions.items():
        line = ", ".join(f"{name} {version}" for name, version in versions.items())
        by_versions.setdefault(line, []).append(peer)
    return lines + [f"{', '.join(peers)}: {line}" for line, peers in by_versions.items()]


def over_the_limit(row: Row) -> bool:
    """Whether documents are encoded faster than the machine's products at that precision allow."""
    return bool(row.encode and row.encode.document_share > 1)


def terminal_table(cells: Cells) -> Table:
    """As rich draws it: the first column to the left, the others to the right."""
    table = Table(
        box=box.SIMPLE_HEAD, title=Text(cells.title), title_justify="left", padding=(0, 0)
    )
    for i, name in enumerate(cells.headings):
        table.add_column(name.strip(), justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in cells.rows:
        table.add_row(*row)
    return table


def markdown(report: BenchReport) -> str:
    """The text of report.md."""
    parts = ["# Benchmark", f"`{report.command}`", f"{setting_line(report)}."]
    parts += ["![](pareto.svg)", "![](documents.svg)"]
    if recall_panels(report):
        parts.append("![](recall.svg)")
    for cells in tables(report):
        parts += [f"**{capitalized(cells.title)}**", markdown_table(cells)]
    parts += [f"- {line}" for line in caveats(report)]
    return "\n\n".join(parts) + "\n"


def capitalized(text: str) -> str:
    """With a capital letter first, but for words like nDCG, whose second letter is one."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def markdown_table(cells: Cells) -> str:
    """Lines between pipes: the first column to the left, the others to the right."""
    rule = ["---"] + ["---:"] * (len(cells.headings) - 1)
    headings = [heading.strip() for heading in cells.headings]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *cells.rows))
