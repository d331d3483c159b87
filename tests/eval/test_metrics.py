import math
import random
from collections.abc import Mapping

import pytest

from eval.metrics import measure

Grades = Mapping[str, Mapping[str, int]]
Scores = Mapping[str, Mapping[str, float]]


def by_hand(qrels: Grades, run: Scores) -> dict[str, float]:
    """The definitions, written out: Jarvelin & Kekalainen 2002 for nDCG with linear gain."""
    sums = dict.fromkeys(("nDCG@10", "recall@10", "recall@100", "MRR@10"), 0.0)
    for query, grades in qrels.items():
        scores = run.get(query, {})
        ranked = sorted(scores, key=lambda d: (scores[d], d), reverse=True)
        gains = [max(0, grades.get(document, 0)) for document in ranked[:10]]
        ideal = sorted(grades.values(), reverse=True)[:10]
        best = sum(gain / math.log2(i + 2) for i, gain in enumerate(ideal))
        relevant = {document for document, grade in grades.items() if grade > 0}
        sums["nDCG@10"] += sum(g / math.log2(i + 2) for i, g in enumerate(gains)) / best
        sums["recall@10"] += len(relevant & set(ranked[:10])) / len(relevant)
        sums["recall@100"] += len(relevant & set(ranked[:100])) / len(relevant)
        ranks = [i + 1 for i, document in enumerate(ranked[:10]) if document in relevant]
        sums["MRR@10"] += 1 / ranks[0] if ranks else 0
    return {name: value / len(qrels) for name, value in sums.items()}


def test_a_case_small_enough_for_paper() -> None:
    qrels = {"q1": {"a": 1, "b": 1}, "q2": {"c": 1}}
    run = {"q1": {"x": 3.0, "a": 2.0, "y": 1.0}, "q2": {"z": 1.0}}
    ndcg = (1 / math.log2(3)) / (1 + 1 / math.log2(3)) / 2
    expected = {"nDCG@10": ndcg, "recall@10": 0.25, "recall@100": 0.25, "MRR@10": 0.25}
    assert measure(qrels, run) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(10))
def test_random_cases_equal_the_definitions(seed: int) -> None:
    chosen = random.Random(seed)
    documents = [f"d{i}" for i in range(300)]
    qrels = {
        f"q{i}": {d: chosen.randint(1, 3) for d in chosen.sample(documents, chosen.randint(1, 30))}
        for i in range(20)
    }
    run = {
        query: {d: chosen.randint(0, 40) / 4 for d in chosen.sample(documents, 150)}  # with ties
        for query in list(qrels)[1:]  # the first query has no hits at all
    }
    assert measure(qrels, run) == pytest.approx(by_hand(qrels, run), abs=1e-9)
