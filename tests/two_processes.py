"""Two processes work on one index at once, and it must hold what a dictionary holds.

python -m tests.two_processes 5000    for as many steps of each kind of index

At each step one or both processes do something: create, put, delete, patch, back up, restore,
re-embed, compact, build a snapshot, drop; now and then one of them is killed while it works. Then
both must show the same documents, by listing, by searching within a filter and by counting, and
these must be what the dictionary says for one order of what was done at once.
"""

import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.kills import Numbered
from tests.tiny import write_tiny
from trimseek.encoders import DocumentEncoder, find_encoder
from trimseek.errors import TrimseekError
from trimseek.indexer.backup import restore_backup, write_backup
from trimseek.indexer.card import IndexCard, is_index, read_card
from trimseek.indexer.care import compact_index, find_damage
from trimseek.indexer.documents import Document
from trimseek.indexer.filters import Condition, Operator
from trimseek.indexer.folder import create_index, renew_snapshot, write_lock
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.reembed import reembed
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher
from trimseek.search.options import Options

Documents = dict[str, list[Any]]  # text and year by id
State = Documents | None  # None while there is no index

FIRST = 1100  # documents that come with a new index, enough for every kind
YEAR = 10  # of documents that are put, at least; those that come first have none
NEW = Condition(("year",), Operator.AT_LEAST, (YEAR,))
WAIT = 20.0  # seconds
KILLED = "killed"


@dataclass(frozen=True)
class Place:
    """Where the processes work; ``encoders``: of two spaces."""

    base: Path
    kind: SnapshotKind
    encoders: tuple[str, str]

    @property
    def folder(self) -> Path:
        return self.base / "index"


class Worker:
    """What one of the two processes does; its searcher and writer stay open from step to step."""

    def __init__(self, place: Place) -> None:
        self.place, self.folder = place, place.folder
        self.searcher: Searcher | None = None
        self.writer: IndexWriter | None = None

    def encoder(self) -> DocumentEncoder:
        return DocumentEncoder(find_encoder(read_card(self.folder).encoder))

    def writing(self) -> IndexWriter:
        if self.writer is not None and self.writer.card.id != read_card(self.folder).id:
            self.writer.close()
            self.writer = None
        if self.writer is None:
            self.writer = IndexWriter(self.folder, self.encoder())
        return self.writer

    def create(self) -> None:
        name = self.place.encoders[0]
        encoder = DocumentEncoder(Path(name))
        card = IndexCard(encoder.card.space, encoder.dim, name, 0)
        create_index(self.folder, card, kind=self.place.kind, facets=["year"])

    def fill(self) -> None:
        documents = list(Numbered(0, FIRST).documents())
        self.writing().put(documents)
        self.writing().refresh()

    def put(self, documents: Documents) -> None:
        self.writing().put(
            [Document(id_, "", text, {"year": year}) for id_, (text, year) in documents.items()]
        )

    def delete(self, ids: list[str]) -> None:
        self.writing().delete(ids)

    def patch(self, id_: str, year: int) -> None:
        self.writing().patch(id_, {"year": year})

    def backup(self, file: str) -> None:
        write_backup(self.folder, self.place.base / file)

    def restore(self, file: str) -> None:
        restore_backup(self.place.base / file, self.folder)

    def reembed(self) -> None:
        now = read_card(self.folder).encoder
        name = next(name for name in self.place.encoders if name != now)
        reembed(self.folder, DocumentEncoder(Path(name)), name)

    def compact(self) -> None:
        compact_index(self.folder)

    def snapshot(self) -> None:
        renew_snapshot(self.folder)

    def drop(self) -> None:
        gone = self.place.base / f"gone-{random.random()}"
        with write_lock(self.folder, WAIT):
            self.folder.rename(gone)
        shutil.rmtree(gone)

    def state(self) -> dict[str, Any] | None:
        """What is there, in three ways that must agree."""
        if not is_index(self.folder):
            if self.searcher is not None:
                self.searcher.close()
                self.searcher = None
            return None
        searcher = self.searcher = self.searcher or Searcher(self.folder)
        listed = searcher.read(
            lambda now: [document for part in now.store.all_documents(4096) for _, document in part]
        )
        hits = searcher.search("words", 100, Options(where=NEW)).hits
        counted = searcher.facets(("year",), None)
        deep = searcher.search("ingested", 1000).hits
        return {
            "documents": {
                document.id: [document.text, document.metadata["year"]]
                for document in listed
                if document.metadata
            },
            "first": sum(not document.metadata for document in listed),
            "found": {hit.id: [hit.passage.text, hit.metadata["year"]] for hit in hits},
            "counted": sum(documents for _, documents in counted),
            "deep": len({hit.id for hit in deep}),
        }

    def damage(self) -> list[str]:
        return find_damage(self.folder, deep=True)


