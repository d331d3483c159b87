"""Files are read as what they are: dialects, types, packings, texts, and what is left out."""

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ingest
from trimseek.encoders import DocumentEncoder
from trimseek.errors import CorpusError
from trimseek.indexer import Ingest, open_corpus
from trimseek.indexer.documents import Document, Fields, ReadOptions
from trimseek.indexer.metadata import metadata_json
from trimseek.indexer.notices import Notices
from trimseek.indexer.readers.files import PACKINGS


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def read(path: Path, **options: Any) -> list[Document]:
    return list(open_corpus(str(path), ReadOptions(**options)).documents())


def noticed(path: Path, **options: Any) -> Notices:
    corpus = open_corpus(str(path), ReadOptions(**options))
    list(corpus.documents())
    return corpus.notices


def column(folder: Path, *values: str, **options: Any) -> list[Any]:
    """What a CSV column of these values is read as; the field's absence as None."""
    lines = "".join(f'a text,"{value}"\n' for value in values)
    documents = read(write(folder, "column.csv", f"text,x\n{lines}"), **options)
    return [document.metadata.get("x") for document in documents]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["2019", "-5", "0"], [2019, -5, 0]),
        (["9.5", "10", "1e3", ".5", "-0.25"], [9.5, 10, 1000.0, 0.5, -0.25]),
        (["true", "False", "TRUE"], [True, False, True]),
        (["1", "", "  "], [1, None, None]),
        ([" 7", "8 "], [7, 8]),
        (["007", "8"], ["007", "8"]),
        (["1", "n/a"], ["1", "n/a"]),
        (["true", "1"], ["true", "1"]),
        (["1", "nan"], ["1", "nan"]),
        (["1", "inf"], ["1", "inf"]),
        (["+49", "+1"], ["+49", "+1"]),
        (["1,5", "2,5"], ["1,5", "2,5"]),
        (["1_000", "2"], ["1_000", "2"]),
        (["٣", "٤"], ["٣", "٤"]),
        (["9223372036854775807", "-9223372036854775808"], [2**63 - 1, -(2**63)]),
        (["9223372036854775808"], ["9223372036854775808"]),
        (["12345678901234567890.5"], ["12345678901234567890.5"]),
        (["1e999"], ["1e999"]),
        (["2024-01-05", "2024-02-01"], ["2024-01-05", "2024-02-01"]),
        (["2024-01-05 10:00:00"], ["2024-01-05T10:00:00"]),
        (["2024-01-05T10:00:00+02:00"], ["2024-01-05T08:00:00+00:00"]),
        (["2024-01-05T10:00:00Z"], ["2024-01-05T10:00:00+00:00"]),
        (["2024-13-05"], ["2024-13-05"]),
        (["01/05/2024"], ["01/05/2024"]),
        (["", ""], [None, None]),
    ],
)
def test_the_kind_of_a_column_is_that_of_all_its_values(
    values: list[str], expected: list[Any], tmp_path: Path
) -> None:
    got = column(tmp_path, *values)
    assert got == expected
    assert list(map(type, got)) == list(map(type, expected))
    assert column(tmp_path, *values, text_columns=True) == [
        value if value.strip() else None for value in values
    ]


@pytest.mark.parametrize(
    ("values", "remark"),
    [
        (["007", "8"], "'x' stays text, as '007' begins with 0"),
        (["1", "n/a"], "'x' stays text, as it holds 'n/a' beside numbers"),
        (["true", "yes"], "'x' stays text, as it holds 'yes' beside true/false"),
        (["1,5", "2,25"], "'x' stays text, as '1,5' has a comma for the point"),
        (["a", "b"], None),
        (["1", "2"], None),
    ],
)
def test_a_column_that_stays_text_says_why(
    values: list[str], remark: str | None, tmp_path: Path
) -> None:
    column(tmp_path, *values)
    assert noticed(tmp_path / "column.csv").remarks == ([remark] if remark else [])


