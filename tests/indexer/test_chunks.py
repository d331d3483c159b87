import itertools
import random

import pytest

from tests.tiny import tiny_tokenizer
from trimseek.encoders.tokens import TextTokenizer
from trimseek.indexer.chunks import PIECE, Chunker
from trimseek.indexer.documents import Document


@pytest.fixture
def tokenizer() -> TextTokenizer:
    return TextTokenizer(tiny_tokenizer(), 34)  # room for 32


def passages(text: str, tokenizer: TextTokenizer, title: str = "", overlap: int = 4) -> list[str]:
    chunks = Chunker(tokenizer, overlap).chunks(Document("1", title, text))
    prefix = f"{title} " if title else ""
    for chunk in chunks:
        assert chunk.embedded == (prefix + text[chunk.start : chunk.end]).strip()
    return [text[chunk.start : chunk.end] for chunk in chunks]


def test_a_short_document_is_one_chunk(tokenizer: TextTokenizer) -> None:
    assert passages("split the words", tokenizer, "shell") == ["split the words"]


def test_a_title_alone_is_one_chunk(tokenizer: TextTokenizer) -> None:
    assert Chunker(tokenizer).chunks(Document("1", "shell", " "))[0].embedded == "shell"


@pytest.mark.parametrize("seed", range(20))
def test_chunks_fit_cover_and_overlap(seed: int, tokenizer: TextTokenizer) -> None:
    chosen = random.Random(seed)
    words = ["the", "shell", "xyz", "a", "file.", "in\n", "12345", "é", "。"]
    text = " ".join(chosen.choices(words, k=chosen.randint(40, 400)))
    chunks = Chunker(tokenizer, 4).chunks(Document("1", "of the list", text))
    assert len(chunks) > 1
    for chunk in chunks:
        assert not tokenizer.encode([chunk.embedded])[0].truncated
    covered = 0
    for chunk in chunks:
        assert not text[covered : chunk.start].strip()  # nothing is lost between chunks
        assert chunk.end > covered
        covered = chunk.end
    assert not text[covered:].strip()
    assert sum(b.start < a.end for a, b in itertools.pairwise(chunks)) >= len(chunks) / 2


def test_chunks_end_with_sentences_where_they_can(tokenizer: TextTokenizer) -> None:
    sentence = "the list of words in the file is for the shell ."
    parts = passages(" ".join([sentence] * 12), tokenizer, overlap=0)
    assert all(part.endswith(".") for part in parts)


def test_a_word_longer_than_a_chunk_is_cut(tokenizer: TextTokenizer) -> None:
    parts = passages("abc" * 30, tokenizer)
    assert len(parts) >= 3


def test_a_huge_title_is_cut_and_the_text_still_embedded(tokenizer: TextTokenizer) -> None:
    chunks = Chunker(tokenizer).chunks(Document("1", "the " * 500, "shell command " * 20))
    assert all(chunk.embedded.endswith(("shell", "command")) for chunk in chunks)
    assert all(len(chunk.embedded.split()) <= 32 for chunk in chunks)


def test_a_long_text_is_tokenized_in_pieces(tokenizer: TextTokenizer) -> None:
    text = "shell words " * (PIECE // 6)
    chunks = Chunker(tokenizer).chunks(Document("1", "", text))
    assert chunks[-1].end == len(text.rstrip())
    assert all(b.start <= a.end + 1 for a, b in itertools.pairwise(chunks))
