"""Two benchmarks of the same things: what changed, and whether it is more than noise.

Quality is compared query by query (randomization test). Speed is compared as the multiple of
each run's own baseline, so that a slower machine is no change; the turns of each run say how much
such a multiple varies (a bootstrap of the turns).
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from eval.report import (
    NOTHING,
    Cells,
    baseline_of,
    document_ratios,
    middle,
    percent,
    query_ratios,
)
from eval.results import BenchReport, Row
from eval.significance import SEED, Interval, loss, randomization_test

SIGNIFICANT = 0.05
SMALLEST_CHANGE = 0.05  # of a speed: less is not worth a word, however certain
SAMPLES = 2000
Key = tuple[str, str, str, str]


@dataclass(frozen=True)
class Change:
    """One row of both reports. ``kind``: "quality", "query speed" or "document speed".

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


def compare(before: BenchReport, after: BenchReport) -> Iterator[Change]:
    """Changes of the rows that both have."""
    theirs = {key(row): row for row in before.rows}
    for row in after.rows:
        if (old := theirs.get(key(row))) is not None:
            yield from quality_change(before, after, old, row)
            yield from speed_changes(before, after, old, row)


def unmatched(before: BenchReport, after: BenchReport) -> list[str]:
    """Rows that only one of the two has, in words."""
    first, second = ({key(row): row for row in each.rows} for each in (before, after))
    return [f"only in the first: {at[0]}, {first[at].name}" for at in first if at not in second] + [
        f"only in the second: {at[0]}, {second[at].name}" for at in second if at not in first
    ]


def key(row: Row) -> Key:
    return row.collection, row.encoder, row.query_encoder, row.index


def quality_change(before: BenchReport, after: BenchReport, old: Row, new: Row) -> Iterator[Change]:
    if not old.quality or not new.quality or before.main_measure != after.main_measure:
        return
    ids = [
        next(each.query_ids for each in report.collections if each.name == row.collection)
        for report, row in ((before, old), (after, new))
    ]
    if sorted(ids[0]) != sorted(ids[1]):
        return
    position = {id_: i for i, id_ in enumerate(ids[1])}
    ours = np.array(new.quality.per_query)[[position[id_] for id_ in ids[0]]]
    theirs = np.array(old.quality.per_query)
    p = randomization_test(theirs, ours)
    yield Change(
        collection=new.collection,
        encoder=new.name,
        kind=before.main_measure,
        before=old.quality.measures[before.main_measure],
        after=new.quality.measures[after.main_measure],
        change=-loss(theirs, ours),
        certainty=f"p = {p:.3f}",
        real=p < SIGNIFICANT,
    )


def speed_changes(before: BenchReport, after: BenchReport, old: Row, new: Row) -> Iterator[Change]:
    baselines = [baseline_of(report, report.rows_of(new.collection)) for report in (before, after)]
    if baselines[0].encoders != baselines[1].encoders or new.encoders == baselines[0].encoders:
        return
    for kind, ratios in (("query speed", query_ratios), ("document speed", document_ratios)):
        first, second = ratios(old, baselines[0]), ratios(new, baselines[1])
        if first and second:
            change = middle(second) / middle(first) - 1
            interval = change_interval(first, second)
            certain = interval.low > 0 or interval.high < 0
            yield Change(
                collection=new.collection,
                encoder=new.name,
                kind=kind,
                before=middle(first),
                after=middle(second),
                change=change,
                certainty=f"{interval.low:+.0%} to {interval.high:+.0%}",
                real=certain and abs(change) >= SMALLEST_CHANGE,
            )


def change_interval(first: Sequence[float], second: Sequence[float]) -> Interval:
    """95 % interval of the change, from bootstrap samples of both runs' turns."""
    chosen = random.Random(SEED)  # noqa: S311 - samples, not secrets
    changes = [
        middle(chosen.choices(second, k=len(second))) / middle(chosen.choices(first, k=len(first)))
        for _ in range(SAMPLES)
    ]
    low, high = np.quantile(changes, [0.025, 0.975]) - 1
    return Interval(float(low), float(high))


def cells(before: str, after: str, changes: Sequence[Change]) -> Cells:
    headings = ("collection", "encoder", "what", "before", "after", "change", "noise", "real")
    return Cells(
        f"{before} -> {after}: speeds are multiples of each run's own baseline",
        headings,
        [
            (
                each.collection,
                each.encoder,
                each.kind,
                f"{each.before:.4g}",
                f"{each.after:.4g}",
                percent(each.change, 1),
                each.certainty,
                "yes" if each.real else NOTHING,
            )
            for each in changes
        ],
    )
