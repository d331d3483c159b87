"""The pictures of a benchmark: quality against what it costs, and the Pareto frontier."""

import io
import itertools
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trimseek.errors import MissingExtraError
from trimseek.eval.bench.results import BenchReport, Row
from trimseek.eval.quality.significance import Interval

COLUMNS = 2  # panels side by side
PANEL = (7.0, 4.6)  # inches
OURS, PEER, FRONTIER = "#0b6e4f", "#8a8f98", "#d1495b"
ROUNDING = 1e-6
MOST_MOVES = 500  # rounds of moving labels apart
LABEL_WIDTH = 0.2  # share of a panel's width, about that of a name
LABEL_GAP = 0.045  # share of a panel's height, between labels


class Cost(NamedTuple):
    """What quality is drawn against: ``of(row)`` in ms, None where it was not measured.

    ``picture``: the name of its file. ``title``, ``axis``: what is written into it.
    """

    picture: str
    title: str
    axis: str
    of: Callable[[Row], float | None]


QUERY = Cost(
    "pareto",
    "Quality against latency, one query at a time, encoding and search",
    "end to end p50",
    lambda row: row.retrieve.end_to_end.p50 if row.retrieve else None,
)
DOCUMENT = Cost(
    "documents",
    "Quality against the time to encode documents in bulk",
    "a document",
    lambda row: 1e3 / row.encode.documents_per_second if row.encode else None,
)
COSTS = (QUERY, DOCUMENT)


class Point(NamedTuple):
    """``latency`` in ms; ``quality``, and its ``interval``, in the unit of the panel's axis."""

    name: str
    latency: float
    quality: float
    peer: bool
    interval: Interval | None = None


class Panel(NamedTuple):
    """One diagram; ``axis`` and ``latency`` are the labels of its axes."""

    title: str
    axis: str
    points: list[Point]
    latency: str = QUERY.axis


def frontier(points: Sequence[Point]) -> list[Point]:
    """The points that no other point beats in both, from the fastest to the best."""
    best: list[Point] = []
    for point in sorted(points, key=lambda point: (point.latency, -point.quality)):
        if not best or point.quality > best[-1].quality:
            best.append(point)
    return best


def panels(report: BenchReport, cost: Cost = QUERY) -> list[Panel]:
    """One for each collection that was timed; with several, one of all comes first."""
    by_collection = []
    for collection in report.collections:
        axis = report.main_measure if collection.judged else "overlap@10"
        rows = report.rows_of(collection.name)
        points = [
            Point(row.name, latency, quality_of(row, report.main_measure), row.peer)
            for row in rows
            if (latency := cost.of(row)) is not None
        ]
        if points:
            by_collection.append(Panel(collection.name, axis, points, cost.axis))
    if len(by_collection) > 1:
        return [combined_panel(report, by_collection), *by_collection]
    return by_collection


def quality_of(row: Row, measure: str) -> float:
    """The measure's mean; where nothing is judged, overlap@10 with the reference."""
    if row.quality:
        return row.quality.measures[measure]
    return row.agreement.overlap


def combined_panel(report: BenchReport, panels: Sequence[Panel]) -> Panel:
    """Mean share of the reference's quality, geometric mean of the latencies.

    Of the encoders that have a point in every panel.
    """
    names = [point.name for point in panels[0].points]
    points = []
    for name in names:
        same_name, shares = [], []
        for panel in panels:
            reference = next(point for point in panel.points if point.name == report.reference)
            for point in panel.points:
                if point.name == name:
                    same_name.append(point)
                    shares.append(point.quality / reference.quality if reference.quality else 1.0)
        if len(same_name) == len(panels):
            latency = statistics.geometric_mean(point.latency for point in same_name)
            points.append(Point(name, latency, 100 * statistics.fmean(shares), same_name[0].peer))
    title = f"all {len(panels)} collections"
    axis = f"% of {report.reference}'s {report.main_measure}"
    return Panel(title, axis, points, panels[0].latency)


def draw(report: BenchReport, cost: Cost = QUERY) -> Any:
    """A matplotlib figure; MissingExtraError without matplotlib, None if nothing was timed."""
    shown = panels(report, cost)
    return draw_panels(shown, cost.title) if shown else None


def draw_panels(shown: Sequence[Panel], title: str) -> Any:
    """A matplotlib figure of panels side by side; MissingExtraError without matplotlib."""
    figure, axes = figure_of(len(shown), title)
    for axis, panel in zip(axes, shown, strict=False):
        draw_panel(axis, panel)
    return figure


