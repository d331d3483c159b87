"""Compare two benchmarks: what changed, and whether the change is more than noise.

Quality is compared query by query, by a randomization test. Speed is compared as a multiple of the
run's baseline, so that a slower machine is no change; how much such a multiple varies is estimated
by a bootstrap of the turns.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from trimseek.eval.bench.report import (
    EMPTY_CELL,
    Cells,
    baseline_of,
    document_ratios,
    percent,
    query_ratios,
    trimmed_mean,
)
from trimseek.eval.bench.results import BenchReport, Row
from trimseek.eval.quality.significance import SEED, Interval, loss, randomization_test

SIGNIFICANT = 0.05
SMALLEST_CHANGE = 0.05  # of a speed: a smaller one is never called real, however certain
SAMPLES = 2000
RowKey = tuple[str, str, str, str]


@dataclass(frozen=True)
class Change:
    """A value of one row in both reports. ``kind``: a measure, "query speed", "document speed".

    ``change``: relative, positive where the second is better; ``real``: more than noise.
    ``certainty``: the p-value, or the change's 95 % interval.
    """

    collection: str
    encoder: str
    kind: str
    before: float
    after: float
    change: float
    certainty: str
    real: bool


def compare_reports(before: BenchReport, after: BenchReport) -> Iterator[Change]:
    """Changes of the rows that both have."""
    before_rows = {row_key(row): row for row in before.rows}
    for row in after.rows:
        if (old := before_rows.get(row_key(row))) is not None:
            yield from quality_change(before, after, old, row)
            yield from speed_changes(before, after, old, row)


def unmatched(before: BenchReport, after: BenchReport) -> list[str]:
    """A line for each row that only one of the two has."""
    first, second = ({row_key(row): row for row in report.rows} for report in (before, after))
    return [f"only in the first: {at[0]}, {first[at].name}" for at in first if at not in second] + [
        f"only in the second: {at[0]}, {second[at].name}" for at in second if at not in first
    ]


def row_key(row: Row) -> RowKey:
    """Collection, both encoders and index."""
    return row.collection, row.encoder, row.query_encoder, row.index


def quality_change(before: BenchReport, after: BenchReport, old: Row, new: Row) -> Iterator[Change]:
    """The change of the main measure; none unless both measured it on the same queries."""
    if not old.quality or not new.quality or before.main_measure != after.main_measure:
        return
    ids = [
        next(
            collection.query_ids
            for collection in report.collections
            if collection.name == row.collection
        )
        for report, row in ((before, old), (after, new))
    ]
    if sorted(ids[0]) != sorted(ids[1]):
        return
    position = {id_: i for i, id_ in enumerate(ids[1])}
    new_values = np.array(new.quality.per_query)[[position[id_] for id_ in ids[0]]]
    old_values = np.array(old.quality.per_query)
    p = randomization_test(old_values, new_values)
    yield Change(
        collection=new.collection,
        encoder=new.name,
        kind=before.main_measure,
        before=old.quality.measures[before.main_measure],
        after=new.quality.measures[after.main_measure],
        change=-loss(old_values, new_values),
        certainty=f"p = {p:.3f}",
        real=p < SIGNIFICANT,
    )


def speed_changes(before: BenchReport, after: BenchReport, old: Row, new: Row) -> Iterator[Change]:
    """Changes of both speeds; none for the baseline, or where the baselines differ."""
    baselines = [baseline_of(report, report.rows_of(new.collection)) for report in (before, after)]
    if baselines[0].encoders != baselines[1].encoders or new.encoders == baselines[0].encoders:
        return
    for kind, ratios in (("query speed", query_ratios), ("document speed", document_ratios)):
        first, second = ratios(old, baselines[0]), ratios(new, baselines[1])
        if first and second:
            change = trimmed_mean(second) / trimmed_mean(first) - 1
            interval = change_interval(first, second)
            certain = interval.low > 0 or interval.high < 0
            yield Change(
                collection=new.collection,
                encoder=new.name,
                kind=kind,
                before=trimmed_mean(first),
                after=trimmed_mean(second),
                change=change,
                certainty=f"{interval.low:+.0%} to {interval.high:+.0%}",
                real=certain and abs(change) >= SMALLEST_CHANGE,
            )


def change_interval(first: Sequence[float], second: Sequence[float]) -> Interval:
    """95 % interval of the change, from bootstrap samples of both runs' turns."""
    chosen = random.Random(SEED)  # noqa: S311 - samples, not secrets
    changes = [
        trimmed_mean(chosen.choices(second, k=len(second)))
        / trimmed_mean(chosen.choices(first, k=len(first)))
        for _ in range(SAMPLES)
    ]
    low, high = np.quantile(changes, [0.025, 0.975]) - 1
    return Interval(float(low), float(high))


def change_cells(before: str, after: str, changes: Sequence[Change]) -> Cells:
    """A row for each change; ``before`` and ``after`` name the two reports."""
    headings = ("collection", "encoder", "what", "before", "after", "change", "noise", "real")
    return Cells(
        f"{before} -> {after}: speeds are multiples of each run's own baseline",
        headings,
        [
            (
                change.collection,
                change.encoder,
                change.kind,
                f"{change.before:.4g}",
                f"{change.after:.4g}",
                percent(change.change, 1),
                change.certainty,
                "yes" if change.real else EMPTY_CELL,
            )
            for change in changes
        ],
    )
