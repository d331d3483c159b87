import json
import marshal
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Run, ingest, write_jsonl
from trimseek import __version__
from trimseek.cli import load_command, main
from trimseek.command_table import COMMANDS

DOCUMENTS = [
    {"id": "a", "text": "a cat sleeps", "year": 2020},
    {"id": "b", "text": "oil for the engine", "year": 2021},
]
HEAVY = ("torch", "transformers", "datasets", "onnx", "ml_dtypes")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_itself(name: str) -> None:
    assert load_command(name).help.splitlines()[0] == COMMANDS[name].help


def test_help_lists_every_command_and_imports_none(run_process: Run) -> None:
    shown = run_process("--help").stdout
    assert all(name in shown for name in COMMANDS)
    code = (
        "import sys; from trimseek.cli import main; main(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('onnxruntime', 'faiss', 'fastapi', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_can_be_shown(name: str, run: Run) -> None:
    done = run(*name.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_no_arguments_show_the_help(run: Run) -> None:
    assert run().stdout == run("--help").stdout


def test_version(run_process: Run) -> None:
    assert run_process("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fly"], "No such command 'fly'"),
        (["index"], "Missing"),
        (["index", "x.jsonl"], "trimseek index x.jsonl --into DIR"),
        (["index", "nowhere.jsonl", "--into", "i"], "nowhere.jsonl: no such file or folder"),
        (["pull", "nothing"], "no encoder 'nothing'"),
        (["index", "", "--into", "i"], "the corpus has no name"),
        (["--wings"], "No such option: --wings"),
    ],
)
def test_mistakes_are_one_line_and_status_2(words: list[str], message: str, run: Run) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("trimseek: ")
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("serach docs-index cat", "did you mean search?"),
        ("stats docs-index", "did you mean info?"),
        ("snapshot docs-index -o x", "did you mean backup?"),
        ("search docs-index cat --top-k 3", "No such option: --top-k; did you mean -k?"),
        ("search docs-index cat -n 3", "did you mean -k?"),
        ("search docs-index cat --limit 3", "did you mean -k?"),
        ("search docs-index cat --filter year=1", "did you mean --where?"),
        ("search docs-index --hlep", "did you mean --help"),
        ("search cat docs-index", "the folder comes first: trimseek search docs-index 'cat'"),
        ("info", "which index? trimseek info DIR; there are: docs-index"),
        ("get docs-index", "Missing argument 'ID'; trimseek get --help shows what it takes"),
        ("get docs-index nope", "docs-index: no document 'nope'"),
        ("delete docs-index a", "that would delete 1 documents; say --yes to do it"),
    ],
)
def test_what_is_typed_nearly_right_is_told_what_to_type(
    words: str, message: str, run: Run, tmp_path: Path, tiny_encoder: Path
) -> None:
    ingest(write_jsonl(tmp_path / "d.jsonl", DOCUMENTS), tmp_path / "docs-index", tiny_encoder)
    done = run(*words.split())
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert message in done.stderr


def test_what_many_type_works(run: Run, tmp_path: Path, tiny_encoder: Path) -> None:
    write_jsonl(tmp_path / "d.jsonl", DOCUMENTS)
    for target in (["one"], ["-o", "two"]):
        assert run("index", "d.jsonl", *target, "--encoder", tiny_encoder).returncode == 0
    assert [line.split()[0] for line in run("list").stdout.splitlines()] == ["one", "two"]
    assert "a cat sleeps" in run("search", "one", "cat", "sleeps").stdout
    assert run("get", "one", "a").stdout.startswith("a cat sleeps")
    assert run("search", "one", "cat", "--where", "year > 2030").stderr.startswith("no hits")
    for words in (["-h"], ["help"]):
        assert run(*words).stdout == run("--help").stdout
    assert run("help", "search").stdout == run("search", "--help").stdout
    assert run("-V").stdout == run("version").stdout == f"{__version__}\n"


