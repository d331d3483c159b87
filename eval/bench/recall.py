"""The picture of approximate indexes: recall against the latency of a search, line beside line."""

from collections.abc import Sequence
from itertools import cycle, pairwise
from typing import Any

from trimseek.eval.bench.pareto import FRONTIER, OURS, figure_of, name_axes
from trimseek.eval.bench.results import BenchReport
from trimseek.eval.quality.graphs import OWN, is_graph, read_kind

TITLE = "Recall@10 against the time of one search, encoding apart"
COLOURS = (FRONTIER, "#2f6db5", "#8a5cc2", "#c98a1b", "#5f6b76", "#3f8f8f")
SHORTEST_LINE = 2  # points: one search of one index makes no picture


def family(index: str) -> str:
    """What the lines are of: an index without the parameters of its searches."""
    if is_graph(index):
        return read_kind(index).name
    return index.partition(":")[0]


def lines(report: BenchReport, collection: str) -> dict[str, list[tuple[float, float]]]:
    """Of each family of at least two timed rows: p50 in ms and overlap@10, by latency.

    Rows whose query vectors are the reference's: what another encoder finds differs by more than
    its index.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for row in report.rows_of(collection):
        if row.retrieve is not None and row.encoders == report.reference and row.index != "exact":
            point = (row.retrieve.search.p50, row.agreement.overlap)
            found.setdefault(family(row.index), []).append(point)
    return {name: sorted(points) for name, points in found.items() if len(points) >= SHORTEST_LINE}


def recall_panels(report: BenchReport) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """The lines of each collection that has some."""
    found = {collection.name: lines(report, collection.name) for collection in report.collections}
    return {name: of_families for name, of_families in found.items() if of_families}


def latency_at(points: Sequence[tuple[float, float]], recall: float) -> float | None:
    """The latency at which a line reaches that recall, between its points; None if it does not.

    That of its first point, if it begins above.
    """
    if points[0][1] >= recall:
        return points[0][0]
    for (before, less), (after, more) in pairwise(points):
        if less < recall <= more:
            return before + (after - before) * (recall - less) / (more - less)
    return None


def draw_recall(report: BenchReport) -> Any:
    """A matplotlib figure; None where no index was searched in several ways. MissingExtraError."""
    shown = recall_panels(report)
    if not shown:
        return None
    figure, axes = figure_of(len(shown), TITLE)
    for axis, (name, of_families) in zip(axes, shown.items(), strict=False):
        name_axes(axis, name, "search p50", "recall@10")
        others = cycle(COLOURS)
        for label, points in of_families.items():
            latencies, recalls = zip(*points, strict=True)
            own = label == OWN
            colour = OURS if own else next(others)
            axis.plot(
                latencies, recalls, color=colour, marker="o" if own else "s", markersize=4,
                linewidth=2.2 if own else 1.2, label=label,
            )  # fmt: skip
        axis.legend(loc="lower right", fontsize=8, frameon=False)
    return figure
