"""Short texts made from documents: of all kinds, different, and the same ones every time."""

import random
from collections import Counter

from trimseek.encoders.training.corpus import Document
from trimseek.encoders.training.short_texts import (
    joined_sentences,
    keywords,
    misspelt,
    short_texts,
    word_counts,
)

NAMES = ("granite", "basalt", "marble", "slate", "chalk", "flint", "gneiss", "schist")
DOCUMENTS = [
    Document(
        "science",
        f"On {name}",
        f"The {name} of this valley is old, which nobody had known before {name} was dated. "
        f"We took samples; they were weighed. Then the {name} was melted in a furnace.",
    )
    for name in NAMES
] + [Document("questions", "", f"What is {name} made of?") for name in NAMES]


def test_quotas_and_kinds() -> None:
    found = short_texts(DOCUMENTS, {"science": 60, "questions": 100})
    assert found == short_texts(DOCUMENTS, {"science": 60, "questions": 100})
    science = found["science"]
    assert 40 <= len(science) <= 75  # with copies in lower case and misspelt
    assert len(set(science)) == len(science)
    assert {f"On {name}" for name in NAMES} & set(science)
    assert any(text.endswith("was melted in a furnace.") for text in science)
    questions = {document.text for document in DOCUMENTS if document.domain == "questions"}
    assert questions <= set(found["questions"])


def test_keyword_queries_are_of_the_rarest_words() -> None:
    plain = Document("news", "", "the this was old which nobody had known before")
    counts = word_counts(DOCUMENTS) + word_counts([plain] * 9)
    assert (counts["the"], counts["granite"]) == (17, 2)  # its question names it, too
    chosen = random.Random(0)
    queries = [keywords(DOCUMENTS[0].text, counts, chosen) for _ in range(200)]
    words = Counter(word for query in queries for word in query.lower().split())
    assert "granite" in words
    assert not {"the", "this", "old", "which"} & set(words)  # in most documents
    assert {len(query.split()) for query in queries} == {1, 2, 3, 4, 5}


def test_a_mistake_of_typing() -> None:
    chosen = random.Random(0)
    for _ in range(200):
        wrong = misspelt("a granite bridge", chosen)
        assert abs(len(wrong) - len("a granite bridge")) <= 1
        differing = [a != b for a, b in zip(wrong, "a granite bridge", strict=False)]
        assert sum(differing) <= 2 or len(wrong) != len("a granite bridge")
    assert misspelt("on 17", chosen) == "on 17"  # too few letters


def test_runs_of_sentences() -> None:
    found = joined_sentences(DOCUMENTS, 20, 2, seed=0)
    assert set(found) == {"science"}  # questions have one sentence
    assert len(found["science"]) == 20
    for run in found["science"]:
        assert any(run in document.text for document in DOCUMENTS)
    assert joined_sentences(DOCUMENTS[8:], 5, 4, seed=0) == {}
