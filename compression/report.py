"""The candidates as a table and a picture, and the folder of the best one."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from trimseek.atomic import write_text
from trimseek.compression.budget import MEASURE, Measurement
from trimseek.compression.candidates import Compressor, EncoderCandidate
from trimseek.encoders.card import EncoderCard
from trimseek.eval.bench.pareto import Panel, Point, as_svg, draw_panels
from trimseek.eval.bench.report import Cells, markdown_table
from trimseek.eval.quality.significance import Interval

PICTURE_TITLE = "Quality against latency of one query"


def measurement_cells(measurements: Sequence[Measurement], title: str) -> Cells:
    """A row for each encoder that was made."""
    headings = (
        *("recipe", "layers, heads/neurons, arithmetic", "MB", "query ms", "speed", "loss"),
        *("expected", "as judged", "queries", "s"),
    )
    rows = [
        (
            measurement.recipe,
            measurement.shape,
            f"{measurement.graph_bytes / 1e6:.1f}",
            f"{measurement.query_ms:.2f}",
            f"{measurement.speedup:.1f}x",
            f"{measurement.loss:+.2%}",
            in_words(measurement.expected),
            in_words(measurement.interval),
            f"{measurement.queries:,} {'judged' if measurement.judged else 'made'}",
            f"{measurement.seconds:.0f}",
        )
        for measurement in measurements
    ]
    return Cells(title, headings, rows)


def in_words(interval: Interval) -> str:
    """An interval of a loss."""
    return f"{interval.low:+.2%} to {interval.high:+.2%}"


def measurement_panel(measurements: Sequence[Measurement]) -> Panel:
    """Per cent of float32's quality that is kept, with its interval, against ms of one query."""
    points = [
        Point(
            measurement.recipe,
            measurement.query_ms,
            100 * (1 - measurement.loss),
            peer=False,
            interval=kept(measurement.expected),
        )
        for measurement in measurements
    ]
    return Panel("what was tried", f"% of float32's {MEASURE}", points, "encoding p50")


def kept(lost: Interval) -> Interval:
    """Per cent that is kept."""
    return Interval(100 * (1 - lost.high), 100 * (1 - lost.low))


def write_compressed(
    compressor: Compressor, best: EncoderCandidate, confirmed: Measurement, folder: Path
) -> EncoderCard:
    """Write the best encoder, with what was confirmed of it on its card.

    tried.json, tried.md and tried.svg beside it have every candidate, as the half that chooses
    found them.
    """
    card = compressor.write(
        best.shrunk,
        folder,
        {
            "graph_bytes": confirmed.graph_bytes,
            "query_ms": confirmed.query_ms,
            "speedup": confirmed.speedup,
            "loss": confirmed.loss,
            "loss_low": confirmed.interval.low,
            "loss_high": confirmed.interval.high,
            "loss_expected_low": confirmed.expected.low,
            "loss_expected_high": confirmed.expected.high,
            "loss_confidence": compressor.confidence,
            "loss_queries": confirmed.queries,
            "loss_judged": float(confirmed.judged),
            "chosen_loss": best.measurement.loss,
            "chosen_queries": best.measurement.queries,
        },
    )
    tried = [candidate.measurement for candidate in compressor.candidates]
    rows = [asdict(measurement) for measurement in tried]
    write_text(folder / "tried.json", json.dumps(rows, indent=2))
    title = (
        f"{compressor.base.name} for {compressor.budget}; losses on {compressor.trial.name}, the "
        "half that chooses"
    )
    table = markdown_table(measurement_cells(tried, title))
    write_text(folder / "tried.md", f"# {title}\n\n{table}\n\n![](tried.svg)\n")
    picture = draw_panels([measurement_panel(tried)], PICTURE_TITLE)
    write_text(folder / "tried.svg", as_svg(picture))
    return card
