"""Writes docs/results.md and the README's table, between their markers, from ``results``.

python -m trimseek.eval.figures docs

A marker is a line ``<!-- NAME -->``; what stands between it and ``<!-- /NAME -->`` is replaced.
"""

from collections.abc import Sequence
from pathlib import Path

from trimseek.atomic import write_text
from trimseek.compression.calibration import Calibration
from trimseek.errors import ConfigError
from trimseek.eval.bench import encode_profile
from trimseek.eval.bench.recall import lines
from trimseek.eval.bench.recommendation.report import setting_line as recommendation_setting
from trimseek.eval.bench.recommendation.report import tables as recommendation_tables
from trimseek.eval.bench.recommendation.run import RecommendationReport
from trimseek.eval.bench.report import (
    Cells,
    capitalized,
    caveats,
    machine_line,
    markdown_table,
    recall_cells,
    setting_line,
    summary_cells,
)
from trimseek.eval.bench.results import BenchReport, read_results
from trimseek.eval.figures.collection_tables import benchmark_tables
from trimseek.eval.figures.encoding import (
    EncodingResults,
    concurrency_cells,
    growth_after_first_minute,
    growth_cells,
    read_encoding,
)
from trimseek.eval.figures.files import RESULTS, CollectionRow, collections_of, read_figures
from trimseek.eval.figures.modes import modes_cells, read_modes
from trimseek.eval.figures.over_http import HttpResults, http_cells, read_http
from trimseek.eval.figures.pairs import PairQuality, pairs_tables, read_pairs
from trimseek.eval.figures.requests import (
    RequestCosts,
    profile_cells,
    read_requests,
    throughput_cells,
)
from trimseek.eval.figures.reranking import PASSAGES, RerankSpeed, read_reranking
from trimseek.eval.figures.scale import Scaling, read_scaling, scaling_cells
from trimseek.eval.figures.shrinking import read_shrinking, shrinking_cells
from trimseek.eval.figures.startup import Startup, read_startup
from trimseek.indexer.corpus import SAMPLE

ROOT = Path(__file__).resolve().parent.parent.parent
README = ROOT / "README.md"
RESULTS_PAGE = ROOT / "docs" / "results.md"
BENCH = RESULTS / "results.json"
GRAPHS = RESULTS / "graphs.json"
CALIBRATION = RESULTS / "calibration.json"
RECOMMENDATION = RESULTS / "recommendation.json"
PICTURES = "../eval/figures/results"  # relative to docs/


def main(_arguments: Sequence[str]) -> None:
    """Rewrite both files."""
    write_text(RESULTS_PAGE, results_page(RESULTS_PAGE.read_text("utf-8")))
    write_text(README, with_summary(README.read_text("utf-8")))


def results_page(text: str) -> str:
    """The text of docs/results.md with every section's tables as ``results`` has them."""
    for marker, section in sections().items():
        text = between(text, marker, section, RESULTS_PAGE.name)
    return text


def with_summary(text: str) -> str:
    """The README's text with the benchmark's summary."""
    report = read_results(BENCH)
    section = joined(*titled(summary_cells(report)), f"Measured on {setting_line(report)}.")
    return between(text, "summary", section, README.name)


def between(text: str, marker: str, section: str, name: str) -> str:
    """Put a section between its markers; ConfigError if the text of file ``name`` lacks them."""
    opening, closing = f"<!-- {marker} -->\n", f"<!-- /{marker} -->"
    before, opened, rest = text.partition(opening)
    _, closed, after = rest.partition(closing)
    if not opened or not closed:
        raise ConfigError(
            f"{name}: lacks the lines {opening.strip()} and {closing} where the section belongs"
        )
    return f"{before}{opening}{section}{closing}{after}"


