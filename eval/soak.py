"""Reads and writes over HTTP for a long time: no error, no growth, nothing lost in a kill.

python -m eval.soak --minutes 30 [--encoder minilm-int8]

A service of its own on a new index is searched, written to, patched and deleted from by several
clients; in the end it is killed with SIGKILL and started again, and every acknowledged write must
be there. Exits with 1 and says why where something is wrong.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from api.keys import Role, new_key
from eval.service import Service, service
from trimseek.console import note
from trimseek.memory import resident_bytes

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
IDS, FILLED = 2000, 200  # documents; at a time in the beginning
WARM_UP = 0.25  # of the time, until memory is looked at
GROWTH = 0.05
INDEX = "soak"
LOOK = 1.0  # seconds between two looks at memory


@dataclass
class Soak:
    """``expected``: text of each document that was acknowledged, None of one that was deleted."""

    seconds: float
    reads: int = 0
    writes: int = 0
    errors: list[str] = field(default_factory=list)
    expected: dict[str, str | None] = field(default_factory=dict)
    memory: list[tuple[float, int]] = field(default_factory=list)

    async def fill(self, running: Service, key: str, encoder: str) -> None:
        """An index of as many documents as there will be: what grows later is a leak."""
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(running.url, headers=headers) as session:
            url = f"/v1/indexes/{INDEX}"
            async with session.put(url, json={"encoder": encoder}) as answer:
                answer.raise_for_status()
            ids = [f"d{i}" for i in range(IDS)]
            for start in range(0, IDS, FILLED):
                some = {id_: some_words(random.Random(id_)) for id_ in ids[start : start + FILLED]}  # noqa: S311
                body = {"documents": [{"id": id_, "text": text} for id_, text in some.items()]}
                if await self.ask(session, "POST", "/documents", body):
                    self.expected |= some

    async def run(self, running: Service, key: str) -> None:
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
        """The answer; None, and an error noted, where there is none."""
        try:
            async with session.request(method, f"/v1/indexes/{INDEX}{path}", json=body) as found:
                if found.status == 200:
                    return await found.json()
                if found.status not in (404, 429):
                    self.errors.append(f"{method} {path}: {found.status} {await found.text()}")
        except (aiohttp.ClientError, TimeoutError) as error:
            self.errors.append(f"{method} {path}: {error!r}")
        return None

    async def read(self, session: aiohttp.ClientSession, chosen: random.Random, end: float) -> None:
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
        while time.monotonic() < end:
            id_ = f"d{chosen.randrange(IDS)}"
            if chosen.random() < 0.25 and self.expected.get(id_):
                if await self.ask(session, "DELETE", f"/documents/{id_}"):
                    self.expected[id_] = None
            else:
                text = some_words(chosen)
                body = {"documents": [{"id": id_, "text": text}]}
                if await self.ask(session, "POST", "/documents", body):
                    self.expected[id_] = text
            self.writes += 1
            await asyncio.sleep(0.02)

    async def watch(self, pid: int, end: float) -> None:
        began = time.monotonic()
        while time.monotonic() < end:
            self.memory.append((time.monotonic() - began, resident_bytes(pid)))
            await asyncio.sleep(LOOK)

    def growth(self) -> float:
        """Of resident memory, from after the warm-up to the end: medians of a tenth of the time."""
        settled = [size for at, size in self.memory if at >= WARM_UP * self.seconds]
        part = max(1, len(settled) // 10)
        first, last = sorted(settled[:part])[part // 2], sorted(settled[-part:])[part // 2]
        return last / first - 1

    async def check(self, running: Service, key: str) -> None:
        """Every acknowledged write is there."""
        headers = {"Authorization": f"Bearer {key}"}
        async with aiohttp.ClientSession(running.url, headers=headers) as session:
            for id_, text in self.expected.items():
                found = await self.ask(session, "GET", f"/documents/{id_}")
                if (found and found["text"]) != text:
                    self.errors.append(f"{id_} is {found}, {text!r} was acknowledged")


def some_words(chosen: random.Random) -> str:
    return " ".join(chosen.choices(WORDS, k=8))


def soak(minutes: float, encoder: str) -> Soak:
    """Do it; what was seen."""
    secret, key = new_key("soak", Role.ADMIN)
    found = Soak(minutes * 60)
    with tempfile.TemporaryDirectory(prefix="trimseek-soak-") as data:
        settings = {"TRIMSEEK_KEYS": key.line(), "TRIMSEEK_LOG": "off", "TRIMSEEK_DATA": data}
        with service(None, settings) as running:
            asyncio.run(found.fill(running, secret, encoder))
            asyncio.run(found.run(running, secret))
            os.kill(running.pid, signal.SIGKILL)
        with service(None, settings) as running:
            asyncio.run(found.check(running, secret))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--encoder", default="minilm-int8")
    parser.add_argument("--into", type=Path, help="write memory over time there, as JSON")
    asked = parser.parse_args()
    found = soak(asked.minutes, asked.encoder)
    growth = found.growth()
    if asked.into:
        asked.into.write_text(json.dumps(asdict(found)))
    note(
        f"{asked.minutes:g} minutes: {found.reads:,} searches, {found.writes:,} writes, "
        f"{len(found.errors)} errors, memory {growth:+.1%}, "
        f"{len(found.expected):,} documents as acknowledged after SIGKILL"
    )
    for error in found.errors[:10]:
        note(error)
    return int(bool(found.errors) or growth > GROWTH)


if __name__ == "__main__":
    sys.exit(main())
