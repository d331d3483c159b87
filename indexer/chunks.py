"""Cut a document into passages that an encoder sees whole."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from trimseek.encoders.encoder import Encoder
from trimseek.encoders.recommender.items import KnownItems
from trimseek.encoders.tokens import TextTokenizer
from trimseek.indexer.documents import Document

DEFAULT_OVERLAP = 32
SENTENCE_ENDS = ".!?\n"
# A passage may end up to this share of its tokens early, to end with a sentence.
SENTENCE_SEARCH = 0.25
# Texts are tokenized in pieces of about this many characters, to bound memory.
PIECE = 65536


class Chunk(NamedTuple):
    """Characters ``start`` to ``end`` of a document's text, and what the encoder is given."""

    start: int
    end: int
    embedded: str


class DocumentChunker(Protocol):
    """Cuts documents into passages."""

    def chunks(self, document: Document) -> list[Chunk]:
        """The passages of a document, from first to last; at least one."""


def chunker_of(encoder: Encoder, overlap: int) -> DocumentChunker:
    """What cuts documents for an encoder; neighbours share ``overlap`` tokens."""
    if not encoder.card.items:
        return Chunker(encoder.tokenizer, overlap)
    texts = None if encoder.by_text is None else Chunker(encoder.by_text.tokenizer, overlap)
    return ItemChunker(encoder.items, texts)


class ItemChunker:
    """For a recommender: an item is one passage, of which the encoder is given the id.

    ``texts``: cuts the texts of items that it does not know, if it has an encoder for these.
    """

    def __init__(self, items: KnownItems, texts: "Chunker | None") -> None:
        self._items, self._texts = items, texts

    def chunks(self, document: Document) -> list[Chunk]:
        """The whole document, or the passages of its text."""
        if self._texts is not None and document.id not in self._items:
            return self._texts.chunks(document)
        return [Chunk(0, len(document.text), document.id)]


class Chunker:
    """Chunks of at most the encoder's tokens, each with the document's title before it.

    Neighbours share about ``overlap`` tokens. A title that would fill more than half of a
    chunk is cut. Chunks begin at words and end with sentences where they can.
    """

    def __init__(self, tokenizer: TextTokenizer, overlap: int = DEFAULT_OVERLAP) -> None:
        self._tokenizer = tokenizer
        self._overlap = overlap

    def chunks(self, document: Document) -> list[Chunk]:
        """The passages of a document, from first to last; at least one."""
        room = self._tokenizer.room
        title = self._cut(document.title, room // 2)
        room -= self._tokenizer.count(title)
        text = document.text
        spans = [
            (start + first, start + last)
            for start, end in pieces(text)
            for first, last in self._windows(text[start:end], room)
        ] or [(0, 0)]  # a title alone
        return [
            Chunk(start, end, f"{title} {text[start:end]}".strip() if title else text[start:end])
            for start, end in spans
        ]

    def _cut(self, title: str, room: int) -> str:
        offsets = self._tokenizer.offsets(title)
        return title if len(offsets) <= room else title[: offsets[room - 1][1]]

    def _windows(self, text: str, room: int) -> Iterator[tuple[int, int]]:
        """Start and end, in characters, of windows of at most ``room`` tokens."""
        offsets = self._tokenizer.offsets(text)
        first = 0
        while first < len(offsets):
            last = first + room
            if last >= len(offsets):
                yield offsets[first][0], offsets[-1][1]
                return
            last = break_before(text, offsets, last, int(room * (1 - SENTENCE_SEARCH)) + first)
            yield offsets[first][0], offsets[last - 1][1]
            back = min(self._overlap, (last - first) // 2)
            first = word_start(offsets, last - back, last)


def break_before(text: str, offsets: list[tuple[int, int]], last: int, lowest: int) -> int:
    """The token to stop before: the first of a sentence if one is near, else of a word."""
    word = None
    for token in range(last, max(lowest, 1) - 1, -1):
        start = offsets[token][0]
        gap = text[offsets[token - 1][1] : start]
        if not gap:
            continue
        word = word or token
        if "\n" in gap or text[offsets[token - 1][1] - 1] in SENTENCE_ENDS:
            return token
    return word or last


def word_start(offsets: list[tuple[int, int]], token: int, last: int) -> int:
    """The first token from ``token`` on that begins a word; ``last`` at the latest."""
    while token < last and token > 0 and offsets[token - 1][1] == offsets[token][0]:
        token += 1
    return token


def pieces(text: str) -> Iterator[tuple[int, int]]:
    """Cut a long text at white space into pieces of about PIECE characters."""
    start = 0
    while start < len(text):
        end = min(start + PIECE, len(text))
        if end < len(text):
            gap = max(text.rfind(" ", start, end), text.rfind("\n", start, end))
            end = gap + 1 if gap > start else end
        yield start, end
        start = end
