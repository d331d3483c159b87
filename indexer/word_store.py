"""The words of an index in documents.db, and the language that they are of."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from trimseek.indexer.analyzer import Analyzer, analyzer_of
from trimseek.indexer.database import Database
from trimseek.indexer.stems import AUTO, LANGUAGES, NO_STEMS, language_of
from trimseek.indexer.term_table import TermTable
from trimseek.indexer.words import pack_counts

# The settings: the language that was given, the one that is used, by how many documents it was
# guessed, how many terms there are, and how often all words were made.
GIVEN_LANGUAGE, LANGUAGE, LANGUAGE_SEEN = "given_language", "language", "language_seen"
TERMS, WORDS_MADE = "terms", "words_made"
SAMPLED = 200  # documents that a language is guessed by
TEXTS_AT_A_TIME = 1024
WORDS_AT_A_TIME = 8192
MOST_TERMS_KEPT = 2**20


class WordStore(Database, TermTable):
    """The words in documents.db; a writer keeps the ids of the terms that it has met."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._ids: dict[str, int] = {}
        self._ids_made = 0  # which of all the words that were made they are of
        self._current_analyzer: Analyzer | None = None  # of the transaction that is under way
        super().__init__(*arguments, **options)

    def _begun(self) -> None:
        self._current_analyzer = None
        if self._ids_made != self.words_made() or len(self._ids) > MOST_TERMS_KEPT:
            self._ids, self._ids_made = {}, self.words_made()

    def _undone(self) -> None:
        self._ids = {}

    @property
    def analyzer(self) -> Analyzer:
        """What makes words of texts and of queries, as the index is set."""
        language = self.setting(LANGUAGE, NO_STEMS)
        if language not in LANGUAGES and language != NO_STEMS:
            raise self._damaged(f"no language {language!a:.40}")
        return analyzer_of(None if language == NO_STEMS else language)

    def tell_language(self, texts: Sequence[str]) -> None:
        """Look at the language of new texts before they are stored; inside a transaction.

        An index that begins with few is looked at once more when it has ``SAMPLED``.
        """
        seen = self.setting(LANGUAGE_SEEN, 0)
        if seen >= SAMPLED or not texts:
            return
        stored = self._some_texts()
        if seen and len(stored) + len(texts) < SAMPLED:
            return
        texts = [*stored, *texts[:SAMPLED]]
        changed = self._set_language(texts)
        self.set_setting(LANGUAGE_SEEN, len(texts))
        if changed and stored:
            self._make_words()

    @property
    def given_language(self) -> str:
        """The language that was given, "auto" where none was."""
        return str(self.setting(GIVEN_LANGUAGE, AUTO))

    def make_words(self, language: str | None = None) -> None:
        """Make all words anew from the stored texts; inside a transaction.

        ``language``: of the texts, a name of ``stems.LANGUAGES``, "none", or "auto" to guess;
        None keeps what was given.
        """
        if language is not None:
            self.set_setting(GIVEN_LANGUAGE, language)
        texts = self._some_texts()
        self._set_language(texts)
        self.set_setting(LANGUAGE_SEEN, len(texts))
        self._make_words()

    def _set_language(self, texts: Sequence[str]) -> bool:
        """Set the language that was given, or that of some texts; whether it is another one."""
        language = self.given_language
        if language == AUTO:
            language = language_of(texts) or NO_STEMS
        if language == self.setting(LANGUAGE, ""):
            return False
        self.set_setting(LANGUAGE, language)
        self._current_analyzer = None
        return True

    def _some_texts(self) -> list[str]:
        """Titles and texts of at most ``SAMPLED`` documents, evenly from all."""
        keys = [row[0] for row in self.rows("SELECT key FROM documents ORDER BY key")]
        chosen = keys[:: -(-len(keys) // SAMPLED) or 1]
        return [f"{title}\n{text}" for _, title, text in self.texts_of(chosen)]

    def texts_of(self, keys: Sequence[int]) -> list[tuple[int, str, str]]:
        """Key, title and text of those documents that are there, in ascending order of keys."""
        return self._texts_in(f"key IN ({marks(keys)})", keys)

    def _texts_in(self, condition: str, parameters: Sequence[object]) -> list[tuple[int, str, str]]:
        rows = self.rows(f"SELECT key, title, text FROM documents WHERE {condition}", parameters)
        for key, title, text in rows:
            if not isinstance(title, str) or not isinstance(text, str):
                raise self._damaged(f"the row of document number {key}")
        return rows

    def _make_words(self) -> None:
        """Words of all documents, with new ids: those of the file beside the snapshot are void."""
        self._db.execute("DELETE FROM words")
        self._db.execute("DELETE FROM terms")
        self._db.execute("UPDATE snapshots SET words = ''")
        self.set_setting(TERMS, 0)
        self._ids, self._ids_made = {}, self.words_made() + 1
        self.set_setting(WORDS_MADE, self._ids_made)
        for rows in self._texts():
            for key, title, text in rows:
                self._add_words(key, title, text)

    def _texts(self) -> Iterator[list[tuple[int, str, str]]]:
        """Key, title and text of every document, so many at a time."""
        after = 0
        while rows := self._texts_in("key > ? ORDER BY key LIMIT ?", [after, TEXTS_AT_A_TIME]):
            yield rows
            after = rows[-1][0]

    def _add_words(self, key: int, title: str, text: str) -> None:
        """Count the words of a document whose chunks are stored; inside a transaction."""
        if self._current_analyzer is None:
            self._current_analyzer = self.analyzer
        in_text, in_title = map(self._current_analyzer.counts, (text, title))
        self._add_terms({**in_text, **in_title})
        counts = [
            {self._ids[term]: count for term, count in part.items()} for part in (in_text, in_title)
        ]
        self._db.execute(
            "INSERT INTO words SELECT min(key), ? FROM chunks WHERE document = ?"
            " HAVING min(key) IS NOT NULL",  # none of a damaged document without chunks
            (pack_counts(*counts), key),
        )

    def _add_terms(self, terms: Iterable[str]) -> None:
        """Look up the ids of terms; new ones get one."""
        ids = self._ids
        unknown = [term for term in terms if term not in ids]
        for start in range(0, len(unknown), WORDS_AT_A_TIME):
            ids.update(self.term_ids(unknown[start : start + WORDS_AT_A_TIME]))
        if new := [term for term in unknown if term not in ids]:
            first = self.setting(TERMS, 0)
            added = {term: first + i for i, term in enumerate(new)}
            self._db.executemany("INSERT INTO terms VALUES (?, ?)", list(added.items()))
            self.set_setting(TERMS, first + len(added))
            ids.update(added)

    def term_ids(self, terms: Sequence[str]) -> dict[str, int]:
        """The ids of those terms that documents have, or had."""
        rows = self.rows(f"SELECT term, id FROM terms WHERE term IN ({marks(terms)})", list(terms))
        for term, id_ in rows:
            if not isinstance(id_, int) or not 0 <= id_ < 2**32:
                raise self._damaged(f"the id of the term {term!a:.80}")
        return dict(rows)

    def terms_in_order(self) -> Iterator[tuple[str, int]]:
        """Every term and its id, in the order of the terms."""
        last = ""
        while rows := self.rows(
            "SELECT term, id FROM terms WHERE term > ? ORDER BY term LIMIT ?",
            [last, WORDS_AT_A_TIME],
        ):
            yield from rows
            last = rows[-1][0]

    def term_of(self, id_: int) -> str:
        """The term of an id; IndexFolderError where there is none."""
        rows = self.rows("SELECT term FROM terms WHERE id = ?", [id_])
        if len(rows) != 1 or not isinstance(rows[0][0], str):
            raise self._damaged(f"the term of id {id_}")
        return rows[0][0]

    def count_terms(self) -> int:
        """How many terms there are, those of deleted documents among them."""
        return int(self.setting(TERMS, 0))

    def words_made(self) -> int:
        """How often all words were made: term ids of another time mean other terms."""
        return int(self.setting(WORDS_MADE, 0))

    def word_rows(self, after: int, last: int = 2**63 - 1) -> Iterator[tuple[int, bytes]]:
        """First chunk and packed counts of documents, ascending.

        Of those whose first chunk's key is larger than ``after`` and at most ``last``.
        """
        while rows := self.rows(
            "SELECT chunk, counts FROM words WHERE chunk > ? AND chunk <= ? ORDER BY chunk LIMIT ?",
            [after, last, WORDS_AT_A_TIME],
        ):
            if not all(isinstance(counts, bytes) for _, counts in rows):
                raise self._damaged("the words of a document")
            yield from rows
            after = rows[-1][0]

    def set_words_file(self, sha256: str) -> None:
        """Note the file of words beside the snapshot; inside a transaction."""
        self._db.execute("UPDATE snapshots SET words = ?", (sha256,))

    def words_damage(self) -> list[str]:
        """Documents whose words are not those of their texts, a line each."""
        analyzer, damage = self.analyzer, []
        ids = dict(self.rows("SELECT term, id FROM terms"))
        for rows in self._texts():
            keys = [key for key, _, _ in rows]
            stored = dict(
                self.rows(
                    "SELECT document, counts FROM words JOIN chunks ON key = chunk"
                    f" WHERE document IN ({marks(keys)})",
                    keys,
                )
            )
            for key, title, text in rows:
                counts = [
                    {ids.get(term, -1): count for term, count in analyzer.counts(part).items()}
                    for part in (text, title)
                ]
                known = all(-1 not in part for part in counts)
                if not known or stored.get(key) != pack_counts(*counts):
                    id_ = self.rows("SELECT id FROM documents WHERE key = ?", [key])[0][0]
                    damage.append(f"the words of document {id_!a} are not those of its text")
        return damage


def marks(values: Sequence[object]) -> str:
    """Question marks for an SQL list."""
    return ", ".join("?" * len(values))
