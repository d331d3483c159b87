"""Long work on indexes: snapshots, compaction, another encoder; one at a time, beside searches."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from trimseek.api.errors import UnknownTaskError, describe_error, logger
from trimseek.api.schemas import State, TaskKind
from trimseek.encoders import DocumentEncoder, find_encoder
from trimseek.errors import TrimseekError
from trimseek.indexer.care import compact_index
from trimseek.indexer.folder import renew_snapshot
from trimseek.indexer.reembed import reembed

KEPT = 1000  # that are over


@dataclass
class Task:
    """``done`` of ``total`` documents, where that is known; times in UTC.

    ``encoder``: to embed anew with; None in other tasks.
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


class Tasks:
    """The tasks of this process."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "task")
        self._tasks: dict[str, Task] = {}
        self._numbers = itertools.count(1)

    def close(self) -> None:
        """Finish the task under way; those that wait are dropped."""
        self._thread.shutdown(cancel_futures=True)

    def all(self) -> list[Task]:
        """The oldest first."""
        return list(self._tasks.values())

    def get(self, id_: str) -> Task:
        """UnknownTaskError."""
        if id_ not in self._tasks:
            raise UnknownTaskError(f"no task {id_!r}")
        return self._tasks[id_]

    def start(self, index: str, folder: Path, kind: TaskKind, encoder: str | None = None) -> Task:
        """Begin it, unless the same is waiting already; what is then waiting."""
        wanted = (index, kind, encoder, State.WAITING)
        for task in self._tasks.values():
            if (task.index, task.kind, task.encoder, task.state) == wanted:
                return task
        task = Task(f"t{next(self._numbers)}", index, kind, encoder)
        self._tasks[task.id] = task
        over = [task.id for task in self._tasks.values() if task.ended is not None]
        for id_ in over[: max(0, len(over) - KEPT)]:
            del self._tasks[id_]
        self._thread.submit(self._run, task, work_of(task, folder, encoder))
        return task

    def _run(self, task: Task, work: Callable[[], object]) -> None:
        task.state = State.RUNNING
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


def work_of(task: Task, folder: Path, encoder: str | None) -> Callable[[], object]:
    """The function that does a task."""

    def advance(done: int, total: int) -> None:
        task.done, task.total = done, total

    def embed_anew() -> None:
        name = str(encoder)
        reembed(folder, DocumentEncoder(find_encoder(name)), name, advance)

    return {
        TaskKind.SNAPSHOT: lambda: renew_snapshot(folder),
        TaskKind.COMPACT: lambda: compact_index(folder),
        TaskKind.REEMBED: embed_anew,
    }[task.kind]
