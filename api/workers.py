"""``trimseek serve --workers``: several processes that serve one socket, and their supervisor.

The supervisor holds the socket and one end of a pipe. The first worker says what it serves when it
has opened it, or ends with what is wrong; then the others are started. A worker that dies is
started again, after a wait that grows while workers die at once; after a few such deaths the
service ends with the last one's status. A worker reads the other end of the pipe: it ends when the
supervisor is gone, however it went.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from trimseek.api.balance import Balance, Descriptors, new_descriptors
from trimseek.api.keys import read_keys
from trimseek.api.rates import bucket_file
from trimseek.api.settings import ServiceSettings
from trimseek.child import module_command
from trimseek.console import note
from trimseek.errors import TrimseekError, print_error
from trimseek.settings import load_settings, make_settings

# What a worker is given: folders, settings and file descriptors, as JSON.
ASSIGNMENT = "TRIMSEEK_WORKER"
SETTLED = 10.0  # seconds after which a worker's death is no failure to start
MOST_FAILURES = 5  # deaths in a row before that
FIRST_WAIT, LONGEST_WAIT = 0.5, 8.0  # seconds before a worker is started again, doubled each time


class Announce(Protocol):
    """Says that the service answers: which indexes, and whether there are keys."""

    def __call__(self, names: Sequence[str], *, keys: bool) -> None:
        """Say it."""


def supervise(
    folders: Sequence[Path],
    settings: ServiceSettings,
    bound: socket.socket,
    announce: Announce,
) -> None:
    """Run the workers of a socket until SIGTERM or SIGINT; exits with their status.

    ``announce`` is called when the first of them answers.
    """
    alive, held = os.pipe()  # nothing is ever written: the reader sees its end
    keys = read_keys(settings.keys_file, settings.keys)
    buckets = bucket_file(len(keys))
    balance = new_descriptors(settings.processes)
    assignment = {
        "folders": [str(folder.absolute()) for folder in folders],
        "settings": settings.model_dump(mode="json"),
        "socket": bound.fileno(),
        "supervisor": alive,
        "buckets": buckets,
        "balance": balance,
    }
    inherited = (alive, buckets, *balance.all())
    with TemporaryDirectory(prefix="trimseek-serve-") as shared:
        supervisor = Supervisor(settings.processes, assignment, Path(shared), bound, inherited)
        status = supervisor.run(lambda names: announce(names, keys=bool(keys)))
    os.close(held)
    sys.exit(status)


class Supervisor:
    """Starts ``count`` workers of a socket, and replaces those that die; they inherit descriptors.

    ``shared``: a folder in which they note their tasks and metrics.
    """

    def __init__(
        self,
        count: int,
        assignment: dict[str, Any],
        shared: Path,
        bound: socket.socket,
        descriptors: tuple[int, ...],
    ) -> None:
        self._assignment, self._shared = assignment | {"board": str(shared)}, shared
        self._bound, self._descriptors = bound, descriptors
        threads = max(1, load_settings().threads // count)
        self._environment = os.environ | {
            "PROMETHEUS_MULTIPROC_DIR": str(shared),
            "TRIMSEEK_THREADS": str(threads),
        }
        self._ending = threading.Event()
        self._failures = 0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.end)
        self._started: dict[int, float] = {}  # when, by process id
        self._count, self._workers = count, list[subprocess.Popen[bytes]]()

    def _start(self, number: int, report: int | None = None) -> subprocess.Popen[bytes]:
        """``report``: a descriptor to which it writes what it serves."""
        assignment = json.dumps(self._assignment | {"number": number, "report": report})
        reports = () if report is None else (report,)
        worker = subprocess.Popen(
            module_command("trimseek.api.workers"),
            env=self._environment | {ASSIGNMENT: assignment},
            pass_fds=(self._bound.fileno(), *self._descriptors, *reports),
            start_new_session=True,
        )
        self._started[worker.pid] = time.monotonic()
        return worker

    def end(self, *_: object) -> None:
        """Let the workers finish what they answer, and end."""
        self._ending.set()
        self._bound.close()  # nobody is to wait in its queue
        for worker in self._workers:
            worker.terminate()

    def _start_first(self) -> list[str] | None:
        """The names of what the first worker serves; None where it ended."""
        reading, writing = os.pipe()
        self._workers.append(self._start(0, writing))
        os.close(writing)
        with os.fdopen(reading) as report:
            line = report.readline()
        names: list[str] | None = json.loads(line) if line else None
        return names

    def run(self, announce: Callable[[list[str]], None]) -> int:
        """Until the end; the exit status: of the first worker that did not end well, or 0."""
        names = self._start_first()
        if names is None:
            self._ending.set()
        else:
            announce(names)
            self._workers += [self._start(number) for number in range(1, self._count)]
        while not self._ending.is_set():
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
            for i, worker in enumerate(self._workers):
                if worker.poll() is None or self._ending.is_set():
                    continue
                if not self._may_start_again(worker):
                    self.end()
                    return worker.returncode if worker.returncode > 0 else 1
                # not needed until then, and the start waits for it
                from prometheus_client.multiprocess import mark_process_dead

                mark_process_dead(worker.pid, str(self._shared))  # type: ignore[no-untyped-call]
                self._workers[i] = self._start(i)
        statuses = [worker.wait() for worker in self._workers]
        # one that had not begun to serve was ended by the signal itself
        return next((status for status in statuses if status not in (0, -signal.SIGTERM)), 0)

    def _may_start_again(self, worker: subprocess.Popen[bytes]) -> bool:
        """Wait as long as the failures until now ask for; false after too many, or at the end."""
        lived = time.monotonic() - self._started.pop(worker.pid)
        self._failures = 1 if lived >= SETTLED else self._failures + 1
        if self._failures > MOST_FAILURES:
            note(f"{self._failures} workers in a row ended at once; giving up")
            return False
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2 ** (self._failures - 1))
        note(f"a worker ended with {worker.returncode}; starting another in {wait:g} s")
        return not self._ending.wait(wait)


def work() -> int:
    """Serve as one worker; the exit status."""
    assignment = json.loads(os.environ[ASSIGNMENT])
    threading.Thread(target=end_with, args=(assignment["supervisor"],), daemon=True).start()
    from trimseek.api.process import open_service, run  # which the supervisor does not need

    try:
        settings = make_settings(ServiceSettings, **assignment["settings"])
        folders = [Path(folder) for folder in assignment["folders"]]
        board = Path(assignment["board"])
        service = open_service(folders, settings, assignment["buckets"], board)
    except TrimseekError as error:
        print_error(str(error))
        return error.exit_code
    if assignment["report"] is not None:
        with os.fdopen(assignment["report"], "w") as file:
            file.write(json.dumps(service.indexes.names()) + "\n")
    balance = Balance(Descriptors(*assignment["balance"]), assignment["number"])
    run(service, socket.socket(fileno=assignment["socket"]), balance)
    return 0


def end_with(supervisor: int) -> None:
    """End this process when the supervisor's end of the pipe is closed."""
    os.read(supervisor, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(work())
