"""Stems of words, by the algorithms of Snowball, and the language that texts are of."""

import tempfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import NamedTuple

import regex
import Stemmer

from trimseek.atomic import storage_error
from trimseek.errors import QueryError

NO_STEMS = "none"
AUTO = "auto"
LONGEST_SAMPLE = 2000  # characters of a text that its language is told by
LEAST_LETTERS = 12  # of a text whose language counts
LEAST_SHARE = 0.6  # of the texts, that are in one language


class Language(NamedTuple):
    """The code that ``py3langid`` gives it, and the script whose words are stemmed.

    ``accents``: whether its words have any: the stemmer knows them.
    """

    code: str
    script: str
    accents: bool = True


LANGUAGES = {
    "arabic": Language("ar", "Arabic"),
    "armenian": Language("hy", "Armenian"),
    "basque": Language("eu", "Latin"),
    "catalan": Language("ca", "Latin"),
    "czech": Language("cs", "Latin"),
    "danish": Language("da", "Latin"),
    "dutch": Language("nl", "Latin"),
    "english": Language("en", "Latin", accents=False),
    "esperanto": Language("eo", "Latin"),
    "estonian": Language("et", "Latin"),
    "finnish": Language("fi", "Latin"),
    "french": Language("fr", "Latin"),
    "german": Language("de", "Latin"),
    "greek": Language("el", "Greek"),
    "hindi": Language("hi", "Devanagari"),
    "hungarian": Language("hu", "Latin"),
    "indonesian": Language("id", "Latin", accents=False),
    "irish": Language("ga", "Latin"),
    "italian": Language("it", "Latin"),
    "lithuanian": Language("lt", "Latin"),
    "nepali": Language("ne", "Devanagari"),
    "norwegian": Language("no", "Latin"),
    "polish": Language("pl", "Latin"),
    "portuguese": Language("pt", "Latin"),
    "romanian": Language("ro", "Latin"),
    "russian": Language("ru", "Cyrillic"),
    "spanish": Language("es", "Latin"),
    "swedish": Language("sv", "Latin"),
    "tamil": Language("ta", "Tamil"),
    "turkish": Language("tr", "Latin"),
}
MARKS = regex.compile(r"\p{M}+")
BY_CODE = {language.code: name for name, language in LANGUAGES.items()} | {"nb": "norwegian"}

Stem = Callable[[str], str]


def check_language(name: str) -> None:
    """QueryError for a name that is neither a language here, nor ``auto`` or ``none``."""
    known = [AUTO, NO_STEMS, *LANGUAGES]
    if name not in known:
        raise QueryError(f"no language {name!a}; there are: {', '.join(known)}")


def stemmer_of(language: str | None) -> Stem:
    """What gives a word's stem, for words in small letters, accents and all.

    Words of another script than the language's stay as they are, and all where it is None.
    """
    if language is None:
        return str
    stemmer = Stemmer.Stemmer(language)
    accents = LANGUAGES[language].accents
    belongs = regex.compile(rf"[\p{{{LANGUAGES[language].script}}}\p{{M}}]+").fullmatch
    lock = Lock()  # a stemmer keeps the word that it is at

    def stem(word: str) -> str:
        if not belongs(word):
            return word
        if not accents:
            word = without_accents(word)
        with lock:
            stemmed: str = stemmer.stemWord(word)
        return stemmed

    return stem


def without_accents(word: str) -> str:
    """A word without the marks on its letters."""
    if word.isascii():
        return word
    return str(MARKS.sub("", unicodedata.normalize("NFD", word)))


def language_of(texts: Sequence[str]) -> str | None:
    """The language of most of the texts; None if none is that of three in five, or it has no stems.

    Texts with few letters do not count. StorageError if there is no room for a temporary file:
    py3langid unpacks its model into one.
    """
    import py3langid

    found: Counter[str] = Counter()
    for text in texts:
        sample = text[:LONGEST_SAMPLE]
        if sum(map(str.isalpha, sample)) >= LEAST_LETTERS:
            try:
                code, _ = py3langid.classify(sample)
            except OSError as error:
                raise storage_error(error, Path(tempfile.gettempdir())) from error
            found[code] += 1
    if not found:
        return None
    code, count = found.most_common(1)[0]
    return BY_CODE.get(code) if count >= LEAST_SHARE * found.total() else None
