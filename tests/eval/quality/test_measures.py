import math
import random
from collections.abc import Mapping

import ir_measures
import pytest
import pytrec_eval

from trimseek.errors import ConfigError
from trimseek.eval.quality.measures import Measure, depth_of, measure_run, parse_measure

Grades = Mapping[str, Mapping[str, int]]
Scores = Mapping[str, Mapping[str, float]]
NAMES = ("nDCG@10", "recall@10", "recall@100", "MRR@10", "MAP@20", "MAP", "P@5")
MEASURES = [parse_measure(name) for name in NAMES]


def means(qrels: Grades, run: Scores) -> dict[str, float]:
    measured = measure_run(qrels, run, MEASURES)
    for values in measured.values():
        assert values.keys() == qrels.keys()
    return {name: sum(values.values()) / len(values) for name, values in measured.items()}


def by_hand(qrels: Grades, run: Scores) -> dict[str, float]:
    """The definitions, written out: Jarvelin & Kekalainen 2002 for nDCG with linear gain."""
    sums = dict.fromkeys(NAMES, 0.0)
    for query, grades in qrels.items():
        scores = run.get(query, {})
        ranked = sorted(scores, key=lambda d: (scores[d], d), reverse=True)
        gains = [max(0, grades.get(document, 0)) for document in ranked[:10]]
        ideal = sorted((max(0, grade) for grade in grades.values()), reverse=True)[:10]
        best = sum(gain / math.log2(i + 2) for i, gain in enumerate(ideal))
        relevant = {document for document, grade in grades.items() if grade > 0}
        if not relevant:
            continue
        sums["nDCG@10"] += sum(g / math.log2(i + 2) for i, g in enumerate(gains)) / best
        sums["recall@10"] += len(relevant & set(ranked[:10])) / len(relevant)
        sums["recall@100"] += len(relevant & set(ranked[:100])) / len(relevant)
        sums["P@5"] += len(relevant & set(ranked[:5])) / 5
        ranks = [i + 1 for i, document in enumerate(ranked) if document in relevant]
        sums["MRR@10"] += 1 / ranks[0] if ranks and ranks[0] <= 10 else 0
        for name, depth in (("MAP@20", 20), ("MAP", len(ranked))):
            precisions = [n / rank for n, rank in enumerate(ranks, 1) if rank <= depth]
            sums[name] += sum(precisions) / len(relevant)
    return {name: value / len(qrels) for name, value in sums.items()}


def random_case(seed: int, *, ties: bool) -> tuple[Grades, Scores]:
    chosen = random.Random(seed)
    documents = [f"d{i}" for i in range(300)]
    qrels = {
        f"q{i}": {d: chosen.randint(-1, 3) for d in chosen.sample(documents, chosen.randint(2, 30))}
        | {"d1": 1}
        for i in range(20)
    }
    run = {
        query: {
            d: chosen.randint(0, 40) / 4 if ties else chosen.random()
            for d in chosen.sample(documents, 150)
        }
        for query in list(qrels)[1:]  # the first query has no hits at all
    }
    return qrels, run


def test_a_case_small_enough_for_paper() -> None:
    qrels = {"q1": {"a": 1, "b": 1}, "q2": {"c": 1}}
    run = {"q1": {"x": 3.0, "a": 2.0, "y": 1.0}, "q2": {"z": 1.0}}
    measured = means(qrels, run)
    assert measured["nDCG@10"] == pytest.approx((1 / math.log2(3)) / (1 + 1 / math.log2(3)) / 2)
    assert measured["recall@10"] == measured["MRR@10"] == pytest.approx(0.25)
    assert measured["MAP"] == pytest.approx(0.5 * 0.5 / 2)
    assert measured["P@5"] == pytest.approx(0.1)


