"""Kill an index's writers at random moments, and see that nothing acknowledged is lost.

python -m tests.kills 200

Each kill is of a process that does one job on an index again and again (``JOBS``) and says what
it has done; after each the index is opened, searched, verified, and compared with what was said.
"""

import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.tiny import write_tiny
from trimseek.api.indexes import Indexes
from trimseek.encoders import DocumentEncoder, find_encoder
from trimseek.indexer.backup import read_backup, restore_backup, write_backup
from trimseek.indexer.card import is_index, read_card
from trimseek.indexer.care import compact_index, find_damage
from trimseek.indexer.documents import Document
from trimseek.indexer.folder import renew_snapshot
from trimseek.indexer.ingest import Ingest
from trimseek.indexer.notices import Notices
from trimseek.indexer.reembed import reembed
from trimseek.indexer.store import Store
from trimseek.indexer.writer import IndexWriter
from trimseek.search import Searcher

FIRST = 300  # documents that are there from the beginning
INGESTED = 400  # at a time
LONGEST = 0.5  # seconds from a job's first word until it is killed


def say(*words: object) -> None:
    print(*words, flush=True)


@dataclass(frozen=True)
class Numbered:
    """A corpus of documents i<start> and on."""

    start: int
    count: int = INGESTED
    name: str = "numbered"
    streamed: bool = True
    notices: Notices = field(default_factory=Notices)

    def documents(self) -> Iterator[Document]:
        for i in range(self.start, self.start + self.count):
            yield Document(f"i{i}", "", f"ingested {i}")


@dataclass(frozen=True)
class Job:
    """What the process that is killed does; ``encoders``: of two spaces."""

    folder: Path
    encoders: tuple[str, str]
    start: int

    def encoder(self) -> DocumentEncoder:
        return DocumentEncoder(find_encoder(read_card(self.folder).encoder))

    def upsert(self) -> None:
        writer = IndexWriter(self.folder, self.encoder())
        for i in range(self.start, self.start + 10**6):
            writer.put([Document(f"a{i}", "", f"shell {i}"), Document(f"b{i}", "", f"words {i}")])
            say("put", i)
            writer.patch(f"a{i}", {"n": i})
            say("patch", i)
            if i % 3 == 0:
                writer.delete([f"b{i}"])
                say("delete", i)

    def ingest(self) -> None:
        encoder = self.encoder()
        for start in range(self.start, self.start + 10**6, INGESTED):
            name = read_card(self.folder).encoder
            Ingest(Numbered(start), self.folder, encoder, name).run()
            say("ingest", start)

    def snapshot(self) -> None:
        while True:
            renew_snapshot(self.folder)
            say("snapshot", 0)

    def compact(self) -> None:
        while True:
            compact_index(self.folder)
            say("compact", 0)

    def reembed(self) -> None:
        while True:
            name = next(each for each in self.encoders if each != read_card(self.folder).encoder)
            reembed(self.folder, DocumentEncoder(Path(name)), name)
            say("reembed", 0)

    def backup(self) -> None:
        for i in range(self.start, self.start + 10**6):
            write_backup(self.folder, self.folder.parent / f"{i}.backup")
            say("backup", i)

    def restore(self) -> None:
        while True:
            restore_backup(self.folder.parent / "whole.backup", self.folder)
            say("restore", 0)

    def drop(self) -> None:
        indexes = Indexes({}, self.folder.parent / "data", None)
        encoder = self.encoder()
        for i in range(self.start, self.start + 10**6):
            name = read_card(self.folder).encoder
            Ingest(Numbered(0, 5), dropped_folder(self.folder, i), encoder, name).run()
            say("made", i)
            indexes.drop(indexes.droppable(f"d{i}"))
            say("drop", i)


JOBS = ("upsert", "ingest", "snapshot", "compact", "reembed", "backup", "restore", "drop")


def dropped_folder(folder: Path, i: int) -> Path:
    """The index that the job ``drop`` makes and drops as its i-th."""
    return folder.parent / "data" / f"d{i}"


