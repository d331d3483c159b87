"""A benchmark's folder: results.json, report.md, report.html, pictures, run files."""

from pathlib import Path

from trimseek.atomic import make_folder, write_text
from trimseek.eval.bench.page import page
from trimseek.eval.bench.pareto import COSTS, draw, write_picture
from trimseek.eval.bench.recall import draw_recall
from trimseek.eval.bench.report import markdown
from trimseek.eval.bench.results import BenchReport, write_results

RESULTS = "results.json"
RUNS = "runs"
UNFINISHED = "unfinished.json"  # of a run that was interrupted; the same command goes on


def write_report(report: BenchReport, folder: Path) -> None:
    """Write every file of the report; existing ones are replaced."""
    make_folder(folder)
    write_results(report, folder / RESULTS)
    write_text(folder / "report.md", markdown(report))
    write_text(folder / "report.html", page(report))
    for cost in COSTS:
        write_picture(draw(report, cost), folder, cost.picture)
    write_picture(draw_recall(report), folder, "recall")
    (folder / UNFINISHED).unlink(missing_ok=True)
