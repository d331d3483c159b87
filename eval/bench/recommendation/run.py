"""``trimseek bench`` on an event log: how well recommenders find what users took last, how fast.

Quality is over all items that a user had not had, not over a sample of them (Krichene & Rendle
2020). Speed is that of a history to its ten items, search included, in this process: systems take
turns, so that a slow moment hits all.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from trimseek.console import note, progress
from trimseek.encoders.catalog import find_encoder
from trimseek.encoders.recommender.events import EventLog
from trimseek.encoders.recommender.histories import (
    CUTOFF,
    TEST,
    HeldOut,
    History,
    gains,
    held_out,
    measures,
)
from trimseek.errors import ConfigError, TrimseekError
from trimseek.eval.bench.machine import describe_machine
from trimseek.eval.bench.recommendation.systems import (
    PEERS,
    EncoderSystem,
    EncodingSystem,
    System,
    best_of_all,
    check_peers,
)
from trimseek.eval.bench.results import Machine, Unavailable
from trimseek.eval.quality.significance import Interval, Values, loss, loss_interval

ROUNDS = 5
TIMED = 200  # histories of each round
CLIENTS = 16
CLIENT_SECONDS = 1.0  # of each round
PAUSE = 0.1  # seconds; until then the threads of the system before may still spin
LONG = 50  # items of a long history
FORMAT_VERSION = 1


@dataclass(frozen=True)
class Speed:
    """Milliseconds at p50: of one client's request, of ``CLIENTS`` at once, of a long history.

    ``encode``: of encoding a history, without the search; None for what encodes none.
    ``per_second``: answers of all these clients. ``turns``: p50 of each round, of one client.
    """

    encode: float | None
    one: float
    many: float
    long: float
    per_second: float
    turns: tuple[float, ...]


@dataclass(frozen=True)
class SystemRow:
    """What was measured of one system.

    ``hit_rate``, ``ndcg``: of the first ten. ``coverage``: the share of all items that are among
    anybody's first ten. ``loss``: of nDCG@10 relative to the first system, with its paired
    bootstrap 95 % ``interval``; None for that one. ``bytes``: of what it keeps to answer.
    """

    name: str
    peer: bool
    hit_rate: float
    ndcg: float
    coverage: float
    loss: float | None
    interval: Interval | None
    bytes: int
    speed: Speed | None


@dataclass(frozen=True)
class RecommendationReport:
    """The rows of one log; ``again``: users who took what they had had, who do not count."""

    date: str
    command: str
    log: str
    events: int
    users: int
    items: int
    tested: int
    again: int
    machine: Machine
    rows: tuple[SystemRow, ...]
    unavailable: tuple[Unavailable, ...]
    format_version: int = FORMAT_VERSION


def bench_recommenders(
    log: EventLog,
    encoders: Sequence[str],
    *,
    peers: Sequence[str] = (),
    timing: bool = True,
    command: str = "",
) -> RecommendationReport:
    """Measure encoders and peers on a log; the first encoder is what losses are relative to.

    ConfigError for no encoder or an unknown peer; EncoderError for one that reads texts.
    """
    if not encoders:
        raise ConfigError("on an event log, name a recommender: --encoder DIR")
    names = tuple(PEERS) if "all" in peers else tuple(dict.fromkeys(peers))
    check_peers(names)
    first = find_encoder(encoders[0])
    systems: list[System] = [
        EncoderSystem(name, find_encoder(name), log) for name in dict.fromkeys(encoders)
    ]
    unavailable = []
    for name in names:
        note(f"preparing {name} ...")
        try:
            systems.append(PEERS[name](name, first, log))
        except TrimseekError as error:
            unavailable.append(Unavailable(name, str(error)))
            note(f"{name} is unavailable: {error}")
    test = held_out(log, TEST)
    if not test.users:
        raise ConfigError(f"{log.name}: no user has three events of which the last is new to them")
    rows, reference = [], None
    speeds = time_systems(systems, test.histories) if timing else {}
    for system in systems:
        row, values = measured(system, test, log, reference)
        rows.append(SystemRow(**row, peer=system.name in names, speed=speeds.get(system.name)))
        reference = values if reference is None else reference
    return RecommendationReport(
        date=datetime.now(UTC).date().isoformat(),
        command=command,
        log=log.name,
        events=len(log.taken),
        users=len(log.users),
        items=len(log.items),
        tested=len(test.users),
        again=test.again,
        machine=describe_machine(None, {}),
        rows=tuple(rows),
        unavailable=tuple(unavailable),
    )


def measured(
    system: System, test: HeldOut, log: EventLog, reference: Values | None
) -> tuple[dict[str, Any], Values]:
    """The quality of a system as fields of ``SystemRow``, and nDCG@10 of each user."""
    best = best_of_all(system, test.histories, CUTOFF, len(log.items))
    hits = best == test.targets[:, None]
    found = np.where(hits.any(1), hits.argmax(1) + 1, CUTOFF + 1)
    means, values = measures(found), gains(found)
    fields: dict[str, Any] = {
        "name": system.name,
        "hit_rate": means.hit_rate,
        "ndcg": means.ndcg,
        "coverage": len(np.unique(best[best >= 0])) / len(log.items),
        "loss": None if reference is None else loss(reference, values),
        "interval": None if reference is None else loss_interval(reference, values),
        "bytes": system.bytes,
    }
    return fields, values


def time_systems(systems: Sequence[System], histories: Sequence[History]) -> dict[str, Speed]:
    """The speed of each system, in turns."""
    order = np.random.default_rng(0).permutation(len(histories))
    some = [histories[i] for i in order[: ROUNDS * TIMED]]
    long = [long_history(histories, start) for start in range(0, 64 * LONG, LONG)]
    one: dict[str, list[float]] = {system.name: [] for system in systems}
    many: dict[str, list[float]] = {system.name: [] for system in systems}
    longest: dict[str, list[float]] = {system.name: [] for system in systems}
    counts: dict[str, list[float]] = {system.name: [] for system in systems}
    encode: dict[str, list[float]] = {system.name: [] for system in systems}
    with progress("timing", ROUNDS) as ticker:
        for number in range(ROUNDS):
            turn = [some[(number * TIMED + i) % len(some)] for i in range(TIMED)]
            for place in range(len(systems)):
                system = systems[(place + number) % len(systems)]
                time.sleep(PAUSE)
                system.best(turn[:1], CUTOFF)
                one[system.name].append(median(seconds_of(system, turn)))
                if isinstance(system, EncodingSystem):
                    encode[system.name].append(median(seconds_of(system, turn, encode=True)))
                longest[system.name].append(median(seconds_of(system, long)))
                seconds, answers = closed_loop(system, turn)
                many[system.name].append(median(seconds))
                counts[system.name].append(answers)
            ticker.advance(1)
    return {
        name: Speed(
            1e3 * median(encode[name]) if encode[name] else None,
            1e3 * median(one[name]),
            1e3 * median(many[name]),
            1e3 * median(longest[name]),
            median(counts[name]),
            tuple(round(1e3 * each, 4) for each in one[name]),
        )
        for name in one
    }


def long_history(histories: Sequence[History], start: int) -> History:
    """A history of ``LONG`` different items, from several users' where need be."""
    found: dict[int, None] = {}
    for i in range(len(histories)):
        found |= dict.fromkeys(histories[(start + i) % len(histories)].tolist())
        if len(found) >= LONG:
            break
    return np.array(list(found)[:LONG], np.int32)


def seconds_of(
    system: System, histories: Sequence[History], *, encode: bool = False
) -> list[float]:
    """Of each history, asked one at a time, or only encoded."""
    answer: Callable[[Sequence[History]], object] = partial(system.best, k=CUTOFF)
    if encode and isinstance(system, EncodingSystem):
        answer = system.encode
    seconds = []
    for history in histories:
        began = time.perf_counter()
        answer([history])
        seconds.append(time.perf_counter() - began)
    return seconds


def closed_loop(system: System, histories: Sequence[History]) -> tuple[list[float], float]:
    """Seconds of each answer to ``CLIENTS`` that ask again at once, and answers a second."""
    seconds: list[float] = []
    ends = time.perf_counter() + CLIENT_SECONDS

    def ask(client: int) -> None:
        number = client
        while time.perf_counter() < ends:
            seconds.extend(seconds_of(system, [histories[number % len(histories)]]))
            number += CLIENTS

    clients = [threading.Thread(target=ask, args=(client,)) for client in range(CLIENTS)]
    began = time.perf_counter()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return seconds, len(seconds) / (time.perf_counter() - began)


def to_json(report: RecommendationReport) -> dict[str, Any]:
    """What results.json holds."""
    return asdict(report)
