"""Short texts made from documents, which stand in for the queries that people type.

Titles, sentences, parts of sentences, runs of words, and keyword queries of the rarest words of a
passage; some of them again in lower case, or with a mistake of typing.
"""

import random
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import ceil

from trimseek.encoders.training.corpus import QUESTIONS, Document
from trimseek.encoders.unlabelled import sentences, spans

WORD = re.compile(r"[^\W_]+(?:[-'][^\W_]+)*")
PART = re.compile(r"[,;:()] | - | (?=(?:which|that|because|when|while|where|if|although|but) )")
WINDOW = 60  # words of a passage that a keyword query is made from
KEYWORDS = (1, 5)
RARE = 8  # a keyword query's words are among so many of the rarest of its window
FEWEST_LETTERS = 3
FEWEST_WORDS = 3  # of a part of a sentence
MOST_FROM_A_DOCUMENT = 14
LOWER_CASE, MISSPELT = 0.08, 0.08  # shares of the texts that come again in another form
KINDS = {"title": 2, "sentence": 3, "part": 3, "run": 3, "keywords": 4}  # with their weights


def short_texts(
    documents: Sequence[Document], quotas: Mapping[str, int], seed: int = 0
) -> dict[str, list[str]]:
    """Different short texts by domain, about so many of each as ``quotas`` says.

    Questions are short already, and all taken.
    """
    counts = word_counts(documents)
    found: dict[str, list[str]] = {}
    for domain, quota in quotas.items():
        chosen = random.Random(f"{seed} {domain}")  # noqa: S311 - a sample, not a secret
        own = [each for each in documents if each.domain == domain and each.text.strip()]
        chosen.shuffle(own)
        if domain == QUESTIONS:
            texts = [document.text for document in own]
        else:
            each = min(MOST_FROM_A_DOCUMENT, ceil(quota / max(1, len(own))))
            texts = [text for document in own for text in made(document, each, counts, chosen)]
        texts = list(dict.fromkeys(texts))
        chosen.shuffle(texts)
        texts = texts[:quota]
        texts += [text.lower().rstrip("?.!") for text in texts if chosen.random() < LOWER_CASE]
        texts += [misspelt(text, chosen) for text in texts if chosen.random() < MISSPELT]
        found[domain] = list(dict.fromkeys(texts))
    return found


def word_counts(documents: Sequence[Document]) -> Counter[str]:
    """In how many documents each word is."""
    counts: Counter[str] = Counter()
    for document in documents:
        counts.update(set(WORD.findall(document.text.lower())))
    return counts


def made(
    document: Document, count: int, counts: Counter[str], chosen: random.Random
) -> Iterator[str]:
    """So many short texts of a document, or fewer."""
    kinds = chosen.choices(list(KINDS), list(KINDS.values()), k=count)
    parts = sentences(document.text)
    for kind in kinds:
        if kind == "title":
            text = document.title
        elif kind == "sentence":
            text = chosen.choice(parts)
        elif kind == "part":
            text = chosen.choice(PART.split(chosen.choice(parts)))
            text = text if len(text.split()) >= FEWEST_WORDS else ""
        elif kind == "run":
            text = next(spans([document.text], 1, chosen.randrange(1 << 30)))
        else:
            text = keywords(document.text, counts, chosen)
        if text := text.strip(" ,;:"):
            yield text


def keywords(text: str, counts: Counter[str], chosen: random.Random) -> str:
    """Some of the rarest words of a window of the text; mostly in its order, as people type."""
    words = WORD.findall(text)
    start = chosen.randint(0, max(0, len(words) - WINDOW))
    window = [word for word in words[start : start + WINDOW] if len(word) >= FEWEST_LETTERS]
    window = list(dict.fromkeys(window))
    rare = sorted(window, key=lambda word: counts[word.lower()])[:RARE]
    picked = set(chosen.sample(rare, min(len(rare), chosen.randint(*KEYWORDS))))
    query = [word for word in window if word in picked]
    if chosen.random() < 1 / 3:
        chosen.shuffle(query)
    return " ".join(query).lower() if chosen.random() < 0.5 else " ".join(query)


def misspelt(text: str, chosen: random.Random) -> str:
    """The text with one letter too many or too few, another, or two changed about."""
    places = [i for i, letter in enumerate(text) if letter.isalpha()]
    if len(places) < 2 * FEWEST_LETTERS:
        return text
    i = chosen.choice(places[1:])
    kind = chosen.randrange(4)
    if kind == 0:
        return text[:i] + text[i + 1 :]
    if kind == 1:
        return text[:i] + text[i] + text[i:]
    if kind == 2:
        return text[: i - 1] + text[i] + text[i - 1] + text[i + 1 :]
    return text[:i] + text[chosen.choice(places)].lower() + text[i + 1 :]


def joined_sentences(
    documents: Sequence[Document], count: int, longest: int, seed: int
) -> dict[str, list[str]]:
    """So many runs of 2 to ``longest`` whole sentences, by domain."""
    chosen = random.Random(seed)  # noqa: S311 - a sample, not a secret
    found: dict[str, list[str]] = {}
    tries = 0
    while count and tries < 20 * len(documents):
        tries += 1
        document = chosen.choice(documents)
        parts = sentences(document.text)
        length = chosen.randint(2, longest)
        if len(parts) <= length:
            continue
        start = chosen.randrange(len(parts) - length + 1)
        found.setdefault(document.domain, []).append(" ".join(parts[start : start + length]))
        count -= 1
    return found
