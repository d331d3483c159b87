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
LEAST_DEPTH = 100  # hits of a run, even if all measures look at fewer
WHOLE_RUN = 1000  # hits that a measure without a cut-off looks at, as with trec_eval's -M 1000
DEEPEST = 10_000
# our name -> trec_eval's, as ir_measures spells it
KINDS = {"ndcg": "nDCG", "recall": "R", "mrr": "RR", "map": "AP", "p": "P"}
SPELLED = {"ndcg": "nDCG", "recall": "recall", "mrr": "MRR", "map": "MAP", "p": "P"}
WRITTEN = re.compile(r"([a-z]+)(?:@([1-9][0-9]*))?", re.IGNORECASE)


class Measure(NamedTuple):
    """``kind``: a key of ``KINDS``; ``cutoff``: how many hits it looks at, None for all."""

    kind: str
    cutoff: int | None

    def __str__(self) -> str:
        at = "" if self.cutoff is None else f"@{self.cutoff}"
        return f"{SPELLED[self.kind]}{at}"

    @property
    def depth(self) -> int:
        """How many hits of a run it looks at."""
        return self.cutoff or WHOLE_RUN


def parse_measure(text: str) -> Measure:
    """``nDCG@10`` and the like, in any case of letters; ConfigError."""
    match = WRITTEN.fullmatch(text.strip())
    kind, cutoff = match.groups() if match else ("", None)
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
        # trec_eval's MRR has no cut-off, and other libraries' MRR breaks ties otherwise
        if measure.kind == "mrr" or measure.cutoff is None:
            metric, hits = ir_measures.parse_measure(name), cut_run(run, measure.depth)
        else:
            metric, hits = ir_measures.parse_measure(f"{name}@{measure.cutoff}"), run
        by_query = values_by_query(trec_eval, metric, qrels, hits)
        values[str(measure)] = dict.fromkeys(qrels, 0.0) | by_query
    return values


def values_by_query(provider: Any, metric: Any, qrels: Grades, run: Run) -> dict[str, float]:
    """What a provider of ir_measures calculates; queries without hits are missing."""
    return {
        result.query_id: float(result.value) for result in provider.iter_calc([metric], qrels, run)
    }


def cut_run(run: Run, depth: int) -> Run:
    """The first ``depth`` hits of each query, ties broken as trec_eval does."""
    return {
        query: dict(sorted(hits.items(), key=lambda hit: (hit[1], hit[0]), reverse=True)[:depth])
        for query, hits in run.items()
    }
