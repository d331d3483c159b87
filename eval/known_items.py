"""A judged collection from texts that nobody judged: find the document that some words are from.

A sentence is taken out of its document, so that it is not found by its own words (the inverse
cloze task, Lee et al. 2019; known-item search, Azzopardi et al. 2007), and a few words in a row of
it are the query. Whole sentences are too easy to show a loss: an encoder that lost 12.6 % of
nDCG@10 on Cranfield's judged questions lost 4 % on runs of 24 words, 8 to 12 % on 3 to 8 words.
"""

import random
import re
from collections.abc import Sequence

from encoders.unlabelled import sentences
from eval.collection import TestCollection
from trimseek.errors import CorpusError

MOST_DOCUMENTS = 2000
MOST_QUERIES = 1000
FEWEST_QUERIES = 50
LEAST_WORDS = 4  # of a sentence
QUERY_WORDS = (3, 8)
CUT_WORDS = 20  # of what stands for a sentence where a text has no ends of sentences
SEED = 11


def known_items(texts: Sequence[str], name: str) -> TestCollection:
    """At most 2,000 documents, and some words of each of at most 1,000; CorpusError if too few.

    A text of one short sentence keeps it.
    """
    chosen = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    texts = list(dict.fromkeys(texts))
    some = chosen.sample(texts, min(MOST_DOCUMENTS, len(texts)))
    documents: dict[str, str] = {}
    queries: dict[str, str] = {}
    for number, text in enumerate(some):
        documents[f"d{number}"] = text
        found = [each for each in parts(text) if len(each.split()) >= LEAST_WORDS]
        if len(queries) == MOST_QUERIES or not found:
            continue
        part = chosen.choice(found)
        if len(found) > 1:
            documents[f"d{number}"] = text.replace(part, " ", 1)
        words = part.split()
        count = min(len(words), chosen.randint(*QUERY_WORDS))
        start = chosen.randint(0, len(words) - count)
        queries[f"q{number}"] = " ".join(words[start : start + count])
    if len(queries) < FEWEST_QUERIES:
        raise CorpusError(
            f"{name}: {len(queries)} texts with a sentence of {LEAST_WORDS} words or more are too "
            f"few to measure a loss on; give at least {FEWEST_QUERIES} (500 are good)"
        )
    qrels = {query: {f"d{query[1:]}": 1} for query in queries}
    return TestCollection(name, documents, queries, qrels)


def parts(text: str) -> list[str]:
    """The sentences of a text, or runs of words as long as sentences where it has no ends."""
    found = sentences(text)
    words = list(re.finditer(r"\S+", text))
    if len(found) > 1 or len(words) < 2 * CUT_WORDS:
        return found
    starts = [words[i].start() for i in range(0, len(words), CUT_WORDS)]
    return [text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