@pytest.mark.parametrize("seed", range(10))
def test_random_cases_equal_the_definitions(seed: int) -> None:
    qrels, run = random_case(seed, ties=True)
    assert means(qrels, run) == pytest.approx(by_hand(qrels, run), abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_each_query_equals_pytrec_eval(seed: int) -> None:
    qrels, run = random_case(seed, ties=True)
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100", "map_cut.20"})
    theirs = evaluator.evaluate(run)
    ours = measure_run(qrels, run, [parse_measure(n) for n in ("nDCG@10", "recall@100", "MAP@20")])
    for query in run:
        for name, field in (
            ("nDCG@10", "ndcg_cut_10"),
            ("recall@100", "recall_100"),
            ("MAP@20", "map_cut_20"),
        ):
            assert ours[name][query] == pytest.approx(theirs[query][field], abs=1e-9)


def test_a_second_library_agrees() -> None:
    """torchmetrics, which knows no relevant document but those with a score."""
    import torch  # here: torchmetrics takes seconds to import
    from torchmetrics import retrieval

    chosen = random.Random(3)
    qrels, run = random_case(3, ties=False)
    run = {
        query: dict(run.get(query, {})) | {document: chosen.random() for document in grades}
        for query, grades in qrels.items()
    }
    rows = [
        (score, max(0, qrels[query].get(document, 0)), number)
        for number, (query, hits) in enumerate(run.items())
        for document, score in hits.items()
    ]
    scores, grades, queries = map(torch.tensor, zip(*rows, strict=True))
    ours = means(qrels, run)
    for name, metric in (
        ("nDCG@10", retrieval.RetrievalNormalizedDCG(top_k=10)),
        ("recall@10", retrieval.RetrievalRecall(top_k=10)),
        ("recall@100", retrieval.RetrievalRecall(top_k=100)),
        ("MRR@10", retrieval.RetrievalMRR(top_k=10)),
        ("P@5", retrieval.RetrievalPrecision(top_k=5)),
        ("MAP", retrieval.RetrievalMAP()),
    ):
        relevance = grades if name == "nDCG@10" else (grades > 0).long()
        theirs = float(metric(scores, relevance, indexes=queries))
        assert ours[name] == pytest.approx(theirs, abs=1e-6), name


def test_ties_are_broken_by_document_id_descending() -> None:
    qrels = {"q": {"a": 1}}
    first = measure_run(qrels, {"q": {"a": 1.0, "b": 1.0}}, [Measure("mrr", 10)])
    assert first["MRR@10"]["q"] == 0.5
    trec_eval = ir_measures.pytrec_eval.calc_aggregate(
        [ir_measures.RR], qrels, {"q": {"a": 1.0, "b": 1.0}}
    )
    assert trec_eval[ir_measures.RR] == 0.5


def test_negative_grades_are_not_relevant_and_take_nothing_away() -> None:
    qrels = {"q": {"good": 2, "bad": -2}}
    measured = measure_run(qrels, {"q": {"bad": 2.0, "good": 1.0}}, MEASURES)
    assert measured["nDCG@10"]["q"] == pytest.approx(1 / math.log2(3))
    assert measured["recall@10"]["q"] == 1
    assert measured["MAP"]["q"] == 0.5


@pytest.mark.parametrize(
    ("text", "written"), [("ndcg@10", "nDCG@10"), ("MAP", "MAP"), ("Recall@5", "recall@5")]
)
def test_measures_as_people_write_them(text: str, written: str) -> None:
    assert str(parse_measure(text)) == written


@pytest.mark.parametrize(
    "text", ["", "nDCG", "nDCG@0", "F1@10", "recall@-3", "recall@x", "MRR@99999"]
)
def test_measures_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="measure|cut-off"):
        parse_measure(text)


def test_a_run_is_as_deep_as_the_deepest_measure() -> None:
    assert depth_of([Measure("ndcg", 10)]) == 100
    assert depth_of([Measure("recall", 500), Measure("ndcg", 10)]) == 500
    assert depth_of([Measure("map", None)]) == 1000
