"""Retrieval measures, by ir_measures (MacAvaney et al. 2022), named as people write them."""

from collections.abc import Mapping

from trimseek.errors import MissingExtraError

# our name -> ir_measures' name
MEASURES = {"nDCG@10": "nDCG@10", "recall@10": "R@10", "recall@100": "R@100", "MRR@10": "RR@10"}
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
    measures = {ours: ir_measures.parse_measure(theirs) for ours, theirs in MEASURES.items()}
    values = ir_measures.calc_aggregate(measures.values(), qrels, run)
    return {ours: float(values[theirs]) for ours, theirs in measures.items()}
