import gzip
import io
import json
import sys
from pathlib import Path

import pytest

from trimseek.errors import CorpusError
from trimseek.indexer.corpus import open_corpus
from trimseek.indexer.documents import Document, Fields


def read(path: Path | str, fields: Fields | None = None) -> list[Document]:
    return list(open_corpus(str(path), fields).documents())


def summary(documents: list[Document]) -> list[tuple[str, str, str, dict[str, object]]]:
    return [(d.id, d.title, d.text, dict(d.metadata)) for d in documents]


def test_jsonl_rows_may_have_different_keys(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_text(
        '\ufeff{"_id": "a", "title": "T", "text": "one", "year": 2020}\n\n'
        '{"id": 7, "text": "two", "tags": ["x"], "title": null}\n{"text": "three"}\n',
        "utf-8",
    )
    documents = read(path)
    assert summary(documents) == [
        ("a", "T", "one", {"year": 2020}),
        ("7", "", "two", {"tags": ["x"]}),
        ("4", "", "three", {}),  # no id: the line's number
    ]
    assert documents[1].where == f"{path}:3"


def test_gzip_and_named_fields(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"key": "k", "head": "H", "words": "w", "text": "meta"}\n'))
    documents = read(path, Fields(id="key", title="head", text="words"))
    assert summary(documents) == [("k", "H", "w", {"text": "meta"})]


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text('id,text,lang\na,"two\nlines",en\nb,x,de\n', "utf-8")
    documents = read(path)
    assert summary(documents) == [
        ("a", "", "two\nlines", {"lang": "en"}),
        ("b", "", "x", {"lang": "de"}),
    ]
    assert documents[1].where == f"{path}:4"


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"_id": ["a", "b"], "text": ["one", "two"], "n": [1, None]})
    parquet.write_table(table, tmp_path / "c.parquet")
    assert summary(read(tmp_path / "c.parquet")) == [
        ("a", "", "one", {"n": 1}),
        ("b", "", "two", {"n": None}),
    ]
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 nothing")
    with pytest.raises(CorpusError, match=r"bad\.parquet: not a readable Parquet file"):
        read(tmp_path / "bad.parquet")


def test_folder_of_text_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "b.md").write_text("intro\n# Heading\ntext")
    (tmp_path / "a.txt").write_text("plain")
    (tmp_path / "image.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden.txt").write_text("no")
    assert summary(read(tmp_path)) == [
        ("a.txt", "a", "plain", {}),
        ("sub/b.md", "Heading", "intro\n# Heading\ntext", {}),
    ]


def test_beir_folder(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "1", "title": "t", "text": "x"}\n')
    assert summary(read(tmp_path)) == [("1", "t", "x", {})]


def test_standard_input_can_be_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(b'{"_id": "1", "text": "x"}\n'))
    monkeypatch.setattr(sys, "stdin", stream)
    corpus = open_corpus("-")
    assert summary(list(corpus.documents())) == summary(list(corpus.documents()))


def test_hub_dataset_from_a_local_folder(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text('{"_id": "1", "text": "x", "lang": "en"}\n')
    corpus = open_corpus(f"hub:{data}")
    assert corpus.streamed
    assert summary(list(corpus.documents())) == [("1", "", "x", {"lang": "en"})]


def test_unknown_hub_dataset_fails_with_one_line() -> None:
    pytest.importorskip("datasets")
    with pytest.raises(CorpusError, match="hub:no-such-owner/no-such-set: cannot be read"):
        read("hub:no-such-owner/no-such-set")


def test_sample_python_is_large_unique_and_public() -> None:
    documents = read("sample:python")
    by_id = {document.id: document for document in documents}
    assert len(by_id) == len(documents) > 3000
    assert by_id["shlex.split"].text.startswith("Split the string")
    assert by_id["str.strip"].metadata == {"kind": "function", "module": "builtins"}
    assert {"json", "os.path.join", "pathlib.Path.exists", "bisect.bisect_left"} <= by_id.keys()
    assert not any(part.startswith("_") for id_ in by_id for part in id_.split("."))
    assert all(document.text.strip() for document in documents)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"_id": "1", "text": "x"}\n{"_id": ', r"c\.jsonl:2: malformed JSON"),
        (
            b'{"_id": "1"}\n',
            r"c\.jsonl:1: no field 'text'; there are '_id': name the text's field with --text-",
        ),
        (b'{"_id": "1", "text": ["x"]}\n', r"c\.jsonl:1: field 'text' must be text, not list"),
        (b'{"_id": {"a": 1}, "text": "x"}\n', r"c\.jsonl:1: field '_id' must be text, not dict"),
        (b'{"_id": " ", "text": "x"}\n', r"c\.jsonl:1: field '_id', the id, is empty"),
        (b'["list"]\n', r"c\.jsonl:1: expected an object with fields, got list"),
        (b'{"_id": "1", "text": "\xff"}\n', r"c\.jsonl:1: not UTF-8 at byte 22"),
        (b'{"_id": "1", "text": "a\\u0000b"}\n', r"c\.jsonl:1: the text holds a NUL"),
        (b'{"_id": "\\u0000", "text": "x"}\n', r"c\.jsonl:1: the id holds a NUL"),
        (b'{"_id": "1", "text": "a\\ud800"}\n', r"c\.jsonl:1: the text holds a lone surrogate"),
        (b'{"_id": "1", "text": "x", "m": "\\ud800"}\n', r"c\.jsonl:1: the metadata holds a lone"),
        (b"[" * 100_000 + b"\n", r"c\.jsonl:1: malformed JSON"),
    ],
)
def test_bad_lines_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path / "c.jsonl")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id,id,text\na,b,c\n", r"c\.csv:1: two columns have the same name"),
        (b"id,text\na,b,c\n", r"c\.csv:2: 3 columns where the header has 2"),
        (b"id,text\na,\xff\n", r"c\.csv:2: byte 3 is not UTF-8"),
        (b'id,text\na,"open\n', r"c\.csv:\d: malformed"),
    ],
)
def test_bad_tables_are_named(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_bytes(content)
    with pytest.raises(CorpusError, match=message):
        read(tmp_path / "c.csv")


def test_named_fields_must_be_there(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(json.dumps({"text": "x"}))
    with pytest.raises(CorpusError, match="no field 'key', which --id-field names"):
        read(tmp_path / "c.jsonl", Fields(id="key"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.jsonl", "no such file or folder"),
        ("empty-folder", "a folder with neither corpus.jsonl nor .txt, .md,"),
        ("data.jsonl", "a folder with neither"),
        ("file.xyz", "unknown kind of corpus '.xyz'"),
        ("cut.jsonl.gz", "cannot be read after line"),
        ("bad.txt.d", "bad.txt:1: byte 1 is not UTF-8"),
    ],
)
def test_bad_files_are_named(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty-folder").mkdir()
    (tmp_path / "data.jsonl").mkdir()
    (tmp_path / "bad.txt.d").mkdir()
    (tmp_path / "bad.txt.d" / "bad.txt").write_bytes(b"\xff")
    (tmp_path / "file.xyz").touch()
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"_id": "1", "text": "x"}\n' * 99)[:40])
    with pytest.raises(CorpusError, match=message):
        read(tmp_path / name)
