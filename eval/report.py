"""A benchmark's numbers as tables: for the terminal, for Markdown and for HTML."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from eval.results import (
    BenchReport,
    CollectionSummary,
    Comparison,
    Machine,
    Percentiles,
    Row,
)

NOTHING = "-"
# What people have today, if it ran; speeds are then given as multiples of its speed.
BASELINES = ("st-torch", "transformers")
TRIMMED = 0.2  # of the turns, at either end

Column = Callable[[Row], str]


class Cells(NamedTuple):
    """A table before it is drawn."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(report: BenchReport) -> Iterable[Cells]:
    """Every table: all collections together first, where there are several."""
    if len(report.collections) > 1:
        yield summary_cells(report)
    for collection in report.collections:
        yield from collection_tables(report, collection)


def collection_tables(report: BenchReport, collection: CollectionSummary) -> Iterable[Cells]:
    rows = report.rows_of(collection.name)
    if collection.judged:
        yield quality_cells(report, collection, rows)
    yield difference_cells(report, collection, rows)
    if any(row.encode for row in rows):
        yield latency_cells(report, rows)
        yield throughput_cells(report, rows)


def quality_cells(report: BenchReport, collection: CollectionSummary, rows: list[Row]) -> Cells:
    columns: dict[str, Column] = {"encoder": lambda row: row.name}
    for measure in report.measures:
        columns[measure] = lambda row, name=measure: (  # type: ignore[misc]
            f"{row.quality.measures[name]:.4f}" if row.quality else NOTHING
        )
    return fill(described(collection), columns, rows)


def difference_cells(report: BenchReport, collection: CollectionSummary, rows: list[Row]) -> Cells:
    columns: dict[str, Column] = {"encoder": lambda row: row.name}
    heading = f"beside {report.reference}, exact: "
    if collection.judged:
        columns |= {
            "loss": compared(lambda found: percent(found.loss)),
            "95 % interval": compared(interval),
            "p": compared(lambda found: number(found.p_value, 3)),
            "better/same/worse": compared(wins),
        }
        heading += f"loss of {report.main_measure}, how many queries are better, and "
    else:
        heading = f"{described(collection)}, not judged; {heading}"
    columns |= {
        "overlap@10": lambda row: number(row.agreement.overlap, 3),
        "top 10 found": lambda row: number(row.agreement.recall, 3),
        "RBO": lambda row: number(row.agreement.rbo, 3),
    }
    return fill(f"{heading}how far the rankings agree", columns, rows)


def described(collection: CollectionSummary) -> str:
    return (
        f"{collection.name}: {collection.documents:,} documents of "
        f"{collection.mean_document_tokens:.0f} tokens, {collection.queries:,} queries of "
        f"{collection.mean_query_tokens:.0f}"
    )


def latency_cells(report: BenchReport, rows: list[Row]) -> Cells:
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
    return fill(heading, columns, rows)


def throughput_cells(report: BenchReport, rows: list[Row]) -> Cells:
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
    return fill(heading + limit, columns, rows)


def summary_cells(report: BenchReport) -> Cells:
    """Over the collections: mean of the main measure, geometric means of the speed ratios."""
    names = list(dict.fromkeys(row.name for row in report.rows))
    judged = [each.name for each in report.collections if each.judged]
    rows = [summary_row(report, name, judged) for name in names]
    baseline = baseline_of(report, report.rows).encoders
    heading = (
        f"all {len(report.collections)} collections: mean {report.main_measure}, what is kept of "
        f"{report.reference}'s; query and document speed: multiple of {baseline}'s, geometric mean"
    )
    headings = ("encoder", report.main_measure, "kept", "worst", "query ms", "query speed")
    return Cells(heading, (*headings, "document speed", "model MB", "peak MB"), rows)


def summary_row(report: BenchReport, name: str, judged: Sequence[str]) -> list[str]:
    found = {row.collection: row for row in report.rows if row.name == name}
    values, kept, queries, documents, latency = [], [], [], [], []
    for collection, row in found.items():
        baseline = baseline_of(report, report.rows_of(collection))
        if collection in judged and row.quality:
            values.append(row.quality.measures[report.main_measure])
            kept.append(1 - row.quality.comparison.loss if row.quality.comparison else 1.0)
        if row.encode:
            queries.append(query_ratio(row, baseline))
            documents.append(document_ratio(row, baseline))
            latency.append(row.encode.query.p50)
    last = next(reversed(found.values()))
    return [
        name,
        number(statistics.fmean(values), 4) if values else NOTHING,
        percent(statistics.fmean(kept), 1) if kept else NOTHING,
        percent(min(kept), 1) if kept else NOTHING,
        number(statistics.geometric_mean(latency), 2) if latency else NOTHING,
        times(geometric_mean(queries)),
        times(geometric_mean(documents)),
        megabytes(last.encoder_bytes, 1),
        megabytes(
            max((row.encode.peak_memory for row in found.values() if row.encode), default=0), 0
        ),
    ]


