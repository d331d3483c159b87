"""What is printed: texts as they are, nothing that commands a terminal or is made of data."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ingest, write_jsonl
from trimseek.printable import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d👧 ✈\ufe0f", "👩\u200d👧 ✈\ufe0f"),
        ("क्\u200dष", "क्\u200dष"),
        ("a\u00a0b\u3000c", "a\u00a0b\u3000c"),
        ("soft\u00adhyphen \u200fright", "soft\u00adhyphen \u200fright"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\u202eb\u2066c\u2069", "a\\u202eb\\u2066c\\u2069"),
        ("line\nline\ttab", "line\\nline\\ttab"),
        ("\u2028\ufeff", "\\u2028\\ufeff"),
        ("[bold]x[/bold] :key:", "[bold]x[/bold] :key:"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable("line\nline\ttab", lines=True) == "line\nline\ttab"


ROWS = [
    {"id": "urn:key:42", "title": "[red]:key:[/red]", "text": "hello :smile: [bold]world[/bold]"},
    {"id": "00:ab:cd", "text": "می\u200cخواهم hello 上海", "kind": ":key:"},
    {"id": "a\u202eb", "text": "bye\x1b[31m", "kind": "[bold]"},
]


@pytest.fixture
def folder(tmp_path: Path, tiny_encoder: Path) -> str:
    name = "a:key:b[bold]"
    ingest(write_jsonl(tmp_path / "c.jsonl", ROWS), tmp_path / name, tiny_encoder)
    return name


def test_nothing_is_made_of_data(folder: str, run: Callable[..., Any]) -> None:
    done = run("search", folder, "hello", "--facet", "kind")
    assert done.returncode == 0, done.stderr
    for text in (
        "urn:key:42  [red]:key:[/red]",
        "hello :smile: [bold]world[/bold]",
        "می\u200cخواهم hello 上海",
        "a\\u202eb",
        "bye\\x1b[31m",
        "kind: :key: 1, [bold] 1",
    ):
        assert text in done.stdout, text
    for words in (("info", folder), ("list",), ("verify", folder), ("compact", folder)):
        done = run(*words)
        assert done.returncode == 0, done.stderr
        assert "🔑" not in done.stdout + done.stderr
    done = run("delete", folder, "urn:key:42")
    assert f"{folder}: that would delete 1 documents" in done.stderr
    done = run("get", folder, "urn:key:43")
    assert "'urn:key:43'" in done.stderr


def test_what_an_output_cannot_show(folder: str, tmp_path: Path) -> None:
    def search(*options: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "trimseek", "search", folder, "上海", *options],
            env=os.environ | {"PYTHONIOENCODING": "latin-1"},
            capture_output=True,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("latin-1")

    assert "hello ??" in search()
    hits = json.loads(search("--json"))["hits"]
    assert {hit["id"] for hit in hits} == {row["id"] for row in ROWS}
    assert any("上海" in hit["passage"]["text"] for hit in hits)
