"""Judgements from text alone: what float32 and BM25 agree on, and what a loss on it means."""

import numpy as np
import pytest

from trimseek.compression.estimate import NOTHING, Estimate
from trimseek.compression.pseudo_judgments import agreed, judged_loss, made_queries

DOCUMENTS = {
    "cats": "A cat sleeps on the warm roof.",
    "dogs": "A dog barks at the moon tonight.",
    "tea": "Green tea is drunk hot in winter.",
    "bread": "Rye bread is baked in an oven.",
    "rain": "Rain falls on the old roof.",
    "snow": "Snow lies on the hills in winter.",
}


def test_relevant_is_what_both_find() -> None:
    queries = {"a": "roof", "b": "winter tea", "c": "bicycle", "d": "oven"}
    first = np.array([[0, 1, 2, 3, -1], [2, 5, 0, 1, 3], [0, 1, 2, 3, 4], [0, 1, 2, 4, 5]])
    assert agreed(queries, DOCUMENTS, first) == {"a": {"cats": 1}, "b": {"tea": 1, "snow": 1}}


def test_queries_are_made_of_the_texts() -> None:
    made = made_queries(list(DOCUMENTS.values()))
    assert made == made_queries(list(DOCUMENTS.values()))
    assert len(set(made.values())) == len(made) > 20
    words = {word.strip(".").lower() for text in DOCUMENTS.values() for word in text.split()}
    known = [query for query in made.values() if set(query.lower().strip(".").split()) <= words]
    assert len(known) > 0.7 * len(made)  # the others are misspelt


def test_an_agreements_loss_is_more_than_the_judged_one() -> None:
    small, large = judged_loss(Estimate(0.01, 0.002)), judged_loss(Estimate(0.1, 0.004))
    assert 0.001 < small.loss < 0.004
    assert 0.04 < large.loss < 0.08
    assert judged_loss(Estimate(-0.1, 0.004)).loss == -large.loss
    assert large.deviation > 0.05 * large.loss
    assert judged_loss(Estimate(0.1, 0.05)).deviation > 2 * large.deviation
    assert judged_loss(Estimate(0.0, 0.0)).deviation == pytest.approx(0.0005)
    assert judged_loss(NOTHING) == NOTHING