def baseline_of(report: BenchReport, rows: Sequence[Row]) -> Row:
    """The row that speeds are multiples of: a peer that people have today, else the reference."""
    for name in (*BASELINES, report.reference):
        for row in rows:
            if row.encoders == name and row.encode:
                return row
    return rows[0]


def query_ratio(row: Row, baseline: Row) -> float | None:
    """How many times as fast a query is encoded."""
    ratios = query_ratios(row, baseline)
    return middle(ratios) if ratios else None


def document_ratio(row: Row, baseline: Row) -> float | None:
    """How many times as many documents a second."""
    ratios = document_ratios(row, baseline)
    return middle(ratios) if ratios else None


def middle(ratios: Sequence[float]) -> float:
    """Geometric mean without the fifth of the turns at either end.

    As blind to a disturbed turn as the median, and steadier: between two runs of 18 turns it
    varied up to a tenth less.
    """
    cut = int(len(ratios) * TRIMMED)
    return statistics.geometric_mean(sorted(ratios)[cut : len(ratios) - cut])


def query_ratios(row: Row, baseline: Row) -> list[float]:
    """Of each turn; empty if nothing was timed."""
    if not row.encode or not baseline.encode:
        return []
    pairs = zip(baseline.encode.query_turns, row.encode.query_turns, strict=False)
    return [theirs / ours for theirs, ours in pairs]


def document_ratios(row: Row, baseline: Row) -> list[float]:
    """Of each round; empty if nothing was timed."""
    if not row.encode or not baseline.encode:
        return []
    pairs = zip(row.encode.document_rounds, baseline.encode.document_rounds, strict=False)
    return [ours / theirs for ours, theirs in pairs]


def geometric_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.geometric_mean(known) if known else None


def fill(heading: str, columns: dict[str, Column], rows: list[Row]) -> Cells:
    return Cells(
        heading, tuple(columns), [[column(row) for column in columns.values()] for row in rows]
    )


def compared(shown: Callable[[Comparison], str]) -> Column:
    """A column of the comparison with the reference; nothing for rows that have none."""

    def column(row: Row) -> str:
        comparison = row.quality and row.quality.comparison
        return shown(comparison) if comparison else NOTHING

    return column


def interval(found: Comparison) -> str:
    low, high = found.interval
    return f"{low:+.1%} to {high:+.1%}"


def wins(found: Comparison) -> str:
    return f"{found.queries.wins}/{found.queries.ties}/{found.queries.losses}"


def clients(row: Row, count: int) -> str:
    closed = row.encode.closed if row.encode else []
    return number(
        next((each.queries_per_second for each in closed if each.clients == count), None), 0
    )


def number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def percent(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None else f"{value + 0.0:.{digits}%}"


def share(value: float | None) -> str:
    return percent(value, 0)


def times(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.1f}x"


def megabytes(value: float | None, digits: int) -> str:
    return NOTHING if not value else f"{value / 1e6:.{digits}f}"


def milliseconds(found: Percentiles | None, which: str) -> str:
    return NOTHING if found is None else f"{getattr(found, which):.2f}"


def setting(report: BenchReport) -> str:
    """The machine and versions, in one line."""
    return f"{machine_words(report.machine)}; {report.date}"


def machine_words(machine: Machine) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{machine.cpu}, {machine.cores} cores, {machine.int8}, {machine.threads} threads; "
        f"{versions}"
    )


def caveats(report: BenchReport) -> list[str]:
    """What a reader must know beside the tables."""
    lines = [
        f"{each.peer} did not run, or not to the end: {each.reason}" for each in report.unavailable
    ]
    taken = sorted({row.name for row in report.rows if row.quality and row.quality.taken_from})
    if taken:
        lines.append(
            f"{', '.join(taken)}: vectors equal {report.reference}'s on a sample (cosine at least "
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
        said = ", ".join(f"{name} {each}" for name, each in versions.items())
        by_versions.setdefault(said, []).append(peer)
    return lines + [f"{', '.join(peers)}: {said}" for said, peers in by_versions.items()]


def over_the_limit(row: Row) -> bool:
    return bool(row.encode and row.encode.document_share > 1)


def terminal_table(cells: Cells) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD, title=Text(cells.title), title_justify="left", padding=(0, 0)
    )
    for i, name in enumerate(cells.headings):
        table.add_column(name.strip(), justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in cells.rows:
        table.add_row(*row)
    return table


def markdown(report: BenchReport) -> str:
    """report.md."""
    parts = ["# Benchmark", f"`{report.command}`", f"{setting(report)}.", "![](pareto.svg)"]
    for cells in tables(report):
        parts += [f"**{capitalized(cells.title)}**", markdown_table(cells)]
    parts += [f"- {line}" for line in caveats(report)]
    return "\n\n".join(parts) + "\n"


def capitalized(text: str) -> str:
    """As the start of a line; names that are spelled otherwise (nDCG) stay as they are."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def markdown_table(cells: Cells) -> str:
    rule = ["---"] + ["---:"] * (len(cells.headings) - 1)
    headings = [heading.strip() for heading in cells.headings]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *cells.rows))