def work(place: Place) -> None:
    """The process: a line of JSON for each job and for each answer."""
    worker = Worker(place)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"value": getattr(worker, name)(**arguments)}
        except TrimseekError as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


@dataclass
class Process:
    """A worker process as the driver sees it."""

    place: Place

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        place = self.place
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.two_processes", "work",
             place.base, place.kind.value, *place.encoders],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def begin(self, name: str, **arguments: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()

    def end(self) -> Any:
        """The value, or the error's text; AssertionError if the process died."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "a worker ended by itself"
        answer = json.loads(line)
        return answer["error"] if "error" in answer else answer["value"]

    def do(self, name: str, **arguments: Any) -> Any:
        self.begin(name, **arguments)
        return self.end()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.close()
        self.start()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@dataclass(frozen=True)
class Job:
    """``effect``: what a dictionary becomes. Where there is no index, a restore alone makes one."""

    name: str
    arguments: Mapping[str, Any]
    effect: Callable[[Documents], State]


@dataclass
class Driver:
    """Chooses what is done, and compares."""

    place: Place
    chosen: random.Random
    state: State = None
    backups: dict[str, Documents] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.workers = [Process(self.place), Process(self.place)]

    def close(self) -> None:
        for worker in self.workers:
            worker.close()

    def create(self) -> None:
        """Both at once: one of them makes it."""
        for worker in self.workers:
            worker.begin("create")
        answers = [worker.end() for worker in self.workers]
        assert sorted(answer is None for answer in answers) == [False, True], answers
        assert self.workers[0].do("fill") is None
        self.state = {}

    def job(self) -> Job:
        """One of those that make sense now."""
        assert self.state is not None
        ids = sorted(self.state)
        weights = {
            "put": 30, "delete": 20, "patch": 10, "snapshot": 6, "compact": 4,
            "backup": 3, "restore": 4, "reembed": 2, "drop": 1,
        }  # fmt: skip
        name = self.chosen.choices(list(weights), list(weights.values()))[0]
        if name == "put":
            number = next(self.numbers)
            new = {
                f"d{self.chosen.randrange(60)}": [f"words {number}", YEAR + number % 5]
                for _ in range(self.chosen.randrange(1, 8))
            }
            return Job(name, {"documents": new}, lambda state: state | new)
        if name == "delete" and ids:
            gone = self.chosen.sample(ids, min(len(ids), self.chosen.randrange(1, 8)))
            return Job(
                name,
                {"ids": gone},
                lambda state: {id_: state[id_] for id_ in state if id_ not in gone},
            )
        if name == "patch" and ids:
            id_, year = self.chosen.choice(ids), YEAR + self.chosen.randrange(5)
            return Job(
                name,
                {"id_": id_, "year": year},
                lambda state: state | ({id_: [state[id_][0], year]} if id_ in state else {}),
            )
        if name == "restore" and self.backups:
            file = self.chosen.choice(sorted(self.backups))
            whole = self.backups[file]
            return Job(name, {"file": file}, lambda _: dict(whole))
        if name == "drop":
            return Job(name, {}, lambda _: None)
        if name in ("reembed", "compact"):
            return Job(name, {}, lambda state: state)
        return Job("snapshot", {}, lambda state: state)

    def step(self) -> str:
        """One step; what was done."""
        if self.state is None:
            self.create()
            self.compare([{}])
            return "create"
        if self.chosen.random() < 0.03 and len(self.backups) < 5:
            name = f"{next(self.numbers)}.backup"
            assert self.workers[0].do("backup", file=name) is None
            self.backups[name] = dict(self.state)
            return "backup"
        jobs = [self.job() for _ in range(self.chosen.choice((1, 2)))]
        workers = self.chosen.sample(self.workers, len(jobs))
        kill = self.chosen.random() < 0.03
        for worker, job in zip(workers, jobs, strict=True):
            worker.begin(job.name, **job.arguments)
        if kill:
            time.sleep(self.chosen.random() * 0.05)
            workers[0].kill()
        answers: list[Any] = [
            KILLED if kill and worker is workers[0] else worker.end() for worker in workers
        ]
        done = " and ".join(
            f"{job.name} ({answer or 'done'})" for job, answer in zip(jobs, answers, strict=True)
        )
        try:
            self.compare(self.possible(self.state, jobs, answers))
        except AssertionError as error:
            raise AssertionError(f"after {done}: {error}") from error
        return done

    def possible(self, state: State, jobs: list[Job], answers: list[Any]) -> list[State]:
        """What the index may hold: for every order, and with what was killed done or not."""
        states: list[State] = []
        for order in itertools.permutations(zip(jobs, answers, strict=True)):
            ways: list[State] = [state]
            for job, answer in order:
                done = [
                    job.effect(way or {}) if way is not None or job.name == "restore" else None
                    for way in ways
                ]
                ways = done if answer is None else ways + done if answer == KILLED else ways
            states += ways
        return states

    def compare(self, possible: list[State]) -> None:
        shown = [worker.do("state") for worker in self.workers]
        assert shown[0] == shown[1], shown
        if shown[0] is None:
            assert None in possible, "the index is gone"
            self.state = None
            return
        assert isinstance(shown[0], dict), shown[0]
        documents = shown[0]["documents"]
        assert documents in possible, f"{documents} is none of {possible}"
        assert shown[0]["first"] == FIRST
        assert shown[0]["found"] == documents
        assert shown[0]["counted"] == len(documents)
        assert shown[0]["deep"] == 1000
        self.state = documents


def drive(place: Place, seed: int, steps: int, seconds: float = float("inf")) -> int:
    """So many steps, or for so long; how many. AssertionError where something is wrong."""
    driver, end = Driver(place, random.Random(seed)), time.monotonic() + seconds
    count = 0
    try:
        while count < steps and time.monotonic() < end:
            driver.step()
            count += 1
            if count % 100 == 0 and driver.state is not None:
                assert driver.workers[0].do("damage") == []
        if driver.state is not None:
            assert driver.workers[0].do("damage") == []
    except AssertionError as error:
        raise AssertionError(f"step {count} of seed {seed}: {error}") from error
    finally:
        driver.close()
    return count


KINDS = tuple(kind for kind in SnapshotKind if kind is not SnapshotKind.AUTO)


def main(arguments: list[str]) -> None:
    if arguments[0] == "work":
        base, kind_name, one, other = arguments[1:]
        work(Place(Path(base), SnapshotKind(kind_name), (one, other)))
        return
    seed = int(arguments[1]) if len(arguments) > 1 else int(time.time())
    kinds = [SnapshotKind(arguments[2])] if len(arguments) > 2 else KINDS
    for kind in kinds:
        with tempfile.TemporaryDirectory(prefix="trimseek-two-") as name:
            encoders = (
                str(write_tiny(Path(name) / "one")),
                str(write_tiny(Path(name) / "other", seed=1)),
            )
            began = time.monotonic()
            count = drive(Place(Path(name), kind, encoders), seed, int(arguments[0]))
            seconds = time.monotonic() - began
            print(f"{kind.value}: {count} steps (seed {seed}) in {seconds:.0f} s: all whole")


if __name__ == "__main__":
    main(sys.argv[1:])
