"""Reads and writes over HTTP for a long time: no errors, no leak, nothing lost in a kill.

python -m trimseek.eval.figures soak --minutes 30 [--encoder minilm-int8]

Several clients search a new service, write to it and delete from it. In the end it is killed with
SIGKILL and started again, and every acknowledged write must be there. Exits with 1 after an error
or growth of memory, which it prints.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from trimseek.api.keys import Role, new_key
from trimseek.console import note
from trimseek.eval.figures.service import RunningService, service
from trimseek.memory import family_bytes

WORDS = [
    "shell",
    "word",
    "list",
    "file",
    "sort",
    "random",
    "choice",
    "module",
    "string",
    "split",
    "path",
    "system",
    "queue",
]
READERS, WRITERS = 3, 1
IDS, FILLED = 2000, 200  # documents, and how many of them are written at a time at first
WARM_UP = 0.25  # share of the time before memory is compared
GROWTH = 0.05  # of the memory of all the service's processes that is allowed
INDEX = "soak"
MEMORY_INTERVAL = 1.0  # seconds between two measurements of memory


@dataclass
class Soak:
    """A soak of so many seconds, and what came of it.

    ``expected``: by id the text that was acknowledged last, None for a deleted document.
    ``memory``: seconds since the start, and bytes of all the service's processes.
    """

    seconds: float
    reads: int = 0
    writes: int = 0
    errors: list[str] = field(default_factory=list)
    expected: dict[str, str | None] = field(default_factory=dict)
    memory: list[tuple[float, int]] = field(default_factory=list)

    async def fill(self, running: RunningService, key: str, encoder: str) -> None:
        """Make the index, with as many documents as it will ever have: later growth is a leak."""
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(running.url, headers=headers) as session:
            url = f"/v1/indexes/{INDEX}"
            async with session.put(url, json={"encoder": encoder}) as answer:
                answer.raise_for_status()
            ids = [f"d{i}" for i in range(IDS)]
            for start in range(0, IDS, FILLED):
                part = ids[start : start + FILLED]
                texts = {id_: random_text(random.Random(id_)) for id_ in part}  # noqa: S311
                body = {"documents": [{"id": id_, "text": text} for id_, text in texts.items()]}
                if await self.ask(session, "POST", "/documents", body):
                    self.expected |= texts

    async def run(self, running: RunningService, key: str) -> None:
        """Read, write and watch memory for the seconds of the soak."""
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(running.url, headers=headers) as session:
            end = time.monotonic() + self.seconds
            await asyncio.gather(
                *(self.read(session, random.Random(i), end) for i in range(READERS)),  # noqa: S311
                *(self.write(session, random.Random(-i), end) for i in range(1, WRITERS + 1)),  # noqa: S311
                self.watch(running.pid, end),
            )

    async def ask(
        self, session: aiohttp.ClientSession, method: str, path: str, body: Any = None
    ) -> Any:
        """The JSON of an answer; None for 404, 429 and errors, which are noted."""
        try:
            async with session.request(method, f"/v1/indexes/{INDEX}{path}", json=body) as answer:
                if answer.status == 200:
                    return await answer.json()
                if answer.status not in (404, 429):
                    self.errors.append(f"{method} {path}: {answer.status} {await answer.text()}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.errors.append(f"{method} {path}: {error!r}")
        return None

    async def read(self, session: aiohttp.ClientSession, chosen: random.Random, end: float) -> None:
        """Search for random words in random modes until ``end``, a monotonic time."""
        while time.monotonic() < end:
            query = " ".join(chosen.sample(WORDS, 3))
            mode = chosen.choice(["dense", "dense", "hybrid", "lexical"])
            body = {"query": query, "mode": mode, "highlight": chosen.random() < 0.3}
            await self.ask(session, "POST", "/search", body)
            self.reads += 1
            await asyncio.sleep(0.005)

    async def write(
        self, session: aiohttp.ClientSession, chosen: random.Random, end: float
    ) -> None:
        """Replace and delete random documents until ``end``, a monotonic time."""
        while time.monotonic() < end:
            id_ = f"d{chosen.randrange(IDS)}"
            if chosen.random() < 0.25 and self.expected.get(id_):
                if await self.ask(session, "DELETE", f"/documents/{id_}"):
                    self.expected[id_] = None
            else:
                text = random_text(chosen)
                body = {"documents": [{"id": id_, "text": text}]}
                if await self.ask(session, "POST", "/documents", body):
                    self.expected[id_] = text
            self.writes += 1
            await asyncio.sleep(0.02)

    async def watch(self, pid: int, end: float) -> None:
        """Measure the memory of a service until ``end``, a monotonic time."""
        began = time.monotonic()
        while time.monotonic() < end:
            self.memory.append((time.monotonic() - began, family_bytes(pid)))
            await asyncio.sleep(MEMORY_INTERVAL)

    def growth(self) -> float:
        """Of memory: median of the last tenth of the time against the first's, as a share.

        The time begins after the warm-up.
        """
        sizes = [size for seconds, size in self.memory if seconds >= WARM_UP * self.seconds]
        tenth = max(1, len(sizes) // 10)
        first, last = sorted(sizes[:tenth])[tenth // 2], sorted(sizes[-tenth:])[tenth // 2]
        return last / first - 1

    async def check(self, running: RunningService, key: str) -> None:
        """Note an error for each acknowledged write that is not there."""
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(running.url, headers=headers) as session:
            for id_, text in self.expected.items():
                document = await self.ask(session, "GET", f"/documents/{id_}")
                if (document and document["text"]) != text:
                    self.errors.append(f"{id_} is {document}, {text!r} was acknowledged")


def random_text(chosen: random.Random) -> str:
    """Eight words."""
    return " ".join(chosen.choices(WORDS, k=8))


def soak(minutes: float, encoder: str) -> Soak:
    """Fill, load, kill, start again and check a service of its own."""
    secret, key = new_key("soak", Role.ADMIN)
    result = Soak(minutes * 60)
    with tempfile.TemporaryDirectory(prefix="trimseek-soak-") as data:
        settings = {"TRIMSEEK_KEYS": key.line(), "TRIMSEEK_LOG": "off", "TRIMSEEK_DATA": data}
        with service(None, settings) as running:
            asyncio.run(result.fill(running, secret, encoder))
            asyncio.run(result.run(running, secret))
            os.kill(running.pid, signal.SIGKILL)
        with service(None, settings) as running:
            asyncio.run(result.check(running, secret))
    return result


def main(arguments: Sequence[str]) -> int:
    """Run a soak, and report it on stderr; returns 1 after an error or growth of memory."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--encoder", default="minilm-int8")
    parser.add_argument("--into", type=Path, help="write memory over time there, as JSON")
    options = parser.parse_args(arguments)
    result = soak(options.minutes, options.encoder)
    growth = result.growth()
    if options.into:
        options.into.write_text(json.dumps(asdict(result)))
    note(
        f"{options.minutes:g} minutes: {result.reads:,} searches, {result.writes:,} writes, "
        f"{len(result.errors)} errors, memory {growth:+.1%}, "
        f"{len(result.expected):,} documents as acknowledged after SIGKILL"
    )
    for error in result.errors[:10]:
        note(error)
    return int(bool(result.errors) or growth > GROWTH)