def test_an_id_a_title_and_a_text_are_never_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "c.csv", "id,title,text,n\n01,1984,5.50,5\n2,2001,7,6\n")
    assert [(d.id, d.title, d.text, d.metadata["n"]) for d in read(path)] == [
        ("01", "1984", "5.50", 5),
        ("2", "2001", "7", 6),
    ]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("c.csv", "id;title;text\n1;A;hello, world\n2;B;a, b, c\n", ("1", "A", "hello, world")),
        ("c.csv", "id\ttext\n1\thello\n", ("1", "", "hello")),
        ("c.csv", "id|text\n1|hello\n", ("1", "", "hello")),
        ("c.csv", 'id, title, text\n1, A, "x, y"\n', ("1", "A", "x, y")),
        ("c.csv", " id , Title ,TEXT\n1,A,hello\n", ("1", "A", "hello")),
        ("c.csv", "id,title,text,,\n1,A,hello,,\n", ("1", "A", "hello")),
        ("c.csv", ",id,text\n0,1,hello\n", ("1", "", "hello")),
        ("c.csv", "id,text\n1,hello,\n", ("1", "", "hello")),
        ("c.csv", "sep=;\nid;text\n1;hello\n", ("1", "", "hello")),
        ("c.csv", "\ufeffid,text\r\n1,hello\r\n", ("1", "", "hello")),
        ("c.csv", 'id,text\n1,"two\nlines, ""quoted"""\n', ("1", "", 'two\nlines, "quoted"')),
        ("c.csv", "id;text\n1;a,b\n".encode("utf-16"), ("1", "", "a,b")),
        ("c.csv", "text\nhello; world\n", ("1", "", "hello; world")),
        ("c.tsv", 'id\ttext\n1\t"Big" data\n', ("1", "", '"Big" data')),
        ("c.tsv", 'id\ttext\n1\t"alpha\n2\tbeta"\n', ("1", "", '"alpha')),
        ("c.tsv", "id,text\n1,hello\n", ("1", "", "hello")),
        ("C.CSV", "id,text\n1,hello\n", ("1", "", "hello")),
        ("c.json", ' [{"id": 1, "text": "hello"}, {"id": 2, "text": "x"}]', ("1", "", "hello")),
        ("c.json", '\ufeff[\n{"id": 1,\n "text": "hello"}]', ("1", "", "hello")),
        ("c.json", '{"id": 1, "text": "hello"}\n{"id": 2, "text": "x"}', ("1", "", "hello")),
        ("c.jsonl", '{"ID": 1.0, "Content": "hello"}', ("1", "", "hello")),
    ],
)
def test_the_first_document(
    name: str, content: str | bytes, expected: tuple[str, str, str], tmp_path: Path
) -> None:
    document = read(write(tmp_path, name, content))[0]
    assert (document.id, document.title, document.text) == expected
    assert document.metadata == {}


def test_a_tsv_has_as_many_documents_as_lines(tmp_path: Path) -> None:
    content = 'id\ttext\n1\t"alpha is first\n2\tbeta"\n3\tga""mma\n'
    assert len(read(write(tmp_path, "c.tsv", content))) == 3


def zstd_packed(content: bytes) -> bytes:
    with io.BytesIO() as packed:
        with PACKINGS[".zst"](packed, "wb") as file:
            file.write(content)
        return packed.getvalue()


PACK: dict[str, Callable[[bytes], bytes]] = {
    "GZ": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd_packed,
}