def sections() -> dict[str, str]:
    """What stands in docs/results.md, by marker."""
    shrinking, modes = read_shrinking(), read_modes()
    return {
        "benchmark": benchmark_section(read_results(BENCH)),
        "pairs": pairs_section(read_pairs()),
        "shrinking": collections_section("shrinking", shrinking, shrinking_cells(shrinking)),
        "claims": claims_section(read_figures(CALIBRATION, Calibration)),
        "recommendation": recommendation_section(
            read_figures(RECOMMENDATION, RecommendationReport)
        ),
        "modes": collections_section("modes", modes, modes_cells(modes)),
        "reranking": reranking_section(read_reranking()),
        "scale": scale_section(read_scaling()),
        "graphs": graphs_section(read_results(GRAPHS)),
        "encoding": encoding_section(read_encoding()),
        "requests": requests_section(read_requests()),
        "http": http_section(read_http()),
        "startup": startup_section(read_startup()),
    }


def benchmark_section(report: BenchReport) -> str:
    """The summary, the picture, and a table for each thing that differs between collections."""
    return joined(
        console(report.command),
        *titled(summary_cells(report)),
        f"![Quality against latency]({PICTURES}/pareto.svg)",
        f"![Quality against the time of a document]({PICTURES}/documents.svg)",
        *(part for cells in benchmark_tables(report) for part in titled(cells)),
        "\n".join(f"- {line}" for line in caveats(report)),
        f"Measured on {setting_line(report)}.",
    )


def pairs_section(rows: Sequence[PairQuality]) -> str:
    """What pairs of encoders keep of float32, and how fast they are."""
    choice, *tables = pairs_tables(rows)
    cpus = " and ".join(dict.fromkeys(row.cpu for row in rows))
    return joined(
        console(figures_command("pairs", *folders_of(rows))),
        *titled(choice),
        f"![What is kept against the time of a query and of a document]({PICTURES}/pairs.svg)",
        *(part for cells in tables for part in titled(cells)),
        f"Measured on {cpus}.",
    )


def collections_section(name: str, rows: Sequence[CollectionRow], cells: Cells) -> str:
    """A table, and the command that measured its collections."""
    return joined(console(figures_command(name, *folders_of(rows))), *titled(cells))


def folders_of(rows: Sequence[CollectionRow]) -> list[str]:
    """The collections as they are named on the command line."""
    return [
        collection if collection == SAMPLE else f"../shared/data/{collection}"
        for collection in collections_of(rows)
    ]


def claims_section(calibration: Calibration) -> str:
    """The constants of pseudo-judgements, and how claims hold with them."""
    rows = [
        (
            name,
            f"{fit.exponent:.2f}",
            f"{fit.factor:.2f} ({fit.factor_low:.2f} to {fit.factor_high:.2f})",
            f"{fit.spread:.0%}",
            f"{fit.query_noise:.2f}",
        )
        for name, fit in calibration.fits.items()
    ]
    headings = ("fitted to", "exponent", "factor", "spread", "noise of a query")
    names = dict.fromkeys(point.collection for point in calibration.points)
    folders = [name if name == SAMPLE else f"../shared/data/{name}" for name in names]
    command = f"python -m trimseek.compression.calibration {' '.join(folders)} --into FILE"
    claims = calibration.claims
    held = (
        f"Of {claims.of} losses on a collection that the constants were not fitted to, "
        f"{claims.inside:.0%} lie in the interval that is claimed with 95 % confidence, and "
        f"{claims.broken:.0%} are above what is expected by more than noise."
        if claims is not None
        else ""
    )
    return joined(console(command), *titled(Cells("the constants", headings, rows)), held)


def recommendation_section(report: RecommendationReport) -> str:
    """Recommenders beside others."""
    return joined(
        console(report.command),
        *(part for cells in recommendation_tables(report) for part in titled(cells)),
        recommendation_setting(report),
    )


def reranking_section(speed: RerankSpeed) -> str:
    """One sentence."""
    return joined(
        console(figures_command("reranking")),
        f"{PASSAGES} passages, {speed.tokens:,} tokens with the query, take "
        f"{speed.milliseconds:.0f} ms on {speed.threads} threads: {speed.rate:.0f} of "
        f"{speed.limit:.0f} x 10^9 multiply-accumulates a second, {speed.share:.0%} of the limit, "
        f"of which {speed.skipped:.1%} need not be computed. Measured on {speed.cpu}.",
    )


