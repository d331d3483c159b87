"""The corpus that the package's encoders are trained on: unlabelled documents of several domains.

It is read from a folder with questions, passages and sentences (``TEXTS``) and from the packages
that ``published`` fetches. Which documents are held out follows from a hash of each, so that it is
the same ones whatever else is read, in every training, for ever.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from trimseek.atomic import sha256_of
from trimseek.console import note
from trimseek.encoders.training.published import DESCRIPTIONS, PACKAGES
from trimseek.encoders.training.readers import Piece, packages
from trimseek.encoders.unlabelled import open_text, sentences

DOMAINS_OF_SOURCES = {
    "wikipedia-paragraph": "encyclopedia",
    "wikipedia-lead": "encyclopedia",
    "squad-train-paragraph": "encyclopedia",
    "wiki": "encyclopedia",
    "squad": "encyclopedia",
    "paper-abstract": "science",
    "paper": "science",
    "wordnet-gloss": "dictionary",
    "wordnet": "dictionary",
}
QUESTIONS = "questions"
FILES = (
    "questions.jsonl.gz",
    "passages.jsonl.gz",
    "passages-more.jsonl.gz",
    "sentences-300k.jsonl.gz",
)
HELD_OUT_OF = 50  # one document of so many is held out
LONGEST = 180  # words; longer texts are cut at ends of sentences
SHORTEST_END = 40  # words; a shorter end of a long text goes to what is before it
WORDS_THAT_TELL = 12  # a text is known by so many of its first words


class Document(NamedTuple):
    """A text of a domain; the title is empty where it has none."""

    domain: str
    title: str
    text: str

    @property
    def whole(self) -> str:
        """The title before the text, as documents are embedded."""
        return f"{self.title} {self.text}".strip()


class Corpus(NamedTuple):
    """Documents to train on and documents held out, and the sha256 of each file they came from."""

    training: list[Document]
    held_out: list[Document]
    files: dict[str, str]


def read_corpus(texts: Path, published: Path | None, without: Sequence[Path] = ()) -> Corpus:
    """All documents, each once.

    ``texts``: the folder of ``FILES``. ``published``: the folder of ``published.fetch``.
    ``without``: collections in BEIR format, whose documents and queries are left out. CorpusError
    or OSError if a file cannot be read.
    """
    files: dict[str, str] = {}
    rows = list(unlabelled(texts, files))
    if published is not None:
        rows += fetched(published, files)
    excluded = {known_by(text) for collection in without for text in of_collection(collection)}
    seen: set[str] = set()
    training, held_out = list[Document](), list[Document]()
    for document in rows:
        key = known_by(document.text)
        title = known_by(document.title)
        if key in seen or key in excluded or (title in excluded and len(title.split()) > 1):
            continue
        seen.add(key)
        (held_out if is_held_out(document) else training).append(document)
    # sentences have no title that tells which document they are from
    apart = {known_by(text) for document in held_out for text in sentences(document.text)}
    training = [document for document in training if known_by(document.text) not in apart]
    return Corpus(training, held_out, files)


def unlabelled(folder: Path, files: dict[str, str]) -> Iterator[Document]:
    """The documents of ``FILES`` that are there; notes their checksums in ``files``."""
    for name in FILES:
        if not (folder / name).is_file():
            continue
        files[name] = sha256_of(folder / name)
        with open_text(folder / name) as lines:
            for row in map(json.loads, lines):
                domain = DOMAINS_OF_SOURCES.get(row.get("source", ""), QUESTIONS)
                yield from in_pieces(domain, Piece(row.get("title") or "", row["text"]))


def fetched(folder: Path, files: dict[str, str]) -> Iterator[Document]:
    """The documents of all published packages; notes checksums of their texts in ``files``."""
    for package in PACKAGES:
        paths = [path for path in (folder / package.name).glob(package.files) if path.is_file()]
        if not paths:
            note(f"{folder}: nothing of {package.name} ({package.files}); left out")
            continue
        digest, count = hashlib.sha256(), 0
        for path in sorted(paths):
            digest.update(path.read_bytes())
            for piece in package.reader(path):
                count += 1
                yield from in_pieces(package.domain, piece)
        files[f"{package.name} {package.files}"] = digest.hexdigest()
        note(f"{package.name}: {count:,} texts of {package.domain}")
    if (folder / DESCRIPTIONS).is_file():
        files[DESCRIPTIONS] = sha256_of(folder / DESCRIPTIONS)
        for piece in packages(folder / DESCRIPTIONS):
            yield from in_pieces("software", piece)


def in_pieces(domain: str, piece: Piece) -> Iterator[Document]:
    """A text as documents: white space made plain, and long texts cut at ends of sentences."""
    title = " ".join(piece.title.split())
    words: list[str] = []
    text = " ".join(piece.text.split())
    if len(text.split()) <= LONGEST:
        if text:
            yield Document(domain, title, text)
        return
    parts: list[list[str]] = []
    for sentence in sentences(text):
        more = sentence.split()[:LONGEST]
        if words and len(words) + len(more) > LONGEST:
            parts.append(words)
            words = []
        words = words + more
    if parts and len(words) < SHORTEST_END:
        parts[-1] = parts[-1] + words
    else:
        parts.append(words)
    for part in parts:
        yield Document(domain, title, " ".join(part))


def known_by(text: str) -> str:
    """What a text is told by where it may be written a little differently."""
    return " ".join(text.lower().split()[:WORDS_THAT_TELL]).strip(" .?!\"'")


def is_held_out(document: Document) -> bool:
    """Whether a document is held out, as all of the same title are."""
    digest = hashlib.sha256(known_by(document.title or document.text).encode()).digest()
    return int.from_bytes(digest[:4], "big") % HELD_OUT_OF == 0


def of_collection(folder: Path) -> Iterator[str]:
    """Titles, texts and queries of a collection in BEIR format."""
    for name in ("corpus.jsonl", "queries.jsonl"):
        for path in (folder / name, folder / f"{name}.gz"):
            if not path.is_file():
                continue
            with open_text(path) as lines:
                for row in map(json.loads, lines):
                    yield from filter(None, (row.get("title"), row["text"]))
