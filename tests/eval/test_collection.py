from pathlib import Path

import pytest

from eval import read_collection
from eval.demo import QUESTIONS
from tests.conftest import Run
from trimseek.errors import CorpusError


def write_collection(folder: Path, queries: str, qrels: str) -> Path:
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text(
        '{"_id": "1", "title": "T", "text": "one"}\n{"_id": "2", "title": "", "text": ""}\n'
    )
    (folder / "queries.jsonl").write_text(queries)
    (folder / "qrels" / "test.tsv").write_text(qrels)
    return folder


QUERIES = '{"_id": "q1", "text": "first"}\n{"_id": "q2", "text": "not judged"}\n'


def test_a_beir_folder_is_read(tmp_path: Path) -> None:
    qrels = "query-id\tcorpus-id\tscore\nq1\t1\t2\nq1\t2\t0\n"
    collection = read_collection(str(write_collection(tmp_path / "set", QUERIES, qrels)))
    assert collection.name == "set"
    assert collection.documents == {"1": "T one", "2": ""}
    assert collection.queries == {"q1": "first"}
    assert collection.qrels == {"q1": {"1": 2, "2": 0}}


@pytest.mark.parametrize(
    ("queries", "qrels", "message"),
    [
        (QUERIES, "q1\t1\t1\nq1 1 1\n", r"test\.tsv:2: expected query-id, corpus-id and a whole"),
        (QUERIES, "q1\t1\thigh\n", r"test\.tsv:1: expected"),
        (QUERIES, "query-id\tcorpus-id\tscore\n", r"test\.tsv: no judgments of a relevant"),
        (QUERIES, "q1\t1\t0\n", r"test\.tsv: no judgments of a relevant"),
        (QUERIES, "q9\t1\t1\n", r"test\.tsv: judges query 'q9', not in .*queries\.jsonl"),
        ('{"id": "q1"}\n', "q1\t1\t1\n", r"queries\.jsonl:1: expected an object with _id and text"),
        ("{", "q1\t1\t1\n", r"queries\.jsonl:1: malformed JSON"),
    ],
)
def test_bad_collections_are_named(queries: str, qrels: str, message: str, tmp_path: Path) -> None:
    folder = write_collection(tmp_path / "set", queries, qrels)
    with pytest.raises(CorpusError, match=message):
        read_collection(str(folder))


def test_unknown_documents_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_collection(tmp_path / "set", QUERIES, "q1\t1\t1\nq1\tgone\t1\n")
    assert read_collection(str(folder)).qrels["q1"]["gone"] == 1
    assert "judges 1 documents that are not in the corpus" in capsys.readouterr().err


def test_a_folder_without_qrels_is_one_line(tmp_path: Path, run: Run) -> None:
    done = run("bench", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "queries.jsonl: missing; a test collection is a folder with" in done.stderr


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