@dataclass
class Expected:
    """What was acknowledged: metadata's ``n`` of each id; ``maybe``: what was under way."""

    acknowledged: dict[str, int | None] = field(default_factory=dict)
    maybe: set[str] = field(default_factory=set)

    def hear(self, word: str, i: int) -> None:
        if word == "put":
            self.acknowledged |= {f"a{i}": None, f"b{i}": None}
        elif word == "patch":
            self.acknowledged[f"a{i}"] = i
        elif word == "delete":
            del self.acknowledged[f"b{i}"]
        elif word == "ingest":
            self.acknowledged |= {f"i{n}": None for n in range(i, i + INGESTED)}

    def compare(self, folder: Path) -> None:
        """AssertionError where the index has lost something, or has half of it."""
        store = Store(folder)
        try:
            found = {each.id: each for part in store.all_documents(1000) for _, each in part}
        finally:
            store.close()
        certain = self.acknowledged.keys() - self.maybe
        assert certain <= found.keys(), f"lost: {sorted(certain - found.keys())[:5]}"
        unknown = found.keys() - self.acknowledged.keys() - self.maybe
        assert not unknown, f"never written: {sorted(unknown)[:5]}"
        words = {"a": "shell", "b": "words", "i": "ingested"}
        for id_, document in found.items():
            assert document.text == f"{words[id_[0]]} {id_[1:]}"
            if id_ in certain:
                n = self.acknowledged[id_]
                assert document.metadata == ({} if n is None else {"n": n})


def kill_writers(count: int, base: Path, seed: int, encoders: tuple[str, str]) -> None:
    """So many kills, of every job in turn; AssertionError if anything is lost or damaged.

    ``base``: an empty folder to work in.
    """
    chosen = random.Random(seed)
    folder, expected, next_number = base / "index", Expected(), FIRST
    Ingest(Numbered(0, FIRST), folder, DocumentEncoder(Path(encoders[0])), encoders[0]).run()
    expected.acknowledged |= {f"i{i}": None for i in range(FIRST)}
    for turn in range(count):
        job = JOBS[turn % len(JOBS)]
        if job == "restore":
            (base / "whole.backup").unlink(missing_ok=True)
            write_backup(folder, base / "whole.backup")
        said = killed(job, folder, encoders, next_number, chosen.random() * LONGEST)
        for word, number in said:
            expected.hear(word, number)
        last = max([next_number, *(number for _, number in said)])
        if job == "upsert":
            expected.maybe |= {f"{name}{i}" for i in (last, last + 1) for name in "ab"}
            next_number = last + 2
        elif job == "ingest":
            expected.maybe |= {f"i{i}" for i in range(last, last + 2 * INGESTED)}
            next_number = last + 2 * INGESTED
        elif job == "backup":
            for word, number in said:
                assert word == "backup"
                read_backup(base / f"{number}.backup")
            for path in base.glob("*.backup"):
                path.unlink()
            next_number = last + 2
        elif job == "drop":
            check_dropped(folder, said)
            next_number = last + 2
        check(folder, expected)


def killed(
    job: str, folder: Path, encoders: tuple[str, str], start: int, seconds: float
) -> list[tuple[str, int]]:
    """What a job said until it was killed, so many seconds after it had begun."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.kills", job, folder, *encoders, str(start)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    assert lines == ["begun 0\n"], lines
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    lines += process.stdout
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL, f"{job} ended by itself"
    said = [line.split() for line in lines[1:] if line.endswith("\n")]
    return [(word, int(number)) for word, number in said]


def check_dropped(folder: Path, said: list[tuple[str, int]]) -> None:
    """What was dropped is gone; what was made and not dropped yet is whole, or wholly gone."""
    for word, number in said:
        dropped = dropped_folder(folder, number)
        if word == "drop":
            assert not dropped.exists()
        elif ("drop", number) not in said:
            assert (word, number) == said[-1]
            if dropped.exists():
                assert is_index(dropped)
                assert find_damage(dropped, deep=True) == []


def check(folder: Path, expected: Expected) -> None:
    searcher = Searcher(folder)
    assert len(searcher.search("shell", 10).hits) == 10
    searcher.close()
    expected.compare(folder)
    assert find_damage(folder, deep=True) == []


def make_encoders(base: Path) -> tuple[str, str]:
    """Two tiny ones of different spaces."""
    return str(write_tiny(base / "one")), str(write_tiny(base / "other", seed=1))


def main(arguments: list[str]) -> None:
    if len(arguments) > 1:
        job, folder, one, other, start = arguments
        working = Job(Path(folder), (one, other), int(start))
        say("begun", 0)
        getattr(working, job)()  # until it is killed
        return
    with tempfile.TemporaryDirectory(prefix="trimseek-kills-") as name:
        base = Path(name)
        seed = int(time.time())
        began = time.monotonic()
        kill_writers(int(arguments[0]), base, seed, make_encoders(base))
        print(f"{arguments[0]} kills (seed {seed}) in {time.monotonic() - began:.0f} s: all whole")


if __name__ == "__main__":
    main(sys.argv[1:])
