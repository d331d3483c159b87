"""Words of documents and of queries, with their places in the text.

A run is what stands between blanks and punctuation that joins nothing: ``state-of-the-art``,
``node.js``, ``C++``, ``getUserName``, ``AB-1234-X``, ``서울에서``. It gives the word that is
written without what joins its pieces (``nodejs``) and the pieces that mean something alone
(``node``, ``js``). Words are folded: compatibility forms, case, accents, vowel points and joiners
do not count, and those of a language that ``stems`` has are reduced to their stems.

- Scripts without spaces (Han, Kana, Thai, Lao, Khmer, Burmese) give overlapping pairs of
  characters, and the last one alone, so that a single one is found as the beginning of a word.
- An Arabic or Hebrew word gives itself, and itself without its article. A Korean word, which
  carries its particles, gives itself and its pairs of syllables.
- Capitals tell IT from it and hepatitis A from a hepatitis: such a word is given as it is
  written, too.
- A sign that makes a name belongs to it: C++, C#, .NET, AT&T.
"""

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import regex

from trimseek.indexer.stems import stemmer_of

MOST_RUNS = 200_000  # that are kept with their words: texts repeat themselves
LONGEST_TERM = 64  # characters: what is longer is no word, and is cut
LONGEST_RUN = 256  # characters whose pieces are looked for
LONGEST_ACRONYM = 5  # letters

JOINERS = "-\u2010\u2011\u2013'\u2019\u02bc.\u00b7&@"
MARKED = r"\p{L}\p{M}\p{N}_\u00ad\u200c\u200d\u2060"
SIGNS = r"(?:[+#]{1,3}\d{0,2})?"  # behind a name: C++, F#, C++17
RUN = regex.compile(
    rf"(?:(?<![{MARKED}.])\.(?=\p{{L}}))?[{MARKED}]+"
    rf"(?:(?:[{JOINERS}]|(?<=\p{{N}}),(?=\p{{N}}{{3}}(?!\p{{N}}))"
    rf"|(?<=\p{{Hebrew}})[\"\u05f4](?=\p{{Hebrew}}))(?=[{MARKED}])[{MARKED}]+)*"
    rf"(?:{SIGNS}(?![{MARKED}+#]))?"
    r"|[\p{So}--[\u00a9\u00ae\u00b0\u2122]][\p{So}\U0001f3fb-\U0001f3ff\p{M}\u200d]*",
    regex.VERSION1,
)
# The same of ASCII, by the faster library.
ASCII_RUN = re.compile(
    r"(?:(?<![\w.])\.(?=[A-Za-z]))?\w+"
    r"(?:(?:[-'.&@]|(?<=\d),(?=\d{3}(?!\d)))\w+)*"
    rf"(?:{SIGNS}(?![\w+#]))?",
    re.ASCII,
)
# Full width forms of ASCII and others that stand for one character each.
SINGLE = {0xFF01 + i: 0x21 + i for i in range(94)} | {0x3000: " ", 0x2018: "'", 0x201B: "'"}
SIMPLE = re.compile(r"[a-z]+|[A-Z][a-z]+|[0-9]+", re.ASCII)
PIECE = regex.compile(r"[^-\u2010\u2011\u2013'\u2019\u02bc.\u00b7&@_\u200c,\"\u05f4]+")
NUMBER = re.compile(r"\d+(?:[.,\-]\d+)+")
UNIT = regex.compile(r"(\p{N}+(?:\.\p{N}+)*)(\p{L}{1,4})")
VERSION = regex.compile(r"[vV](\p{N}+(?:\.\p{N}+)+)")
PARTS = regex.compile(
    r"\p{Lu}+(?=\p{Lu}\p{Ll})|\p{Lu}?[\p{Ll}\p{M}]+|\p{Lu}+|\p{N}+|[\p{Lo}\p{M}]+"
)
MIXED = regex.compile(r"\p{Ll}\p{Lu}|\p{Lu}{2}\p{Ll}|\p{L}\p{N}|\p{N}\p{L}")
CAPITALS = regex.compile(r"\p{Lu}+")
GOES_ON = regex.compile(r"[\p{L}\p{M}\p{N},;)\u2019'\"] ")  # before a word within a sentence

