"""A judged collection from texts that nobody judged: find the document that a sentence is from.

The sentence is taken out of its document first, so that it is not found by its own words (the
inverse cloze task, Lee et al. 2019; known-item search, Azzopardi et al. 2007).
"""

import random
from collections.abc import Sequence

from encoders.unlabelled import sentences
from eval.collection import TestCollection
from trimseek.errors import CorpusError

MOST_DOCUMENTS = 2000
MOST_QUERIES = 1000
FEWEST_QUERIES = 50
LEAST_WORDS, MOST_WORDS = 4, 24
SEED = 11


def known_items(texts: Sequence[str], name: str) -> TestCollection:
    """At most 2,000 documents, and a sentence of each of at most 1,000; CorpusError if too few.

    A text of one sentence gives half of its words instead, and keeps them.
    """
    chosen = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    texts = list(dict.fromkeys(texts))
    some = chosen.sample(texts, min(MOST_DOCUMENTS, len(texts)))
    documents: dict[str, str] = {}
    queries: dict[str, str] = {}
    for number, text in enumerate(some):
        documents[f"d{number}"] = text
        found = [each for each in sentences(text) if len(each.split()) >= LEAST_WORDS]
        if len(queries) == MOST_QUERIES or not found:
            continue
        sentence = chosen.choice(found)
        words = sentence.split()
        if len(found) > 1:
            documents[f"d{number}"] = text.replace(sentence, " ", 1)
            queries[f"q{number}"] = " ".join(words[:MOST_WORDS])
        else:
            queries[f"q{number}"] = " ".join(words[: max(LEAST_WORDS, len(words) // 2)])
    if len(queries) < FEWEST_QUERIES:
        raise CorpusError(
            f"{name}: {len(queries)} texts with a sentence of {LEAST_WORDS} words or more are too "
            f"few to measure a loss on; give at least {FEWEST_QUERIES} (500 are good)"
        )
    qrels = {query: {f"d{query[1:]}": 1} for query in queries}
    return TestCollection(name, documents, queries, qrels)
