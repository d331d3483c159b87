"""A benchmark's folder: results.json, report.md, report.html, pareto.png and .svg, run files."""

from pathlib import Path

from eval.page import page
from eval.pareto import write_pictures
from eval.report import markdown
from eval.results import BenchReport, write_results
from trimseek.atomic import atomic_file, make_folder

RESULTS = "results.json"
RUNS = "runs"
UNFINISHED = "unfinished.json"  # of a run that was interrupted; the same command goes on


def write_report(report: BenchReport, folder: Path) -> None:
    """Write every file of the report; existing ones are replaced."""
    make_folder(folder)
    write_results(report, folder / RESULTS)
    write_text(folder / "report.md", markdown(report))
    write_text(folder / "report.html", page(report))
    write_pictures(report, folder)
    (folder / UNFINISHED).unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, "utf-8")