# Written together with its word, in Arabic (after "and" as well) and Hebrew.
ARTICLE = regex.compile(r"(?:\u0648?\u0627\u0644|\u05d4)(?=\p{L}{3})")
UNSPACED = regex.compile(
    r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\u3005\u3099\u309a\u30fc\uff70\uff9e\uff9f]+)"
    r"|([\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}]+)|(\p{Hangul}+)"
)
CLUSTER = regex.compile(r"\X")
# Of Latin, Greek and Cyrillic, of Arabic and of Hebrew; Cyrillic short i is a letter of its own.
ACCENTS = regex.compile(
    r"[\u0300-\u0305\u0307-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
    r"\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u08d3-\u08ff]|(?<!и)\u0306"
)
POINTS = regex.compile(r"[\u00ad\u200c\u200d\u2060\u0640\u0591-\u05c7\u064b-\u065f\u0670]")
DIGIT = re.compile(r"(?![0-9])\d")
SAME = str.maketrans(
    {
        "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ħ": "h",
        "\u0131": "i", "ŋ": "n", "ŧ": "t", "ĸ": "k",
        "\u0622": "\u0627", "\u0623": "\u0627", "\u0625": "\u0627", "\u0671": "\u0627",  # alef
        "\u0629": "\u0647",  # teh marbuta
        "\u0649": "\u064a", "\u06cc": "\u064a",  # yeh
        "\u06a9": "\u0643",  # keheh
        "\u0640": None, "\u00ad": None, "\u200c": None, "\u200d": None, "\u2060": None,
    }
)  # fmt: skip


class Word(NamedTuple):
    """A term, and where it is written: characters ``start`` to ``end``."""

    term: str
    start: int
    end: int