@pytest.mark.parametrize("value", ["many", "0", "-1"])
def test_a_bad_setting_names_its_variable(value: str, run: Run, tiny_encoder: Path) -> None:
    done = run("doctor", "--encoder", tiny_encoder, TRIMSEEK_THREADS=value)
    assert done.returncode == 2
    assert f"TRIMSEEK_THREADS='{value}': input should be" in done.stderr


def test_debug_shows_the_traceback(run_process: Run) -> None:
    assert "Traceback" not in run_process("search", "nowhere", "x").stderr
    assert "Traceback" in run_process("--debug", "search", "nowhere", "x").stderr


def test_an_unexpected_error_is_one_line_and_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trimseek.indexer.commands.summarize", lambda _: 1 / 0)
    assert main(["info", "x"]) == 1
    assert capsys.readouterr().err.startswith("trimseek: unexpected ZeroDivisionError: division")
    # typer takes the end of a file for an interrupt
    monkeypatch.setattr("trimseek.indexer.commands.summarize", lambda _: marshal.loads(b"c"))
    assert main(["info", "x"]) == 1
    assert "unexpected EOFError: marshal data too short" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error(tmp_path: Path, tiny_encoder: Path) -> None:
    rows = [{"_id": str(i), "text": f"the list {i} " * 99} for i in range(300)]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "i", tiny_encoder)
    command = f"{sys.executable} -m trimseek search {tmp_path / 'i'} list -k 300 | head -1"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.stdout.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr


@pytest.mark.parametrize("job", ["index", "search", "serve"])
def test_nothing_heavy_is_imported(job: str, tmp_path: Path, tiny_encoder: Path) -> None:
    rows = [{"_id": "1", "text": "the list"}]
    corpus = write_jsonl(tmp_path / "c.jsonl", rows)
    ingest(corpus, tmp_path / "i", tiny_encoder)
    words = {
        "index": f"main(['index', {str(corpus)!r}, '--into', {str(tmp_path / 'i')!r}])",
        "search": f"main(['search', {str(tmp_path / 'i')!r}, 'list'])",
        "serve": (
            "import trimseek.api as api, trimseek.api.process, trimseek.api.settings, pathlib;"
            "from fastapi.testclient import TestClient; settings = api.settings.ServiceSettings();"
            f"s = api.process.open_service([pathlib.Path({str(tmp_path / 'i')!r})], settings);"
            "c = TestClient(api.create_app(s), base_url='http://localhost');"
            "r = c.get('/v1/indexes/i/search?q=list');"
            "assert r.status_code == 200 and r.json()['hits'], r.text"
        ),
    }[job]
    code = (
        f"import json, sys; from trimseek.cli import main; {words};"
        f"print(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_doctor(run: Run, tmp_path: Path, tiny_encoder: Path) -> None:
    rows = [{"_id": "1", "text": "the list"}]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "i", tiny_encoder)
    done = run("doctor", "i", "--encoder", tiny_encoder)
    assert done.returncode == 0, done.stderr
    assert "i: whole" in done.stdout
    assert "ms a query" in done.stdout
    (tmp_path / "i" / "snapshot-1.faiss").write_bytes(b"x")
    done = run("doctor", "i", "--encoder", tiny_encoder, "--json")
    assert done.returncode == 1
    assert next(f for f in json.loads(done.stdout) if not f["ok"])["name"] == "index"


def test_doctor_shows_the_environment(run: Run, tmp_path: Path) -> None:
    done = run("doctor", "--encoder", "nothing", TRIMSEEK_HOME=str(tmp_path / "elsewhere"))
    assert done.returncode == 1
    assert f"{tmp_path / 'elsewhere'} (not made yet)" in done.stdout
    assert f"threads    {len(os.sched_getaffinity(0))} " in done.stdout
    assert "BAD  encoder    no encoder 'nothing'" in done.stdout
