"""Retrieval measures, by ir_measures (MacAvaney et al. 2022), named as people write them."""

from collections.abc import Mapping

from trimseek.errors import MissingExtraError

MEASURES = ("nDCG@10", "recall@10", "recall@100", "MRR@10")
DEPTH = 100  # hits that the deepest measure looks at

Run = Mapping[str, Mapping[str, float]]


def measure(qrels: Mapping[str, Mapping[str, int]], run: Run) -> dict[str, float]:
    """Mean of each measure over the judged queries; a query without hits counts 0.

    ``run[query][document]`` is a score. Ties are broken as trec_eval does: by document id,
    descending.
    """
    try:
        import ir_measures
    except ImportError:
        raise MissingExtraError("trimseek bench", "bench") from None
    from ir_measures import RR, R, nDCG

    trec_eval = ir_measures.pytrec_eval
    values = trec_eval.calc_aggregate([nDCG @ 10, R @ 10, R @ 100], qrels, run)
    # trec_eval's reciprocal rank has no cut-off, and another implementation other ties
    values |= trec_eval.calc_aggregate([RR], qrels, cut(run, 10))
    found = (values[nDCG @ 10], values[R @ 10], values[R @ 100], values[RR])
    return {name: float(value) for name, value in zip(MEASURES, found, strict=True)}


def cut(run: Run, depth: int) -> Run:
    """The first ``depth`` hits of each query, ties broken as trec_eval does."""
    return {
        query: dict(sorted(hits.items(), key=lambda hit: (hit[1], hit[0]), reverse=True)[:depth])
        for query, hits in run.items()
    }