class Analyzer:
    """The words of texts; ``language``: a name that ``stems`` has, or None for no stemming.

    Safe to use from several threads.
    """

    def __init__(self, language: str | None = None) -> None:
        self.language = language
        self._stem = stemmer_of(language)
        self._known: dict[str, tuple[Word, ...]] = {}

    def words(self, text: str) -> list[Word]:
        """Every word of a text, in its order; pieces of a run come after the whole."""
        found: list[Word] = []
        for run, start, words in self._runs(text):
            found += [Word(term, start + begin, start + end) for term, begin, end in words]
            if (capitals := self._as_written(text, run, start)) is not None:
                found.append(Word(capitals, start, start + len(run)))
        return found

    def counts(self, text: str) -> dict[str, int]:
        """How often each term comes; ``words`` without the places."""
        counts: dict[str, int] = {}
        get = counts.get
        for run, start, words in self._runs(text):
            for word in words:
                counts[word[0]] = get(word[0], 0) + 1
            if run.isupper() and (term := self._as_written(text, run, start)) is not None:
                counts[term] = get(term, 0) + 1
        return counts

    def _runs(self, text: str) -> Iterator[tuple[str, int, tuple[Word, ...]]]:
        """Each run, where it begins, and its words, their places counted from there."""
        pattern = ASCII_RUN
        if not text.isascii():
            text, pattern = text.translate(SINGLE), RUN
        known = self._known
        for match in pattern.finditer(text):
            run = match[0]
            words = known.get(run)
            if words is None:
                words = self._analyzed(run)
                if len(known) >= MOST_RUNS:
                    known = self._known = {}
                known[run] = words
            yield run, match.start(), words

    def _as_written(self, text: str, run: str, start: int) -> str | None:
        """A word in capitals that may mean another thing in small letters; None for others."""
        written = run if run.isascii() else unicodedata.normalize("NFC", run)
        if len(written) > LONGEST_ACRONYM or not CAPITALS.fullmatch(written):
            return None
        if len(written) == 1 and not GOES_ON.fullmatch(text[max(0, start - 2) : start]):
            return None  # may begin a sentence
        if len(text) > len(run) + 2 and text.isupper():
            return None  # everything is in capitals
        return written

    def _analyzed(self, run: str) -> tuple[Word, ...]:
        if not run.isascii() and not unicodedata.is_normalized("NFC", run):
            return composed(run, self._analyzed)
        if SIMPLE.fullmatch(run):
            return (Word(cut(self._stem(run.lower())), 0, len(run)),)
        if len(run) > LONGEST_RUN:
            return (Word(cut(folded(run)), 0, len(run)),)
        words = dict.fromkeys(self._variants(run))  # in their order, each once
        return tuple(word for word in words if word.term)

    def _variants(self, run: str) -> Iterator[Word]:
        """A run as a whole, then its pieces and their parts."""
        name = run.rstrip("+#0123456789")
        if name != run and run[len(name)] in "+#":
            yield from self._signed(run, name)
            return
        if NUMBER.fullmatch(run):
            yield Word(run.replace(",", ""), 0, len(run))
            if "-" in run:
                if run.count("-") > 1:  # an ISBN or a telephone number
                    yield Word(run.replace(",", "").replace("-", ""), 0, len(run))
                for match in re.finditer(r"[\d.,]+", run):
                    yield Word(match[0], *match.span())
            return
        pieces = [(match.start(), match[0]) for match in joined_numbers(run)]
        if len(pieces) < 2 and run[0] != ".":
            for start, piece in pieces:  # none where a run is of joiners only
                yield from self._piece(start, piece)
            return
        if run[0] == "." or "&" in run or "@" in run:
            yield Word(cut(folded(run)), 0, len(run))
        else:
            yield from self._joined(run, pieces)
        if match := VERSION.fullmatch(run):
            yield Word(match[1], *match.span(1))
            return
        apostrophe = any(mark in run for mark in "'\u2019\u02bc&")
        for start, piece in pieces:
            if len(piece) > 1 or not apostrophe or piece.isdecimal():
                yield from self._piece(start, piece)

    def _joined(self, run: str, pieces: list[tuple[int, str]]) -> Iterator[Word]:
        """The run without what joins its pieces; where that would join digits, with it."""
        whole = pieces[0][1]
        for (_, before), (start, piece) in pairwise(pieces):
            digits = before[-1:].isdecimal() and piece[:1].isdecimal()
            whole += (run[start - 1] if digits else "") + piece
        if not UNSPACED.search(whole):
            term = self._stemmed(whole) if whole.isalpha() else folded(whole)
            yield Word(cut(term), 0, len(run))

    def _signed(self, run: str, name: str) -> Iterator[Word]:
        """C++ is not C: a name of one letter is given with its sign only."""
        sign = run[len(name) :]
        yield Word(cut(folded(run)), 0, len(run))
        if sign[-1].isdecimal():
            bare = name + sign.rstrip("0123456789")
            yield Word(cut(folded(bare)), 0, len(bare))
        if len(name) > 1:
            yield from self._analyzed(name)

    def _piece(self, start: int, piece: str) -> Iterator[Word]:
        """A piece without joiners: words of a script with spaces, pairs of the others."""
        after = 0
        for match in UNSPACED.finditer(piece):
            yield from self._spaced(start + after, piece[after : match.start()])
            pairs = hangul_pairs if match[3] else overlapping_pairs
            yield from pairs(start + match.start(), match[0])
            after = match.end()
        yield from self._spaced(start + after, piece[after:])

    def _spaced(self, start: int, piece: str) -> Iterator[Word]:
        if not piece:
            return
        yield Word(cut(self._stemmed(piece)), start, start + len(piece))
        if not piece.isascii() and (match := ARTICLE.match(folded(piece))):
            yield Word(cut(self._stemmed(match.string[match.end() :])), start, start + len(piece))
        if not MIXED.search(piece):
            return
        if match := UNIT.fullmatch(piece):
            for number in (1, 2):
                begin, end = match.span(number)
                yield Word(folded(match[number]), start + begin, start + end)
            return
        for match in PARTS.finditer(piece):
            if len(match[0]) > 1:
                begin, end = match.span()
                yield Word(cut(self._stemmed(match[0])), start + begin, start + end)

    def _stemmed(self, word: str) -> str:
        plain = unicodedata.normalize("NFKC", word).casefold()
        return folded(self._stem(plain if plain.isascii() else without_points(plain)))


