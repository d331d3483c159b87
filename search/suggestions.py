"""What a query with mistyped words may have meant, in words that documents hold.

A word that no document has is compared with those of the index by edit distance: letters put in,
left out, replaced, or two neighbours exchanged (optimal string alignment). Of the nearest, the one
that most documents have is suggested as they write it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rapidfuzz.distance import OSA
from rapidfuzz.process import extract

from trimseek.indexer.analyzer import UNSPACED, folded
from trimseek.indexer.store import Store
from trimseek.search.query_words import QueryWords
from trimseek.search.vocabulary import Frequencies, Vocabulary
from trimseek.search.words import Words

SHORTEST = 4  # letters of a word that is looked at
SHORTEST_OF_TWO = 7  # letters of one that may have two mistakes
LONGEST = 40  # letters of such a word
MOST_TERMS = 200  # of a query that are looked at: nobody reads the suggestion of a longer one
MOST_WORDS = 8  # of a query that are replaced
MOST_SCANNED = 300_000  # terms of an index whose words may differ in their first letter, too
NEAREST = 16  # terms whose words are looked up in documents
TEXTS = 4  # in which a word is looked up
SHORTEST_PART = 3  # letters of a stem, and of words that were written together
LONGEST_ENDING = 6  # letters that stemming may take from a word


class Mistyped(NamedTuple):
    """A word of a query that no document has: characters ``start`` to ``end``, and its terms.

    ``plain``: folded, not reduced to its stem.
    """

    start: int
    end: int
    plain: str
    terms: tuple[str, ...]


class Near(NamedTuple):
    """How far a term is from a word whose last ``left`` letters are left out."""

    distance: int
    left: int

    @property
    def whole(self) -> bool:
        """Whether nothing is left out."""
        return self.left == 0


class Meant(NamedTuple):
    """A word as documents write it; the least is the best.

    ``distance``: of the word, or of its term and one more, whichever is nearer.
    """

    distance: int
    other_beginning: bool
    fewer_documents: int  # the more have it, the smaller
    word_distance: int
    capitals: bool
    word: str


# How some documents write terms, by term.
Writings = Callable[[Sequence[str]], dict[str, set[str]]]


def suggestion(
    query: QueryWords, vocabulary: Vocabulary, counts: Frequencies, writings: Writings
) -> str | None:
    """The query with its mistyped words replaced; None where nothing is to be replaced."""
    text = query.query
    for mistyped in reversed(mistyped_words(query)[:MOST_WORDS]):
        meant = nearest_word(mistyped, vocabulary, counts, writings)
        meant = meant or parted(mistyped, vocabulary, counts)
        if meant is not None:
            text = text[: mistyped.start] + meant + text[mistyped.end :]
    return None if text == query.query else text


def mistyped_words(query: QueryWords) -> list[Mistyped]:
    """Words of letters that no document has, nor any other term in their place."""
    places: dict[tuple[int, int], list[str]] = {}
    for word in query.words[:MOST_TERMS]:
        places.setdefault((word.start, word.end), []).append(word.term)
    found = []
    for (start, end), terms in sorted(places.items()):
        if not SHORTEST <= end - start <= LONGEST:
            continue
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


def nearest_word(
    mistyped: Mistyped, vocabulary: Vocabulary, counts: Frequencies, writings: Writings
) -> str | None:
    """The nearest word that documents hold, None where none is near."""
    most = 2 if len(mistyped.plain) >= SHORTEST_OF_TWO else 1
    near = near_terms(mistyped, vocabulary, most)
    frequencies = dict(zip(near, counts.frequencies(list(near)), strict=True))
    live = sorted((near[id_], -frequencies[id_], id_) for id_ in near if frequencies[id_])
    ids = {vocabulary.term_of(id_): id_ for *_, id_ in live[:NEAREST]}
    meant = []
    for term, written in writings(list(ids)).items():
        id_ = ids[term]
        for word in written:
            plain = folded(word)
            word_distance = OSA.distance(mistyped.plain, plain)
            whole = near[id_].whole
            if word_distance <= most or whole:
                distance = min(word_distance, near[id_].distance + 1 if whole else word_distance)
                other, capitals = plain[:1] != mistyped.plain[:1], not word.islower()
                place = (distance, other, -frequencies[id_], word_distance, capitals)
                meant.append(Meant(*place, word))
    return min(meant).word if meant else None


def near_terms(mistyped: Mistyped, vocabulary: Vocabulary, most: int) -> dict[int, Near]:
    """The terms that are near to the word, to one of its terms, or to its beginning, by id.

    Terms are stems, and a mistyped word is not reduced to its own: its ending may be left.
    """
    longest = len(mistyped.plain)
    shortest = max(SHORTEST_PART, longest - LONGEST_ENDING)
    everywhere = vocabulary.count_terms() <= MOST_SCANNED
    # as it is typed, or with the second letter first, left out or exchanged with the first
    beginnings = None if everywhere else sorted(set(mistyped.plain[:2]))
    terms = vocabulary.terms_of_length(shortest - most, longest + most, beginnings)
    of_length: dict[int, list[str]] = {}
    for name in terms:
        of_length.setdefault(len(name), []).append(name)
    forms = {mistyped.plain[:length]: longest - length for length in range(shortest, longest + 1)}
    forms |= dict.fromkeys(mistyped.terms, 0)
    near: dict[int, Near] = {}
    for form, left in forms.items():
        for length in range(len(form) - most, len(form) + most + 1):
            names = of_length.get(length, [])
            for name, distance, _ in extract(
                form, names, scorer=OSA.distance, score_cutoff=most, limit=None
            ):
                found = Near(int(distance), left)
                near[terms[name]] = min(found, near.get(terms[name], found))
    return near


class Writing(NamedTuple):
    """How the first documents that have some terms write them.

    ``first``: the keys of these documents, ascending, by term. ``words``: by document and term.
    """

    first: dict[str, list[int]]
    words: dict[int, dict[str, set[str]]]

    def joined(self) -> dict[str, set[str]]:
        """By term, of all documents."""
        written: dict[str, set[str]] = {}
        for by_term in self.words.values():
            for term, words in by_term.items():
                written.setdefault(term, set()).update(words)
        return written


def written_words(terms: Sequence[str], store: Store, words: Words) -> Writing:
    """How the first ``TEXTS`` documents of each of some terms write all of them."""
    ids = words.ids(terms, store)
    chunks = {term: words.some_chunks(id_, TEXTS).tolist() for term, id_ in ids.items()}
    keys = store.documents_of([chunk for some in chunks.values() for chunk in some])
    first = {
        term: sorted(keys[chunk] for chunk in some if chunk in keys)
        for term, some in chunks.items()
    }
    written: dict[int, dict[str, set[str]]] = {}
    for key, title, text in store.texts_of(list(set(keys.values()))):
        by_term = written.setdefault(key, {})
        for part in (text, title):
            for word in store.analyzer.words(part):
                if word.term in ids:
                    by_term.setdefault(word.term, set()).add(part[word.start : word.end])
    return Writing(first, written)


def parted(mistyped: Mistyped, vocabulary: Vocabulary, counts: Frequencies) -> str | None:
    """The word as two that documents hold, of which the rarer is the most frequent."""
    plain = mistyped.plain
    cuts = range(SHORTEST_PART, len(plain) - SHORTEST_PART + 1)
    halves = {(plain[:at], plain[at:]) for at in cuts}
    stem = vocabulary.analyzer.words
    terms = {half: stem(half)[0].term for pair in halves for half in pair if stem(half)}
    known = vocabulary.term_ids(sorted(set(terms.values())))
    documents = dict(zip(known, counts.frequencies(list(known.values())), strict=True))

    def rarer(pair: tuple[str, str]) -> int:
        return min(documents.get(terms.get(half, ""), 0) for half in pair)

    best = max(sorted(halves), key=rarer, default=None)
    return " ".join(best) if best is not None and rarer(best) > 0 else None