def scale_section(scaling: Scaling) -> str:
    """How indexes grow, and what indexing adds to encoding."""
    cost = scaling.ingest
    command = figures_command(
        "scale", "../shared/text/sentences-300k.jsonl.gz", "../shared/text/questions.jsonl.gz"
    )
    return joined(
        console(command),
        *(part for cells in scaling_cells(scaling) for part in titled(cells)),
        f"Indexing {cost.documents:,} of the texts with {cost.encoder} takes "
        f"{cost.index_seconds:.1f} s, of which encoding is {cost.encode_seconds:.1f} s: storing "
        f"adds {cost.index_seconds / cost.encode_seconds - 1:.1%}.",
        f"Measured on {machine_line(scaling.machine)}; {scaling.date}.",
    )


def graphs_section(report: BenchReport) -> str:
    """Recall of graphs against the time of a search."""
    (collection,) = report.collections
    rows = [row for row in report.rows_of(collection.name) if row.index != "exact"]
    return joined(
        console(report.command),
        *titled(recall_cells(lines(report, collection.name), rows)),
        f"![Recall against the time of a search]({PICTURES}/recall.svg)",
        f"Measured on {setting_line(report)}.",
    )


def encoding_section(results: EncodingResults) -> str:
    """Where encoding's time goes, and how it grows."""
    grown = growth_after_first_minute(results.memory)
    most = max(point.megabytes for point in results.memory)
    last = results.memory[-1]
    return joined(
        console(figures_command("encoding", "../shared/text/questions.jsonl.gz")),
        *titled(encode_profile.profile_cells(results.profiles)),
        *titled(growth_cells(results.growth)),
        f"![Time against length; memory against time]({PICTURES}/encoding.svg)",
        *titled(concurrency_cells(results.concurrency)),
        f"{results.memory_encoder} encoded {last.texts:,} short texts in {last.seconds / 60:.1f} "
        f"minutes; after the first minute the process grew by {grown:.1f} MB to at most "
        f"{most:.0f} MB.",
        f"Measured on {machine_line(results.machine)}; {results.date}.",
    )


def requests_section(costs: RequestCosts) -> str:
    """Where the time of a request goes, and how many are answered."""
    command = figures_command("requests", "INDEX", "../shared/text/questions.jsonl.gz")
    return joined(
        console(command + (" TRIMSEEK OTHER_INDEX" if costs.other else "")),
        *titled(profile_cells(costs)),
        *titled(throughput_cells(costs)),
        f"Measured on {machine_line(costs.machine)}; {costs.date}. wrk ran on the same CPUs.",
    )


def http_section(results: HttpResults) -> str:
    """The service under load, beside a plain one."""
    return joined(
        console(figures_command("over_http", "INDEX", "../shared/text/questions.jsonl.gz")),
        *titled(http_cells(results)),
        f"Measured on {machine_line(results.machine)}; {results.date}. The load generator ran on "
        "the same CPUs.",
    )


def startup_section(startup: Startup) -> str:
    """One sentence."""
    return joined(
        console(figures_command("startup", "INDEX")),
        f"`trimseek serve` on an index of {startup.documents:,} documents is ready "
        f"{startup.ready_seconds:.1f} s after its start and holds {startup.memory_mb:.0f} MB, all "
        f"processes together; `trimseek --help` takes {startup.help_seconds:.2f} s.",
    )


def figures_command(*words: str) -> str:
    """A command of this package, as it is typed."""
    return f"python -m trimseek.eval.figures {' '.join(words)}"


def console(*commands: str) -> str:
    """Commands as a Markdown block."""
    return "\n".join(["```console", *commands, "```"])


def titled(cells: Cells) -> tuple[str, str]:
    """A table with its title before it, in Markdown."""
    return f"{capitalized(cells.title)}:", markdown_table(cells)


def joined(*paragraphs: str) -> str:
    """Markdown paragraphs as one text that ends with a line feed."""
    return "\n\n".join(paragraphs) + "\n"