@cache
def analyzer_of(language: str | None) -> Analyzer:
    """One for all who need that language's: it keeps the words of what it met."""
    return Analyzer(language)


def composed(run: str, analyzed: Callable[[str], tuple[Word, ...]]) -> tuple[Word, ...]:
    """What is found in a run in Unicode's composed form (NFC), placed where the run has it."""
    places: list[int] = []  # of each character of the composed form, and where it ends
    whole = ""
    for match in CLUSTER.finditer(run):
        part = unicodedata.normalize("NFC", match[0])
        places += [match.start()] * len(part)
        whole += part
    places.append(len(run))
    if whole != unicodedata.normalize("NFC", run):
        whole = unicodedata.normalize("NFC", run)
        places = [0] * len(whole) + [len(run)]
    ends = [*places[1:], len(run)]
    for i in range(len(places) - 2, -1, -1):  # characters of one cluster end where it ends
        if ends[i] == places[i]:
            ends[i] = ends[i + 1]
    return tuple(Word(term, places[start], ends[end - 1]) for term, start, end in analyzed(whole))


def joined_numbers(run: str) -> Iterator[regex.Match[str]]:
    """The pieces of a run; 2.5 in 2.5-inch is one."""
    yield from JOINED_NUMBER.finditer(run)


JOINED_NUMBER = regex.compile(rf"\p{{N}}+(?:\.\p{{N}}+)+(?![\p{{L}}])|{PIECE.pattern}")


def without_points(word: str) -> str:
    """Without soft hyphens, joiners and vowel points, which stemmers do not know; accents stay."""
    return str(POINTS.sub("", word))


def folded(word: str) -> str:
    """A word without compatibility forms, case, accents, vowel points and joiners."""
    if word.isascii():
        return word.lower()
    plain = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", word).casefold())
    plain = unicodedata.normalize("NFC", ACCENTS.sub("", plain)).translate(SAME)
    plain = "".join(plain.split())  # of compatibility forms that stand for several words
    return DIGIT.sub(lambda match: str(unicodedata.decimal(match[0])), plain)


def cut(term: str) -> str:
    """At most ``LONGEST_TERM`` characters."""
    return term[:LONGEST_TERM]


def clusters(start: int, text: str) -> list[Word]:
    """Each character with the marks on it, folded."""
    return [
        Word(folded(match[0]), start + match.start(), start + match.end())
        for match in CLUSTER.finditer(text)
    ]


def overlapping_pairs(start: int, text: str) -> Iterator[Word]:
    """Pairs of neighbouring characters, and the last character alone."""
    characters = clusters(start, text)
    for one, two in pairwise(characters):
        yield Word(one.term + two.term, one.start, two.end)
    yield characters[-1]


def hangul_pairs(start: int, text: str) -> Iterator[Word]:
    """A Korean word and its pairs of syllables; each stands where the whole word does."""
    syllables = [cluster.term for cluster in clusters(start, text)]
    end = start + len(text)
    yield Word(cut("".join(syllables)), start, end)
    if len(syllables) > 2:
        for one, two in pairwise(syllables):
            yield Word(one + two, start, end)
