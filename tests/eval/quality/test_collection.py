from pathlib import Path

import pytest

from tests.conftest import Run
from trimseek.errors import CorpusError
from trimseek.eval.figures.demo import QUESTIONS
from trimseek.eval.quality.collection import read_collection


def write_collection(folder: Path, queries: str, qrels: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        '{"_id": "1", "title": "T", "text": "one"}\n{"_id": "2", "title": "", "text": ""}\n'
    )
    (folder / "queries.jsonl").write_text(queries)
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


QUERIES = '{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "not judged"}\n'
HEADER = "query-id\tcorpus-id\tscore\n"


def test_a_beir_folder_is_read(tmp_path: Path) -> None:
    qrels = f"{HEADER}q1\t1\t2\nq1\t2\t0\n"
    collection = read_collection(str(write_collection(tmp_path / "set", QUERIES, qrels)))
    assert collection.name == "set"
    assert collection.documents == {"1": "T one", "2": ""}
    assert collection.queries == {"q1": "first"}
    assert collection.qrels == {"q1": {"1": 2, "2": 0}}
    assert collection.is_judged


def test_graded_and_negative_judgments_are_kept(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "set", QUERIES, "q1\t1\t3\nq1\t2\t-1\n")
    assert read_collection(str(folder)).qrels["q1"] == {"1": 3, "2": -1}


@pytest.mark.parametrize(
    ("queries", "qrels", "message"),
    [
        (QUERIES, "q1\t1\t1\nq1 1 1\n", r"test\.tsv:2: expected query-id, corpus-id and a whole"),
        (QUERIES, f"{HEADER}q1\t1\thigh\n", r"test\.tsv:2: expected"),
        (QUERIES, "q1\t1\t1\nq1\t1\t0\n", r"test\.tsv:2: judges 'q1' and '1' a second time"),
        (QUERIES, "q1\t1\t99999999999\n", r"test\.tsv:1: expected .* at most a million"),
        ('{"_id": "q1", "text": "\\ud800"}\n', "q1\t1\t1\n", r"query 'q1' is not Unicode text"),
        (QUERIES, HEADER, r"test\.tsv: no judgments of a relevant"),
        (QUERIES, "", r"test\.tsv: no judgments of a relevant"),
        (QUERIES, "q1\t1\t0\n", r"test\.tsv: no judgments of a relevant"),
        (QUERIES, "q9\t1\t1\n", r"judges 1 queries that are not among the queries, such as 'q9'"),
        ("", "q1\t1\t1\n", r"queries\.jsonl: no queries"),
        ('{"_id": "q1"}\n', "q1\t1\t1\n", r"queries\.jsonl:1: expected an object with _id and"),
        ('{"_id": "q1", "text": 3}\n', "q1\t1\t1\n", r"queries\.jsonl:1: expected an object"),
        ('["q1"]\n', "q1\t1\t1\n", r"queries\.jsonl:1: expected an object with _id and text"),
        ('{"_id": "q1", "text": " "}\n', "q1\t1\t1\n", r"queries\.jsonl: query 'q1' is empty"),
        (QUERIES + QUERIES, "q1\t1\t1\n", r"queries\.jsonl:3: a second query with the id 'q1'"),
        ("{", "q1\t1\t1\n", r"queries\.jsonl:1: malformed JSON"),
    ],
)
def test_bad_collections_are_named(queries: str, qrels: str, message: str, tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "set", queries, qrels)
    with pytest.raises(CorpusError, match=message):
        read_collection(str(folder))


def test_qrels_that_are_no_text(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "set", QUERIES, "")
    (folder / "qrels" / "test.tsv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CorpusError, match=r"test\.tsv: not UTF-8"):
        read_collection(str(folder))


def test_another_split_is_offered(tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "set", QUERIES, "q1\t1\t1\n")
    with pytest.raises(CorpusError, match=r"dev\.tsv: missing; there are test \(--split\)"):
        read_collection(str(folder), "dev")


def test_unknown_documents_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_collection(tmp_path / "set", QUERIES, "q1\t1\t1\nq1\tgone\t1\n")
    assert read_collection(str(folder)).qrels["q1"]["gone"] == 1
    assert "judges 1 documents that are not in the corpus" in capsys.readouterr().err


def test_a_corpus_without_judgments_has_its_own_sentences_as_queries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("The first sentence is here. So is a second sentence.\n")
    (tmp_path / "b.txt").write_text("short\n")
    collection = read_collection(str(tmp_path))
    assert not collection.is_judged
    assert len(collection.queries) == 2
    assert set(collection.queries.values()) & {
        "The first sentence is here.",
        "So is a second sentence.",
    }
    assert read_collection(str(tmp_path)) == collection
    assert "2 sentences of its documents are taken" in capsys.readouterr().err


def test_queries_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("text")
    (tmp_path / "q.txt").write_text("first question\n\nsecond question\n")
    collection = read_collection(str(tmp_path / "docs"), queries_file=tmp_path / "q.txt")
    assert collection.queries == {"1": "first question", "3": "second question"}
    judged = write_collection(tmp_path / "set", QUERIES, "q1\t1\t1\n")
    with pytest.raises(CorpusError, match="leave --queries out"):
        read_collection(str(judged), queries_file=tmp_path / "q.txt")


def test_a_collection_in_the_hubs_layout(tmp_path: Path) -> None:
    """A local folder as mteb's data sets are; the hub itself cannot be reached from tests."""
    folder = write_collection(tmp_path / "set", QUERIES, "")
    (folder / "qrels" / "test.tsv").unlink()
    (folder / "qrels" / "test.jsonl").write_text(
        '{"query-id": "q1", "corpus-id": "1", "score": 1.0}\n'
    )
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        "- config_name: default\n  data_files:\n  - split: test\n    path: qrels/test.jsonl\n"
        "- config_name: corpus\n  data_files:\n  - split: corpus\n    path: corpus.jsonl\n"
        "- config_name: queries\n  data_files:\n  - split: queries\n    path: queries.jsonl\n"
        "---\n"
    )
    collection = read_collection(f"hub:{folder}")
    assert collection.documents == {"1": "T one", "2": ""}
    assert collection.queries == {"q1": "first"}
    assert collection.qrels == {"q1": {"1": 1}}


def test_a_hub_that_does_not_answer_is_one_clear_line(run: Run) -> None:
    done = run("bench", "hub:nobody/nothing", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "hub:nobody/nothing: its corpus cannot be read" in done.stderr


def test_the_judged_python_questions(capsys: pytest.CaptureFixture[str]) -> None:
    collection = read_collection("sample:python")
    assert len(collection.queries) >= 100
    assert len(set(collection.queries.values())) == len(collection.queries)
    assert set(QUESTIONS) <= set(collection.queries.values())
    assert capsys.readouterr().err == ""  # every judged document is there
    for query, grades in collection.qrels.items():
        assert grades
        names = {id_.lower() for id_ in grades}
        assert collection.queries[query].lower() not in names
