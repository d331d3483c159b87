"""What a query with mistyped words may have meant, in words that documents hold.

A word that no document has is compared with those of the index by edit distance: letters put in,
left out, replaced, or two neighbours exchanged (optimal string alignment). Of the nearest, the one
that most documents have is suggested as they write it.
"""

from typing import NamedTuple

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from trimseek.indexer.analyzer import UNSPACED, folded
from trimseek.indexer.store import Store
from trimseek.search.query_words import QueryWords
from trimseek.search.words import Words

SHORTEST = 4  # letters of a word that is looked at
SHORTEST_OF_TWO = 7  # letters of one that may have two mistakes
MOST_WORDS = 8  # of a query
MOST_SCANNED = 300_000  # terms of an index whose words may differ in their first letter, too
NEAREST = 8  # terms whose words are looked up in documents
TEXTS = 3  # in which a word is looked up
SHORTEST_PART = 3  # letters of words that were written together


class Mistyped(NamedTuple):
    """A word of a query that no document has: characters ``start`` to ``end``, and its terms.

    ``plain``: folded, not reduced to its stem.
    """

    start: int
    end: int
    plain: str
    terms: tuple[str, ...]


class Meant(NamedTuple):
    """A word as documents write it, ``distance`` letters from what was typed."""

    distance: int
    other_beginning: bool
    fewer_documents: int  # the more have it, the smaller
    capitals: bool
    word: str


def suggestion(query: QueryWords, store: Store, words: Words | None) -> str | None:
    """The query with its mistyped words replaced; None where nothing is to be replaced."""
    if words is None:
        return None
    text = query.query
    for mistyped in reversed(mistyped_words(query)[:MOST_WORDS]):
        meant = nearest_word(mistyped, query, store, words) or parted(mistyped, store, words)
        if meant is not None:
            text = text[: mistyped.start] + meant + text[mistyped.end :]
    return None if text == query.query else text


def mistyped_words(query: QueryWords) -> list[Mistyped]:
    """Words of letters that no document has, nor any other term in their place."""
    places: dict[tuple[int, int], list[str]] = {}
    for word in query.words:
        places.setdefault((word.start, word.end), []).append(word.term)
    found = []
    for (start, end), terms in sorted(places.items()):
        plain = folded(query.query[start:end])
        if not plain.isalpha() or len(plain) < SHORTEST or UNSPACED.search(plain):
            continue
        if any((start, end) != inner and start <= inner[0] and inner[1] <= end for inner in places):
            continue  # its parts are looked at
        if any(query.frequencies.get(term) for term in terms):
            continue
        if end == len(query.query) and query.begun_ids:
            continue
        found.append(Mistyped(start, end, plain, tuple(terms)))
    return found


def nearest_word(mistyped: Mistyped, query: QueryWords, store: Store, words: Words) -> str | None:
    """The nearest word that documents hold, None where none is near."""
    most = 2 if len(mistyped.plain) >= SHORTEST_OF_TWO else 1
    ids = near_terms(mistyped, store, most)
    frequencies = dict(zip(ids, words.frequencies(list(ids)), strict=True))
    live = sorted(
        (id_ for id_ in ids if frequencies[id_]), key=lambda id_: (ids[id_], -frequencies[id_])
    )
    meant = []
    for id_ in live[:NEAREST]:
        for word in written_words(id_, query, store, words):
            plain = folded(word)
            distance = OSA.distance(mistyped.plain, plain)
            if distance <= most:
                other = plain[:1] != mistyped.plain[:1]
                meant.append(Meant(distance, other, -frequencies[id_], not word.islower(), word))
    return min(meant).word if meant else None


def near_terms(mistyped: Mistyped, store: Store, most: int) -> dict[int, int]:
    """Distances of the terms that are at most so far from the word or one of its terms, by id.

    Terms are stems, which may be shorter than the word.
    """
    forms = {mistyped.plain, *mistyped.terms}
    shortest, longest = min(map(len, forms)) - most, max(map(len, forms)) + most
    everywhere = store.count_terms() <= MOST_SCANNED
    # as it is typed, or with the second letter first, left out or exchanged with the first
    beginnings = {form[place] for form in forms for place in (0, 1) if len(form) > place}
    terms = store.terms_of_length(shortest, longest, None if everywhere else sorted(beginnings))
    names = list(terms)
    near: dict[int, int] = {}
    for form in forms:
        for name, distance, _ in extract(
            form, names, scorer=OSA.distance, score_cutoff=most, limit=None
        ):
            id_ = terms[name]
            near[id_] = min(int(distance), near.get(id_, most))
    return near


def written_words(id_: int, query: QueryWords, store: Store, words: Words) -> set[str]:
    """How some documents write a term."""
    documents = store.documents_of(words.some_chunks(id_, TEXTS).tolist())
    term = store.term_of(id_)
    return {
        part[word.start : word.end]
        for _, title, text in store.texts_of(list(documents.values()))
        for part in (text, title)
        for word in query.analyzer.words(part)
        if word.term == term
    }


def parted(mistyped: Mistyped, store: Store, words: Words) -> str | None:
    """The word as two that documents hold, of which the rarer is the most frequent."""
    plain = mistyped.plain
    cuts = range(SHORTEST_PART, len(plain) - SHORTEST_PART + 1)
    halves = {(plain[:at], plain[at:]) for at in cuts}
    stem = store.analyzer.words
    terms = {half: stem(half)[0].term for pair in halves for half in pair if stem(half)}
    known = store.term_ids(sorted(set(terms.values())))
    counts = dict(zip(known, words.frequencies(list(known.values())), strict=True))

    def rarer(pair: tuple[str, str]) -> int:
        return min(counts.get(terms.get(half, ""), 0) for half in pair)

    best = max(sorted(halves), key=rarer, default=None)
    return " ".join(best) if best is not None and rarer(best) > 0 else None
