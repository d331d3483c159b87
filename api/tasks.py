"""Long work on indexes: snapshots, compaction, another encoder; one at a time, beside searches."""

import itertools
import os
import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter, ValidationError

from trimseek.api.errors import UnknownTaskError, describe_error, logger
from trimseek.api.schemas import State, TaskKind
from trimseek.atomic import is_running, temporary_file
from trimseek.encoders import DocumentEncoder, find_encoder
from trimseek.errors import TrimseekError
from trimseek.indexer.care import compact_index
from trimseek.indexer.folder import renew_snapshot
from trimseek.indexer.reembed import reembed

KEPT = 1000  # that are over
NOTED_EVERY = 0.2  # seconds, while a task goes on
NOTE = re.compile(r"t([1-9]\d{0,8})\.json")


@dataclass
class Task:
    """``done`` of ``total`` documents, where that is known; times in UTC.

    ``encoder``: to embed anew with; None in other tasks. ``process``: that does it.
    """

    id: str
    index: str
    kind: TaskKind
    encoder: str | None = None
    state: State = State.WAITING
    done: int = 0
    total: int | None = None
    error: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    ended: datetime | None = None
    process: int = field(default_factory=os.getpid)


TASK: TypeAdapter[Task] = TypeAdapter(Task)


class Tasks:
    """The tasks of a service; this process does those that it has begun, one after another.

    ``board``: a folder in which the processes of a service note their tasks, a file each; one of
    its own by default.
    """

    def __init__(self, board: Path | None = None) -> None:
        self._own_board: TemporaryDirectory[str] | None = None
        if board is None:
            self._own_board = TemporaryDirectory(prefix="trimseek-tasks-")
            board = Path(self._own_board.name)
        self._board = board
        self._thread = ThreadPoolExecutor(1, "task")

    def close(self) -> None:
        """Finish the task under way; those that wait are dropped."""
        self._thread.shutdown(cancel_futures=True)
        if self._own_board is not None:
            self._own_board.cleanup()

    def all(self) -> list[Task]:
        """The oldest first."""
        numbers = sorted(
            int(match.group(1))
            for path in self._board.iterdir()
            if (match := NOTE.fullmatch(path.name))
        )
        known = (self._read(f"t{number}") for number in numbers)
        return [task for task in known if task is not None]

    def get(self, id_: str) -> Task:
        """UnknownTaskError."""
        task = self._read(id_) if NOTE.fullmatch(f"{id_}.json") else None
        if task is None:
            raise UnknownTaskError(f"no task {id_!r}")
        return task

    def start(self, index: str, folder: Path, kind: TaskKind, encoder: str | None = None) -> Task:
        """Begin it, unless the same is waiting already; what is then waiting."""
        known = self.all()
        wanted = (index, kind, encoder, State.WAITING)
        for task in known:
            if (task.index, task.kind, task.encoder, task.state) == wanted:
                return task
        over = [task for task in known if task.ended is not None]
        for task in over[: max(0, len(over) - KEPT)]:
            self._path(task.id).unlink(missing_ok=True)
        task = Task(self._new_id(known), index, kind, encoder)
        self._note(task)
        self._thread.submit(self._run, task, self._work(task, folder))
        return replace(task)

    def _new_id(self, known: Sequence[Task]) -> str:
        """One that no process has taken; its file is there then."""
        last = max((int(task.id[1:]) for task in known), default=0)
        for number in itertools.count(last + 1):
            with suppress(FileExistsError):
                self._path(f"t{number}").touch(exist_ok=False)
                return f"t{number}"
        raise AssertionError  # there is always a next number

    def _path(self, id_: str) -> Path:
        return self._board / f"{id_}.json"

    def _note(self, task: Task) -> None:
        path = self._path(task.id)
        with temporary_file(path) as temporary:  # whole, but gone with the service
            temporary.write_bytes(TASK.dump_json(task))
            temporary.replace(path)

    def _read(self, id_: str) -> Task | None:
        """A task as its process has noted it; None where there is none, or not yet."""
        try:
            task = TASK.validate_json(self._path(id_).read_bytes())
        except (OSError, ValidationError):
            return None
        if task.ended is None and not is_running(task.process):
            task.state, task.error = State.FAILED, "its process has ended; begin it again"
        return task

    def _run(self, task: Task, work: Callable[[], object]) -> None:
        task.state = State.RUNNING
        self._note(task)
        try:
            work()
            task.state = State.DONE
        except TrimseekError as error:
            task.error = describe_error(error)[2]
            task.state = State.FAILED
        except Exception as error:
            logger.error("task %s failed", task.id, exc_info=error)
            task.error = "unexpected error; see the service's log"
            task.state = State.FAILED
        task.ended = datetime.now(UTC)
        self._note(task)

    def _work(self, task: Task, folder: Path) -> Callable[[], object]:
        """The function that does a task."""
        noted = 0.0

        def advance(done: int, total: int) -> None:
            nonlocal noted
            task.done, task.total = done, total
            if done == total or time.monotonic() - noted > NOTED_EVERY:
                noted = time.monotonic()
                self._note(task)

        def embed_anew() -> None:
            name = str(task.encoder)
            reembed(folder, DocumentEncoder(find_encoder(name)), name, advance)

        return {
            TaskKind.SNAPSHOT: lambda: renew_snapshot(folder),
            TaskKind.COMPACT: lambda: compact_index(folder),
            TaskKind.REEMBED: embed_anew,
        }[task.kind]
