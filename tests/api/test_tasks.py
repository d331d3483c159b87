"""Processes of a service take turns; here two ``Tasks`` on one board stand for them."""

import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.api.serving import DOCUMENTS
from tests.conftest import ingest, write_jsonl
from trimseek.api.schemas import State, TaskKind
from trimseek.api.tasks import Tasks
from trimseek.file_lock import file_lock
from trimseek.indexer.card import read_card
from trimseek.indexer.folder import LOCK

ENCODERS = ("minilm-swift", "minilm-int8", "minilm-float32")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    ingest(write_jsonl(tmp_path / "c.jsonl", DOCUMENTS), tmp_path / "pets", "minilm-int8")
    return tmp_path / "pets"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[tuple[Tasks, Tasks]]:
    board = tmp_path / "board"
    board.mkdir()
    with closing(Tasks(board)) as first, closing(Tasks(board)) as second:
        yield first, second


def ended(tasks: Tasks, id_: str) -> State:
    until = time.monotonic() + 60
    while (task := tasks.get(id_)).ended is None:
        assert time.monotonic() < until, task
        time.sleep(0.01)
    assert task.error is None
    return task.state


def test_tasks_of_several_processes_go_in_order(
    processes: tuple[Tasks, Tasks], folder: Path
) -> None:
    begun = [
        process.start("pets", folder, TaskKind.REEMBED, encoder)
        for encoder in ENCODERS
        for process in processes
    ]
    assert [task.number for task in begun] == sorted(task.number for task in begun)
    assert {ended(processes[0], task.id) for task in begun} == {State.DONE}
    assert read_card(folder).encoder == ENCODERS[-1]


def test_what_waits_for_its_turn_does_not_hold_up_the_end(
    processes: tuple[Tasks, Tasks], folder: Path
) -> None:
    first, second = processes
    with file_lock(folder / LOCK, "busy"):
        long = first.start("pets", folder, TaskKind.REEMBED, "minilm-swift")
        waiting = second.start("pets", folder, TaskKind.COMPACT)
        time.sleep(0.1)
        second.close()
        assert second.get(waiting.id).state is State.WAITING
    assert ended(first, long.id) is State.DONE
