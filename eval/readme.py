"""Write what was measured into the README, between its markers, from eval/results.

python -m eval.readme
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from eval.encode_profile import profile_cells
from eval.encoding import (
    EncodingResults,
    concurrency_cells,
    growth_after_first_minute,
    growth_cells,
    read_encoding,
)
from eval.modes import ModeQuality, modes_cells, read_modes
from eval.over_http import HttpResults, http_cells, read_http
from eval.report import (
    NOTHING,
    Cells,
    baseline_of,
    capitalized,
    caveats,
    document_ratio,
    machine_words,
    markdown_table,
    number,
    query_ratio,
    setting,
    summary_cells,
    times,
)
from eval.results import BenchReport, Row, from_json
from eval.scale import Scaling, read_scaling, scaling_cells
from eval.shrinking import Shrinking, read_shrinking, shrinking_cells
from eval.startup import Startup
from indexer.corpus import SAMPLE

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
RESULTS = ROOT / "eval" / "results" / "results.json"
STARTUP = ROOT / "eval" / "results" / "startup.json"
ALIGNED_QUALITY = ROOT / "eval" / "results" / "aligned-quality.json"
ALIGNED_SPEED = ROOT / "eval" / "results" / "aligned-speed.json"


ByCollection = Callable[[Row, Row], str]  # of a row and its collection's baseline


def with_results(text: str) -> str:
    """A README's text with the numbers as the results have them."""
    text = between(text, "measured", measured(from_json(RESULTS)))
    text = between(text, "aligned", aligned(from_json(ALIGNED_QUALITY), from_json(ALIGNED_SPEED)))
    shrinking, modes = read_shrinking(), read_modes()
    text = between(text, "shrinking", commanded("shrinking", shrinking, shrinking_cells(shrinking)))
    text = between(text, "modes", commanded("modes", modes, modes_cells(modes)))
    text = between(text, "scale", scaled(read_scaling()))
    text = between(text, "encoding", encoding(read_encoding()))
    text = between(text, "http", over_http(read_http()))
    return between(text, "startup", startup_sentence(read_startup()))


def between(text: str, marker: str, content: str) -> str:
    marked = re.compile(rf"(<!-- {marker} -->\n).*?(<!-- /{marker} -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}{content}{found[2]}", text)


def measured(report: BenchReport) -> str:
    """The summary, the picture, and a table for each thing that differs between collections."""
    parts = [
        f"```console\n{report.command}\n```",
        *titled(summary_cells(report)),
        "![Quality against latency](eval/results/pareto.svg)",
        *(part for cells in by_collection(report) for part in titled(cells)),
        "\n".join(f"- {line}" for line in caveats(report)),
        f"Measured on {setting(report)}.",
    ]
    return "\n\n".join(parts) + "\n"


def titled(cells: Cells) -> tuple[str, str]:
    return f"{capitalized(cells.title)}:", markdown_table(cells)


def commanded(module: str, found: Sequence[Shrinking] | Sequence[ModeQuality], cells: Cells) -> str:
    """A table, and the command that measured it."""
    names = dict.fromkeys(each.collection for each in found)
    folders = " ".join(name if name == SAMPLE else f"../shared/data/{name}" for name in names)
    command = f"python -m eval.{module} {folders}"
    return "\n\n".join([f"```console\n{command}\n```", *titled(cells)]) + "\n"


def scaled(found: Scaling) -> str:
    """How indexes grow, the command, and what indexing adds to encoding."""
    cost = found.ingest
    parts = [
        "```console\npython -m eval.scale ../shared/text/sentences-300k.jsonl.gz "
        "../shared/text/questions.jsonl.gz > eval/results/scale.json\n```",
        *(part for cells in scaling_cells(found) for part in titled(cells)),
        f"Indexing {cost.documents:,} of the texts with {cost.encoder} takes "
        f"{cost.index_seconds:.1f} s, of which encoding is {cost.encode_seconds:.1f} s: storing "
        f"adds {cost.index_seconds / cost.encode_seconds - 1:.1%}.",
        f"Measured on {machine_words(found.machine)}; {found.date}.",
    ]
    return "\n\n".join(parts) + "\n"


def encoding(found: EncodingResults) -> str:
    """Where encoding's time goes, and how it grows."""
    more = growth_after_first_minute(found.memory)
    last = found.memory[-1]
    parts = [
        "```console\npython -m eval.encoding ../shared/text/questions.jsonl.gz "
        "> eval/results/encoding.json\n```",
        *titled(profile_cells(found.profiles)),
        *titled(growth_cells(found.growth)),
        "![Time against length; memory against time](eval/results/encoding.svg)",
        *titled(concurrency_cells(found.concurrency)),
        f"{found.memory_encoder} encoded {last.texts:,} short texts in {last.seconds / 60:.1f} "
        f"minutes; after the first minute the process grew by {more:.1f} MB to at most "
        f"{max(each.megabytes for each in found.memory):.0f} MB.",
        f"Measured on {machine_words(found.machine)}; {found.date}.",
    ]
    return "\n\n".join(parts) + "\n"