def figure_of(count: int, title: str) -> tuple[Any, Any]:
    """A matplotlib figure and the axes of so many panels; MissingExtraError without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        raise MissingExtraError("the picture of a benchmark", "bench") from None
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    columns = min(COLUMNS, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(PANEL[0] * columns, PANEL[1] * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[count:]:
        axis.set_visible(False)
    figure.suptitle(title, x=0.5)
    return figure, axes


def draw_panel(axis: Any, panel: Panel) -> None:
    """Draw one diagram into matplotlib's axes: points, names, the frontier."""
    name_axes(axis, panel.title, panel.latency, panel.axis)
    best = frontier(panel.points)
    axis.plot(
        [point.latency for point in best],
        [point.quality for point in best],
        color=FRONTIER,
        linewidth=1.4,
        drawstyle="steps-post",
        label="frontier",
        zorder=2,
    )
    for peer, colour, label in ((False, OURS, "trimseek"), (True, PEER, "peers")):
        points = [point for point in panel.points if point.peer is peer]
        if points:
            axis.scatter(
                [point.latency for point in points],
                [point.quality for point in points],
                color=colour,
                marker="s" if peer else "o",
                s=36,
                label=label,
                zorder=3,
            )
    for point in panel.points:
        if point.interval is not None:
            ends = [point.interval.low, point.interval.high]
            axis.plot([point.latency] * 2, ends, color=OURS, linewidth=1.0, alpha=0.5, zorder=1)
    set_limits(axis, panel.points)
    label_points(axis, panel.points)
    axis.legend(loc="lower left", fontsize=8, frameon=False, ncols=3)


def name_axes(axis: Any, title: str, latency: str, quality: str) -> None:
    """Title, names, scales and grid of a diagram of something against latency."""
    axis.set_title(title, loc="left", fontsize=11, fontweight="bold")
    axis.set_xscale("log")
    for ticks in (axis.xaxis.set_major_formatter, axis.xaxis.set_minor_formatter):
        ticks(plain_number)
    axis.set_xlabel(f"{latency}, ms (log scale)")
    axis.set_ylabel(quality)
    axis.grid(True, which="both", color="#e6e8eb", linewidth=0.6)
    axis.set_axisbelow(True)


def plain_number(value: float, _position: int) -> str:
    """Ticks at 1, 2 and 5 times a power of ten, as plain numbers; others stay without."""
    leading = f"{value:.0e}"[0]
    return f"{value:g}" if leading in "125" else ""


def set_limits(axis: Any, points: Sequence[Point]) -> None:
    """Leave space for names on the right and for the legend below."""
    latencies = [point.latency for point in points]
    qualities = [point.quality for point in points]
    qualities += [end for point in points if point.interval for end in point.interval]
    spread = max(max(qualities) - min(qualities), 0.02 * max(max(qualities), 1e-9))
    axis.set_xlim(min(latencies) / 1.3, max(latencies) * 3.2)
    axis.set_ylim(min(qualities) - 0.35 * spread, max(qualities) + 0.3 * spread)


def label_points(axis: Any, points: Sequence[Point]) -> None:
    """Write names beside the points, moved apart vertically, with a line to the point."""
    to_axes = axis.transData + axis.transAxes.inverted()
    places = [tuple(to_axes.transform((point.latency, point.quality))) for point in points]
    order = sorted(range(len(points)), key=lambda i: (places[i][1], places[i][0]))
    heights = spread_out([places[i] for i in order])
    for i, height in zip(order, heights, strict=True):
        x, y = places[i]
        axis.annotate(
            points[i].name,
            xy=(x, y),
            xytext=(min(x + 0.035, 0.80), height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            fontsize=7.5,
            color=PEER if points[i].peer else OURS,
            va="center",
            bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
            arrowprops={"arrowstyle": "-", "color": "#b9bec5", "linewidth": 0.6},
            zorder=4,
        )


def spread_out(places: Sequence[tuple[float, float]]) -> list[float]:
    """Heights of labels, moved just as far as keeps labels above one another from overlapping.

    ``places``: x and y of the points, from the lowest up, in shares of the panel.
    """
    heights = [y for _, y in places]
    for _ in range(MOST_MOVES):
        moved = False
        for i, j in itertools.combinations(range(len(places)), 2):
            overlap = LABEL_GAP - (heights[j] - heights[i])
            if overlap > ROUNDING and abs(places[i][0] - places[j][0]) < LABEL_WIDTH:
                heights[i] -= overlap / 2
                heights[j] += overlap / 2
                moved = True
        if not moved:
            break
    low, high = 0.02 - min(heights), 0.98 - max(heights)
    shift = max(low, 0.0) or min(high, 0.0)
    return [height + shift for height in heights]


def write_picture(figure: Any, folder: Path, name: str) -> None:
    """Write a PNG and an SVG of that name; nothing where there is no figure."""
    if figure is not None:
        figure.savefig(folder / f"{name}.png", dpi=130)
        (folder / f"{name}.svg").write_text(as_svg(figure), "utf-8")


def as_svg(figure: Any) -> str:
    """SVG text that is the same for the same figure."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "trimseek", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
