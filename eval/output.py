"""A benchmark's folder: results.json, report.md, report.html, pareto.png and .svg, run files.

And files of rows, which a measurement of one collection after another fills.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from eval.page import page
from eval.pareto import write_pictures
from eval.report import markdown
from eval.results import BenchReport, write_results
from trimseek.atomic import atomic_file, make_folder

RESULTS = "results.json"
RUNS = "runs"
UNFINISHED = "unfinished.json"  # of a run that was interrupted; the same command goes on


@dataclass(frozen=True)
class CollectionRow:
    """Something that was measured on a collection."""

    collection: str


Row = TypeVar("Row", bound=CollectionRow)


def write_report(report: BenchReport, folder: Path) -> None:
    """Write every file of the report; existing ones are replaced."""
    make_folder(folder)
    write_results(report, folder / RESULTS)
    write_text(folder / "report.md", markdown(report))
    write_text(folder / "report.html", page(report))
    write_pictures(report, folder)
    (folder / UNFINISHED).unlink(missing_ok=True)


def replace_rows(path: Path, known: Sequence[Row], rows: Sequence[Row]) -> None:
    """Write what was measured on a collection among what is known of others, as JSON."""
    measured = {each.collection for each in rows}
    others = [each for each in known if each.collection not in measured]
    write_text(path, json.dumps([asdict(each) for each in (*others, *rows)], indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    with atomic_file(path) as temporary:
        temporary.write_text(text, "utf-8")
