"""report.html: the tables and the picture of a benchmark in one file that needs nothing else."""

from pathlib import Path
from typing import Any, NamedTuple

from eval.pareto import as_svg, draw
from eval.report import Cells, caveats, collection_tables, setting, summary_cells
from eval.results import BenchReport
from trimseek.errors import MissingExtraError

TEMPLATE = Path(__file__).parent / "templates" / "report.html"


class Section(NamedTuple):
    name: str
    tables: list[Cells]


def page(report: BenchReport) -> str:
    """The page's HTML; what comes from outside (names, versions) is escaped."""
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError("the HTML report", "bench") from None
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    figure = draw(report)
    sections = [
        Section(collection.name, list(collection_tables(report, collection)))
        for collection in report.collections
    ]
    if len(sections) > 1:
        sections.insert(0, Section("All collections", [summary_cells(report)]))
    return environment.from_string(TEMPLATE.read_text("utf-8")).render(
        report=report,
        setting=setting(report),
        sections=sections,
        caveats=caveats(report),
        picture=inline_svg(figure) if figure else "",
    )


def inline_svg(figure: Any) -> str:
    """The element without the XML declaration before it."""
    svg = as_svg(figure)
    return svg[svg.index("<svg") :]
