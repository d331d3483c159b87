"""report.html: a benchmark's tables and picture in one file, which loads nothing from elsewhere."""

from pathlib import Path
from typing import Any, NamedTuple

from trimseek.errors import MissingExtraError
from trimseek.eval.bench.pareto import COSTS, as_svg, draw
from trimseek.eval.bench.recall import draw_recall
from trimseek.eval.bench.report import (
    Cells,
    caveats,
    collection_tables,
    setting_line,
    summary_cells,
)
from trimseek.eval.bench.results import BenchReport

TEMPLATE = Path(__file__).resolve().parent / "templates" / "report.html"


class Section(NamedTuple):
    """The tables under one heading."""

    name: str
    tables: list[Cells]


def page(report: BenchReport) -> str:
    """The page's HTML, with all texts escaped; MissingExtraError without jinja2."""
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError("the HTML report", "bench") from None
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    figures = (*(draw(report, cost) for cost in COSTS), draw_recall(report))
    sections = [
        Section(collection.name, list(collection_tables(report, collection)))
        for collection in report.collections
    ]
    if len(sections) > 1:
        sections.insert(0, Section("All collections", [summary_cells(report)]))
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        report=report,
        setting=setting_line(report),
        sections=sections,
        caveats=caveats(report),
        pictures=[inline_svg(figure) for figure in figures if figure is not None],
    )


def inline_svg(figure: Any) -> str:
    """A figure's <svg> element, without the XML declaration."""
    svg = as_svg(figure)
    return svg[svg.index("<svg") :]
