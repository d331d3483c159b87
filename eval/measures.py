"""Retrieval measures, by pytrec_eval through ir_measures (MacAvaney et al. 2022).

Named as people write them: nDCG@10, recall@100, MRR@10, MAP@100, P@5; MAP without a cut-off looks
at the whole run. Gains are linear, as trec_eval's are, and a grade of 0 or less is not relevant.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trimseek.errors import ConfigError, MissingExtraError

Grades = Mapping[str, Mapping[str, int]]
Run = Mapping[str, Mapping[str, float]]

DEFAULT_MEASURES = ("nDCG@10", "recall@10", "recall@100", "MRR@10", "MAP@100")
LEAST_DEPTH = 100
WHOLE_RUN = 1000  # hits that a measure without a cut-off looks at, as trec_eval's -M does
DEEPEST = 10_000
# our name -> trec_eval's, as ir_measures spells it
KINDS = {"ndcg": "nDCG", "recall": "R", "mrr": "RR", "map": "AP", "p": "P"}
SPELLED = {"ndcg": "nDCG", "recall": "recall", "mrr": "MRR", "map": "MAP", "p": "P"}
WRITTEN = re.compile(r"([a-z]+)(?:@([1-9][0-9]*))?", re.IGNORECASE)


class Measure(NamedTuple):
    """``cutoff`` is how many hits it looks at; None is all of them."""

    kind: str
    cutoff: int | None

    def __str__(self) -> str:
        at = "" if self.cutoff is None else f"@{self.cutoff}"
        return f"{SPELLED[self.kind]}{at}"

    @property
    def depth(self) -> int:
        return self.cutoff or WHOLE_RUN


def parse_measure(text: str) -> Measure:
    """``nDCG@10`` and the like, in any case of letters; ConfigError."""
    found = WRITTEN.fullmatch(text.strip())
    kind, cutoff = found.groups() if found else ("", None)
    if kind.lower() not in KINDS or (cutoff is None and kind.lower() != "map"):
        raise ConfigError(
            f"unknown measure {text!r}; use nDCG@k, recall@k, MRR@k, MAP@k, MAP or P@k"
        )
    if cutoff is not None and int(cutoff) > DEEPEST:
        raise ConfigError(f"{text}: the deepest cut-off is {DEEPEST:,}")
    return Measure(kind.lower(), int(cutoff) if cutoff else None)


def depth_of(measures: Sequence[Measure]) -> int:
    """How many hits a run must have for these measures."""
    return max(LEAST_DEPTH, *(measure.depth for measure in measures))


def measure_run(
    qrels: Grades, run: Run, measures: Sequence[Measure]
) -> dict[str, dict[str, float]]:
    """``[measure][query]``: each measure's value for every judged query.

    ``run[query][document]`` is a score. A query without hits, and one without a relevant
    document, counts 0. Ties are broken as trec_eval does: by document id, descending.
    """
    try:
        import ir_measures
    except ImportError:
        raise MissingExtraError("trimseek bench", "bench") from None
    trec_eval = ir_measures.pytrec_eval
    values: dict[str, dict[str, float]] = {}
    for measure in measures:
        name = KINDS[measure.kind]
        # trec_eval's MRR has no cut-off, and others' break ties otherwise
        if measure.kind == "mrr" or measure.cutoff is None:
            wanted, looked_at = ir_measures.parse_measure(name), cut(run, measure.depth)
        else:
            wanted, looked_at = ir_measures.parse_measure(f"{name}@{measure.cutoff}"), run
        values[str(measure)] = dict.fromkeys(qrels, 0.0) | found(
            trec_eval, wanted, qrels, looked_at
        )
    return values


def found(provider: Any, wanted: Any, qrels: Grades, run: Run) -> dict[str, float]:
    return {
        metric.query_id: float(metric.value) for metric in provider.iter_calc([wanted], qrels, run)
    }


def cut(run: Run, depth: int) -> Run:
    """The first ``depth`` hits of each query, ties broken as trec_eval does."""
    return {
        query: dict(sorted(hits.items(), key=lambda hit: (hit[1], hit[0]), reverse=True)[:depth])
        for query, hits in run.items()
    }
