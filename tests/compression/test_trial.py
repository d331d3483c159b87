"""One half chooses, the other confirms: what is in both, and what is in neither."""

import pytest

from tests.compression.test_search import documents
from trimseek.compression.trial import MOST_DOCUMENTS, judged_trial, unlabelled_trial
from trimseek.errors import CorpusError
from trimseek.eval.quality.collection import TestCollection


def test_texts_are_in_one_half() -> None:
    texts = documents(160)
    trial = unlabelled_trial([*texts, *texts[:7], " "], "mine")
    halves = trial.choosing, trial.confirming
    first, second = (list(half.documents.values()) for half in halves)
    assert sorted(first + second) == sorted(texts)
    assert len(first) == len(second) == 80
    assert trial.outside_confirming(texts) == [text for text in texts if text in set(first)]
    for half, own in zip(halves, (first, second), strict=True):
        words = {word for text in own for word in text.split()}
        made = [query for query in half.made.values() if query[0].isupper()]
        assert len(made) > 100
        assert sum(set(query.split()) <= words for query in made) > 0.8 * len(made)
    assert unlabelled_trial(texts, "mine") == unlabelled_trial(texts, "mine")


def test_a_large_corpus_is_sampled() -> None:
    texts = [f"Text number {i} is short. It has number {i} twice." for i in range(5_000)]
    trial = unlabelled_trial(texts, "mine")
    assert trial.documents == 2 * MOST_DOCUMENTS
    assert len(trial.outside_confirming(texts)) == 5_000 - MOST_DOCUMENTS
    assert len(trial.choosing.made) > 2_500


def test_too_few_texts() -> None:
    few = documents(100)
    assert unlabelled_trial(few, "mine").outside_confirming(few) == few
    with pytest.raises(CorpusError, match="mine: 40 different texts are too few"):
        unlabelled_trial([*documents(40), *documents(40)], "mine")


def test_judged_queries_go_with_their_documents() -> None:
    texts = {f"d{i}": text for i, text in enumerate(documents(200))}
    queries = {f"q{i}": f"query {i}" for i in range(31)}
    qrels = {f"q{i}": {f"d{i}": 1, f"d{i + 1}": 1, "gone": 2, "d199": 0} for i in range(31)}
    trial = judged_trial(TestCollection("judged", texts, queries, qrels))
    assert sorted(trial.judged_queries()) == sorted(queries.values())
    assert len(trial.choosing.queries) == 16
    assert set(trial.choosing.documents) | set(trial.confirming.documents) == set(texts)
    for half in (trial.choosing, trial.confirming):
        assert half.qrels == {query: qrels[query] for query in half.queries}
        needed = {d for grades in half.qrels.values() for d, grade in grades.items() if grade}
        assert needed - {"gone"} <= set(half.documents)
        assert half.asked() == list(half.queries.values())
        assert 80 < len(half.documents) < 125
    shared = set(trial.choosing.documents) & set(trial.confirming.documents)
    relevant = {d for grades in qrels.values() for d, grade in grades.items() if grade}
    assert shared <= relevant
    apart = set(trial.confirming.documents) - shared
    assert not set(trial.outside_confirming(list(texts.values()))) & {texts[d] for d in apart}
