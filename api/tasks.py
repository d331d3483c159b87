"""Long work on indexes: snapshots, compaction, another encoder; one at a time, beside searches.

The processes of a service take turns, in the order of their tasks' numbers.
"""

import os
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock

from pydantic import TypeAdapter, ValidationError

from trimseek.api.errors import UnknownTaskError, describe_error, logger
from trimseek.api.schemas import State, TaskKind
from trimseek.atomic import is_running, temporary_file
from trimseek.encoders import DocumentEncoder, find_encoder
from trimseek.encoders.pairs import encoder_pair
from trimseek.errors import TrimseekError
from trimseek.indexer.care import compact_index
from trimseek.indexer.folder import renew_snapshot
from trimseek.indexer.reembed import reembed

KEPT = 1000  # that are over
NOTED_EVERY = 0.2  # seconds, while a task goes on
POLL = 0.02  # seconds, while an earlier one goes on
NOTE = re.compile(r"t[1-9]\d{0,8}\.json")


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

    @property
    def number(self) -> int:
        """Of its id; a later task has a greater one."""
        return int(self.id[1:])


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
        self._starting = Lock()
        self._closing = Event()

    def close(self) -> None:
        """Finish the task under way; those that wait are dropped."""
        self._closing.set()
        self._thread.shutdown(cancel_futures=True)
        if self._own_board is not None:
            self._own_board.cleanup()

    def all(self) -> list[Task]:
        """The oldest first."""
        ids = [path.stem for path in self._board.iterdir() if NOTE.fullmatch(path.name)]
        known = [task for id_ in ids if (task := self._read(id_)) is not None]
        return sorted(known, key=lambda task: task.number)

    def get(self, id_: str) -> Task:
        """UnknownTaskError."""
        task = self._read(id_) if NOTE.fullmatch(f"{id_}.json") else None
        if task is None:
            raise UnknownTaskError(f"no task {id_!r}")
        return task

    def start(self, index: str, folder: Path, kind: TaskKind, encoder: str | None = None) -> Task:
        """Begin it, unless the same is waiting already; what is then waiting."""
        with self._starting:  # what this process does is in the order of the numbers, too
            return self._start(index, folder, kind, encoder)

    def _start(self, index: str, folder: Path, kind: TaskKind, encoder: str | None) -> Task:
        known = self.all()
        wanted = (index, kind, encoder, State.WAITING)
        for task in known:
            if (task.index, task.kind, task.encoder, task.state) == wanted:
                return task
        over = [task for task in known if task.ended is not None]
        for task in over[: max(0, len(over) - KEPT)]:
            self._path(task.id).unlink(missing_ok=True)
        number = known[-1].number + 1 if known else 1
        task = Task(f"t{number}", index, kind, encoder)
        while not self._note_new(task):
            task.id = f"t{task.number + 1}"
        self._thread.submit(self._run, task, self._work(task, folder))
        return replace(task)

    def _note_new(self, task: Task) -> bool:
        """Note it under a number that no other process has taken; whether it could."""
        path = self._path(task.id)
        with temporary_file(path) as temporary:
            temporary.write_bytes(TASK.dump_json(task))
            try:
                path.hardlink_to(temporary)
            except FileExistsError:
                return False
        return True

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
        if not self._has_turn(task):
            return
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

    def _has_turn(self, task: Task) -> bool:
        """Wait until every earlier task is over; false if this process closes before that."""
        earlier = [other.id for other in self.all() if other.number < task.number]
        while earlier := [id_ for id_ in earlier if self._is_due(id_)]:
            if self._closing.wait(POLL):
                return False
        return True

    def _is_due(self, id_: str) -> bool:
        task = self._read(id_)
        return task is not None and task.state in (State.WAITING, State.RUNNING)

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
            pair = encoder_pair(str(task.encoder))
            encoder = DocumentEncoder(find_encoder(pair.documents))
            reembed(folder, encoder, pair.documents, advance, query_encoder=pair.queries)

        return {
            TaskKind.SNAPSHOT: lambda: renew_snapshot(folder),
            TaskKind.COMPACT: lambda: compact_index(folder),
            TaskKind.REEMBED: embed_anew,
        }[task.kind]