@pytest.mark.parametrize("packing", PACK)
def test_packed_files(packing: str, tmp_path: Path) -> None:
    for name, content in (
        ("c.JSONL", b'{"id": "1", "text": "hello"}\n'),
        ("c.csv", b"id,text\n1,hello\n"),
        ("c.json", b'[{"id": "1", "text": "hello"}]'),
    ):
        path = write(tmp_path, f"{name}.{packing}", PACK[packing](content))
        assert [(d.id, d.text) for d in read(path)] == [("1", "hello")]
        cut = write(tmp_path, f"cut-{name}.{packing}", PACK[packing](content * 9)[:-9])
        with pytest.raises(CorpusError, match=r"cut-c\S+ cannot be (read|unpacked)"):
            read(cut)
    beir = write(
        tmp_path / "beir", f"corpus.jsonl.{packing.lower()}", PACK[packing](b'{"text":"x"}')
    )
    assert len(read(beir.parent)) == 1


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "c.csv",
            "key,headline\n1,x\n",
            r"c\.csv:2: no field 'text'; there are 'key', 'headline'",
        ),
        ("c.csv", "id,text , text\n1,x,y\n", r"c\.csv:1: two columns have the same name: 'text'"),
        ("c.csv", b"id,text\n1,caf\xe9\n", r"c\.csv:2: byte 6 is not UTF-8.* iconv -f latin1"),
        (
            "c.json",
            '[{"id": 1, "text": "x"}, {"id": 2,]',
            r"malformed JSON after element 1",
        ),
        ("c.json", '[{"id": 1}]', r"c\.json: element 1: no field 'text'; there are 'id'"),
        ("c.json", "[1]", r"c\.json: element 1: expected an object with fields, got int"),
        ("c.json", '{\n"id": 1}', r"c\.json:1: malformed JSON"),
        ("c.jsonl", '{"text": "x", "n": Infinity}', r"c\.jsonl:1: metadata field 'n': inf is no"),
        ("c.jsonl", '{"id": NaN, "text": "x"}', r"c\.jsonl:1: field 'id', the id, is empty"),
        ("c.jsonl", "{}".encode("utf-16"), r"c\.jsonl: UTF-16, and JSON Lines are UTF-8"),
        ("c.parquet.gz", b"", r"unknown kind of corpus '\.parquet\.gz'"),
        ("c.txt", "alone", r"c\.txt: a text file alone; give the folder that holds it"),
        ("d/image.png", b"\x89PNG", r"nor \.txt, .*\.htm files; there are 1 \.png"),
    ],
)
def test_what_cannot_be_read_says_why(
    name: str, content: str | bytes, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(CorpusError, match=message):
        read(path.parent if "/" in name else path)


def test_nan_is_no_value(tmp_path: Path) -> None:
    path = write(tmp_path, "c.jsonl", '{"id": 1, "text": "hello", "score": NaN, "v": [1, NaN]}\n')
    assert read(path)[0].metadata == {"score": None, "v": [1, None]}


def test_parquet_types(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    berlin = timezone(timedelta(hours=1))
    columns = {
        "id": arrow.array([1.0, 2.0]),
        "text": arrow.array([b"alpha one", b"beta two"]),
        "price": arrow.array([Decimal("9.99"), Decimal("120.00")], arrow.decimal128(10, 2)),
        "whole": arrow.array([Decimal(5), Decimal(10**15)], arrow.decimal128(20, 0)),
        "huge": arrow.array([Decimal(10**20), Decimal(5)], arrow.decimal128(30, 0)),
        "unsigned": arrow.array([2**64 - 1, 1], arrow.uint64()),
        "small": arrow.array([2**62, 1], arrow.uint64()),
        "ts": arrow.array([datetime(2024, 1, 5, 9), None], arrow.timestamp("us")),
        "ns": arrow.array([1704448800123456789, 0], arrow.timestamp("ns")),
        "zone": arrow.array(
            [datetime(2024, 1, 5, 9, tzinfo=berlin)] * 2, arrow.timestamp("us", tz="Europe/Berlin")
        ),
        "times": arrow.array([[1704448800123456789], None], arrow.list_(arrow.timestamp("ns"))),
        "day": arrow.array([date(2024, 1, 5)] * 2),
        "took": arrow.array([timedelta(seconds=5), timedelta(milliseconds=1)]),
        "raw": arrow.array([b"\x00\x01", b"ab"]),
        "code": arrow.array([b"xy", b"ab"]),
        "map": arrow.array([[("k", "v")], []], arrow.map_(arrow.string(), arrow.string())),
        "score": arrow.array([1.0, float("nan")]),
        "nested": arrow.array([[0.5, float("nan")], []]),
        "kind": arrow.array(["u", "u"]).dictionary_encode(),
    }
    path = tmp_path / "types.parquet"
    parquet.write_table(arrow.table(columns), path)
    first, second = read(path)
    assert (first.id, first.text, second.id) == ("1", "alpha one", "2")
    assert json.loads(metadata_json(first.metadata, "here")) == {
        "price": 9.99,
        "whole": 5,
        "huge": str(10**20),
        "unsigned": str(2**64 - 1),
        "small": 2**62,
        "ts": "2024-01-05T09:00:00",
        "ns": "2024-01-05T10:00:00.123456",
        "zone": "2024-01-05T08:00:00+00:00",
        "times": ["2024-01-05T10:00:00.123456"],
        "day": "2024-01-05",
        "took": 5.0,
        "raw": "AAE=",
        "code": "xy",
        "map": {"k": "v"},
        "score": 1.0,
        "nested": [0.5, None],
        "kind": "u",
    }
    assert second.metadata["score"] is None
    assert second.metadata["raw"] == "YWI="
    assert noticed(path).remarks == [
        "'raw' holds bytes that are no text: read as base64",
        "'huge' is read as text, as it has more than 64 bits",
        "'unsigned' is read as text, as it has more than 64 bits",
    ]


def test_parquet_with_two_columns_of_one_name(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    names = ["id", "text", "text"]
    table = arrow.Table.from_arrays([arrow.array([name]) for name in names], names=names)
    parquet.write_table(table, tmp_path / "c.parquet")
    with pytest.raises(CorpusError, match="two columns have the same name: 'text'"):
        read(tmp_path / "c.parquet")


def test_values_that_json_has_no_form_for() -> None:
    values = {
        "n": np.int64(5),
        "f": np.float32(0.5),
        "b": np.bool_(True),
        "v": np.arange(2),
        "d": Decimal("2.50"),
        "t": datetime(2024, 1, 5, 10, tzinfo=UTC),
        "l": [date(2024, 1, 5)],
    }
    assert json.loads(metadata_json(values, "here")) == {
        "n": 5,
        "f": 0.5,
        "b": True,
        "v": [0, 1],
        "d": 2.5,
        "t": "2024-01-05T10:00:00+00:00",
        "l": ["2024-01-05"],
    }
    for value, kind in ((b"x", "bytes"), ({1}, "set"), (object(), "object")):
        with pytest.raises(CorpusError, match=f"metadata field 'x': {kind} cannot be stored"):
            metadata_json({"x": value}, "here")


@pytest.mark.parametrize(
    ("content", "title", "text", "metadata"),
    [
        ("```bash\n# install first\n```\n\n# Real *Title*\n", "Real Title", None, {}),
        ("    # code\n\nSetext Title\n===\n", "Setext Title", None, {}),
        ("text\n\n## Second level\n", "name", None, {}),
        (
            "---\ntitle: Front Matter\ntags: [x, y]\ndate: 2024-01-05\n---\n\n# Heading\nbody",
            "Front Matter",
            "\n# Heading\nbody",
            {"tags": ["x", "y"], "date": date(2024, 1, 5)},
        ),
        ('+++\ntitle = "T"\nyear = 2020\n+++\nbody', "T", "body", {"year": 2020}),
        ("---\r\ndraft: true\r\n---\r\n# H\r\n", "H", "# H\r\n", {"draft": True}),
        ("---\n\nBetween rules: a, b\n- c\n\n---\nmore", "name", None, {}),
        ("---\na: &a [x, x]\nb: [*a, *a]\n---\nbody", "name", None, {}),
        ("---\nnot closed", "name", None, {}),
    ],
)
def test_markdown(
    content: str, title: str, text: str | None, metadata: dict[str, Any], tmp_path: Path
) -> None:
    write(tmp_path, "name.md", content)
    (document,) = read(tmp_path)
    assert (document.title, document.metadata) == (title, metadata)
    assert document.text == (content if text is None else text)


def test_html(tmp_path: Path) -> None:
    page = (
        "<!doctype html><html><head><title> The\n title </title><style>p {color: red}</style>"
        "<script>var x = 1;</script></head><body><p>one<b>word</b> two</p><p>three &amp; é</p>"
        "<ul><li>a<li>b</ul></body></html>"
    )
    write(tmp_path, "a.html", page)
    write(tmp_path, "b.htm", "<meta charset=iso-8859-1><p>caf\xe9".encode("latin-1"))
    write(tmp_path, "c.HTML", "<p>no title")
    texts = {document.id: (document.title, document.text.split()) for document in read(tmp_path)}
    assert texts == {
        "a.html": ("The title", "oneword two three & é * a * b".split()),
        "b.htm": ("b", ["café"]),
        "c.HTML": ("c", ["no", "title"]),
    }


def test_what_a_folder_leaves_out_is_said(tmp_path: Path) -> None:
    write(tmp_path, "docs/a.txt", "plain")
    write(tmp_path, "docs/b.pdf", b"%PDF")
    write(tmp_path, "docs/c.pdf", b"%PDF")
    write(tmp_path, "docs/.hidden/d.txt", "no")
    write(tmp_path, "elsewhere/e.txt", "no")
    (tmp_path / "docs" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "docs" / "gone.txt").symlink_to(tmp_path / "nothing")
    corpus = open_corpus(str(tmp_path / "docs"))
    assert [document.id for document in corpus.documents()] == ["a.txt"]
    assert corpus.notices.remarks == [
        "left out: 2 files of other kinds; there are 2 .pdf",
        "not entered: 1 linked folder",
    ]


@pytest.mark.parametrize(
    ("name", "content", "good", "bad"),
    [
        ("c.jsonl", '{"id": "a", "text": "x"}\n{"id": \n{"id": "b", "text": 5}\n[]\n', 2, 2),
        ("c.csv", "id,text\na,x\nb\nc,y,z\nd,w\n", 2, 2),
        ("c.json", '[{"id": "a", "text": "x"}, 5, {"id": "b", "text": "y"}]', 2, 1),
    ],
)
def test_bad_parts_are_skipped_when_that_is_asked_for(
    name: str, content: str, good: int, bad: int, tmp_path: Path
) -> None:
    path = write(tmp_path, name, content)
    with pytest.raises(CorpusError):
        read(path)
    assert len(read(path, skip_bad=True)) == good
    notices = noticed(path, skip_bad=True)
    assert notices.bad == len(notices.bad_parts) == bad
    assert all(part.startswith(str(path)) for part in notices.bad_parts)


def test_a_run_that_skips_counts_names_and_removes_nothing(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    corpus, folder = tmp_path / "docs", tmp_path / "index"
    for name in "abc":
        write(corpus, f"{name}.txt", f"a text of {name}")
    ingest(corpus, folder, tiny_encoder)
    write(corpus, "b.txt", b"\xff")
    (corpus / "c.txt").unlink()
    encoder = DocumentEncoder(tiny_encoder)
    with pytest.raises(CorpusError, match="b.txt:1: byte 1 is not UTF-8"):
        Ingest(open_corpus(str(corpus)), folder, encoder, "tiny").run()
    skipping = open_corpus(str(corpus), ReadOptions(skip_bad=True))
    report = Ingest(skipping, folder, encoder, "tiny", sync=True).run()
    assert (report.bad, report.unchanged, report.removed) == (1, 1, 0)
    assert "b.txt:1: byte 1 is not UTF-8" in report.bad_parts[0]
    assert report.remarks == ["nothing was removed, as what could not be read may be in the index"]
    write(corpus, "a.txt", b"\xff")
    with pytest.raises(
        CorpusError, match=r"none of its 2 parts can be read: .*a\.txt:1: byte 1 is not UTF-8"
    ):
        Ingest(open_corpus(str(corpus), ReadOptions(skip_bad=True)), folder, encoder, "tiny").run()


def test_the_summary_says_how_each_field_was_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "c.csv",
        "doc_id,Text,year,code,day\nx,hello,2020,01,2024-01-05\ny,bye,2021,2,2024-01-06\n",
    )
    notices = noticed(path)
    assert notices.fields() == {
        "Text": "text",
        "doc_id": "text",
        "year": "numbers",
        "code": "text",
        "day": "dates",
    }
    assert notices.sentences() == [
        "fields: text from 'Text'",
        "metadata: doc_id (text), year (numbers), code (text), day (dates)",
        "'code' stays text, as '01' begins with 0",
        "no field is the id, so documents are called by their numbers; 'doc_id' has another value "
        "in each: --id-field doc_id takes it",
    ]
    assert noticed(path, fields=Fields(id="doc_id")).sentences()[0] == (
        "fields: id from 'doc_id', text from 'Text'"
    )
    same = write(tmp_path, "same.jsonl", '{"doc_id": 1, "text": "x"}\n{"doc_id": 1, "text": "y"}\n')
    assert noticed(same).sentences()[-1] == (
        "no field is the id, so documents are called by their numbers"
    )
