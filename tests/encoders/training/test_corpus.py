"""The corpus: read from files, cut, each document once, and the same ones held out for ever."""

import gzip
import json
from pathlib import Path

from trimseek.encoders.training.corpus import (
    LONGEST,
    Document,
    in_pieces,
    is_held_out,
    known_by,
    read_corpus,
)
from trimseek.encoders.training.published import DESCRIPTIONS, PACKAGES
from trimseek.encoders.training.readers import Piece

ABSTRACTS = PACKAGES[0]


def write_gz(path: Path, rows: list[dict[str, str]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def passages(count: int) -> list[dict[str, str]]:
    return [
        {
            "title": f"Town {i}",
            "text": f"Town {i} lies by a river. Its bridge number {i} is old.",
            "source": "wikipedia-lead",
        }
        for i in range(count)
    ]


def folders(tmp_path: Path) -> tuple[Path, Path]:
    texts, published = tmp_path / "text", tmp_path / "published"
    texts.mkdir()
    write_gz(texts / "passages.jsonl.gz", passages(400))
    sentences = [f"Its bridge number {i} is old." for i in range(400)]
    write_gz(texts / "sentences-300k.jsonl.gz", [{"text": t, "source": "wiki"} for t in sentences])
    write_gz(texts / "questions.jsonl.gz", [{"text": "who built it?", "source": "nq-dev"}] * 2)
    place = published / ABSTRACTS.name / "data"
    place.mkdir(parents=True)
    (place / "a.xml.gz").write_bytes(
        gzip.compress(
            b"<S><PubmedArticle><ArticleTitle>Sleep.</ArticleTitle><AbstractText>It helps."
            b"</AbstractText></PubmedArticle></S>"
        )
    )
    (published / DESCRIPTIONS).write_text("Package: x\nDescription: a tool\n with more words\n\n")
    return texts, published


def test_documents_of_all_domains_each_once(tmp_path: Path) -> None:
    corpus = read_corpus(*folders(tmp_path))
    everything = corpus.training + corpus.held_out
    assert len(set(everything)) == len(everything)
    domains = {document.domain for document in everything}
    assert domains == {"encyclopedia", "questions", "medicine", "software"}
    assert Document("medicine", "Sleep", "It helps.") in everything
    assert Document("software", "a tool", "with more words") in everything
    assert len(corpus.files) == 5
    assert all(len(digest) == 64 for digest in corpus.files.values())


def test_nothing_of_a_held_out_document_is_trained_on(tmp_path: Path) -> None:
    corpus = read_corpus(*folders(tmp_path))
    towns = [d for d in corpus.held_out if d.title]
    assert 2 <= len(towns) <= 20  # one of 50 of 400, by chance
    trained_on = {document.text for document in corpus.training}
    for town in towns:
        assert town.text.partition(". ")[2] not in trained_on  # its sentence in another file
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    write_gz(fewer / "passages.jsonl.gz", passages(100))
    again = read_corpus(fewer, None)
    assert set(again.held_out) <= set(corpus.held_out)


def test_collections_are_left_out(tmp_path: Path) -> None:
    texts, published = folders(tmp_path)
    collection = tmp_path / "judged"
    collection.mkdir()
    rows = [
        {"_id": "1", "title": "town 5", "text": "Another text of it."},
        {"_id": "2", "title": "", "text": "TOWN 7 lies by a river.  Its bridge number 7 is old."},
    ]
    (collection / "corpus.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_gz(collection / "queries.jsonl.gz", [{"_id": "q", "text": "Who built it"}])
    corpus = read_corpus(texts, published, [collection])
    found = {document.title for document in corpus.training + corpus.held_out}
    assert "Town 6" in found
    assert not {"Town 5", "Town 7"} & found
    assert "questions" not in {document.domain for document in corpus.training}


def test_long_texts_are_cut_at_ends_of_sentences() -> None:
    sentence = "One two three four five six seven eight nine ten."
    pieces = list(in_pieces("news", Piece(" A \n title ", " ".join([sentence] * 40))))
    assert [piece.title for piece in pieces] == ["A title"] * 3
    lengths = [len(piece.text.split()) for piece in pieces]
    assert sum(lengths) == 400
    assert max(lengths) <= LONGEST
    assert all(piece.text.endswith("ten.") for piece in pieces)
    assert len(list(in_pieces("news", Piece("", " ".join([sentence] * 20))))) == 1  # a short end
    assert list(in_pieces("news", Piece("title", " \n"))) == []


def test_a_text_is_known_however_it_is_written() -> None:
    assert known_by("Who  built it?") == known_by("who built it")
    assert known_by("Who built it?") != known_by("Who bought it?")
    assert is_held_out(Document("a", "Same title", "x")) == is_held_out(
        Document("b", "same  title", "another text")
    )
