"""Known items: a judged collection made from texts that nobody judged.

A sentence is taken out of a document, and a few words in a row of it are a query, for which that
document is to be found (the inverse cloze task, Lee et al. 2019; known-item search, Azzopardi et
al. 2007). As the sentence is gone, the document is not found by the query's very words. Whole
sentences are too easy to show a loss: an encoder that lost 12.6 % of nDCG@10 on Cranfield's judged
questions lost 4 % on queries of 24 words, and 8 to 12 % on queries of 3 to 8 words.
"""

import random
import re
from collections.abc import Sequence

from trimseek.encoders.unlabelled import sentences
from trimseek.errors import CorpusError
from trimseek.eval.quality.collection import TestCollection

MOST_DOCUMENTS = 2000
MOST_QUERIES = 1000
FEWEST_QUERIES = 50
LEAST_WORDS = 4  # of a sentence
QUERY_WORDS = (3, 8)
CUT_WORDS = 20  # of what stands for a sentence in a text without ends of sentences
SEED = 11


def known_items(texts: Sequence[str], name: str) -> TestCollection:
    """At most 2,000 documents, with at most 1,000 queries; CorpusError if there are too few.

    A document of one sentence keeps it.
    """
    chosen = random.Random(SEED)  # noqa: S311 - a sample, not a secret
    texts = list(dict.fromkeys(texts))
    sampled = chosen.sample(texts, min(MOST_DOCUMENTS, len(texts)))
    documents: dict[str, str] = {}
    queries: dict[str, str] = {}
    for number, text in enumerate(sampled):
        documents[f"d{number}"] = text
        long_enough = [
            sentence for sentence in split_text(text) if len(sentence.split()) >= LEAST_WORDS
        ]
        if len(queries) == MOST_QUERIES or not long_enough:
            continue
        sentence = chosen.choice(long_enough)
        if len(long_enough) > 1:
            documents[f"d{number}"] = text.replace(sentence, " ", 1)
        words = sentence.split()
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


def split_text(text: str) -> list[str]:
    """The sentences of a text; runs of 20 words of a long text without ends of sentences."""
    whole_sentences = sentences(text)
    words = list(re.finditer(r"\S+", text))
    if len(whole_sentences) > 1 or len(words) < 2 * CUT_WORDS:
        return whole_sentences
    starts = [words[i].start() for i in range(0, len(words), CUT_WORDS)]
    return [text[a:b].strip() for a, b in zip(starts, [*starts[1:], len(text)], strict=True)]