def over_http(found: HttpResults) -> str:
    parts = [
        "```console\npython -m eval.over_http INDEX ../shared/text/questions.jsonl.gz "
        "> eval/results/http.json\n```",
        *titled(http_cells(found)),
        f"Measured on {machine_words(found.machine)}; {found.date}. The load generator ran on the "
        "same CPUs.",
    ]
    return "\n\n".join(parts) + "\n"


def aligned(quality: BenchReport, speed: BenchReport) -> str:
    """What small query encoders find on every collection, and how fast they are beside peers."""
    parts = [
        f"```console\n{quality.command}\n{speed.command}\n```",
        *titled(table_by_collection(quality, f"{quality.main_measure}", main_value(quality))),
        *titled(table_by_collection(quality, f"what is kept of {quality.reference}'s", kept)),
        *titled(table_by_collection(speed, "one query, encoding p50 in ms", query_p50)),
        *titled(table_by_collection(speed, multiple_of(speed), query_multiple)),
        *titled(table_by_collection(speed, "documents a second", documents_per_second)),
        *titled(table_by_collection(speed, documents_multiple_of(speed), document_multiple)),
        f"Quality measured on {setting(quality)}.",
        f"Speed measured on {setting(speed)}.",
    ]
    return "\n\n".join(parts) + "\n"


def by_collection(report: BenchReport) -> list[Cells]:
    """One row for each encoder, one column for each collection."""
    limit = report.machine.rates
    shown: dict[str, ByCollection] = {
        report.main_measure: main_value(report),
        "one query, encoding p50 in ms": query_p50,
        multiple_of(report): query_multiple,
        "documents a second": documents_per_second,
        documents_multiple_of(report): document_multiple,
    }
    if limit:
        name = (
            f"documents, share of this machine's matrix products ({limit.int8:.0f} int8, "
            f"{limit.float32:.0f} float32 * 10^9 multiply-accumulates a second)"
        )
        shown[name] = lambda row, _: f"{row.encode.document_share:.0%}" if row.encode else NOTHING
    return [table_by_collection(report, title, cell) for title, cell in shown.items()]


def table_by_collection(report: BenchReport, title: str, cell: ByCollection) -> Cells:
    rows = []
    for name in dict.fromkeys(row.name for row in report.rows):
        cells = [name]
        for collection in report.collections:
            own = report.rows_of(collection.name)
            row = next((each for each in own if each.name == name), None)
            cells.append(cell(row, baseline_of(report, own)) if row else NOTHING)
        rows.append(cells)
    return Cells(title, ["encoder", *(each.name for each in report.collections)], rows)


def main_value(report: BenchReport) -> ByCollection:
    return lambda row, _: (
        f"{row.quality.measures[report.main_measure]:.4f}" if row.quality else NOTHING
    )


def kept(row: Row, _baseline: Row) -> str:
    comparison = row.quality and row.quality.comparison
    return f"{1 - comparison.loss:.1%}" if comparison else NOTHING


def query_p50(row: Row, _baseline: Row) -> str:
    return number(row.encode and row.encode.query.p50, 2)


def query_multiple(row: Row, baseline: Row) -> str:
    return times(query_ratio(row, baseline))


def multiple_of(report: BenchReport) -> str:
    return f"one query, multiple of {baseline_of(report, report.rows).encoders}'s speed"


def documents_per_second(row: Row, _baseline: Row) -> str:
    return number(row.encode and row.encode.documents_per_second, 0)


def document_multiple(row: Row, baseline: Row) -> str:
    return times(document_ratio(row, baseline))


def documents_multiple_of(report: BenchReport) -> str:
    return f"documents, multiple of {baseline_of(report, report.rows).encoders}'s speed"


def read_startup() -> Startup:
    return Startup(**json.loads(STARTUP.read_text("utf-8")))


def startup_sentence(found: Startup) -> str:
    return (
        f"`trimseek serve` on an index of {found.documents:,} documents is ready "
        f"{found.ready_seconds:.1f} s after its start and holds {found.resident_mb:.0f} MB; "
        f"`trimseek --help` takes {found.help_seconds:.2f} s (`python -m eval.startup INDEX`).\n"
    )


if __name__ == "__main__":
    README.write_text(with_results(README.read_text("utf-8")), "utf-8")
