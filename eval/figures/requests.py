"""Where the time of a search over HTTP goes, and what the service makes of its CPUs.

python -m trimseek.eval.figures requests INDEX QUESTIONS.jsonl.gz [TRIMSEEK OTHER_INDEX]

Needs wrk. TRIMSEEK is the command of another trimseek, an earlier commit's, and OTHER_INDEX an
index of the same texts that it has made: it is loaded in the same run.
"""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median

import numpy as np

from trimseek.api.lane import plain_query
from trimseek.api.settings import ServiceSettings
from trimseek.child import module_command
from trimseek.console import note
from trimseek.encoders.unlabelled import sample_texts
from trimseek.eval.bench.machine import describe_machine
from trimseek.eval.bench.report import Cells
from trimseek.eval.bench.results import Machine
from trimseek.eval.figures.files import RESULTS, read_figures, today, write_figures
from trimseek.eval.figures.service import QUIET, TRIMSEEK, service
from trimseek.eval.figures.wrk import WrkLoad, wrk
from trimseek.indexer.summary import summarize
from trimseek.search import Searcher
from trimseek.search.opened import Moment
from trimseek.search.options import Mode
from trimseek.search.plain import PlainQuery, found_rows, hits_json, plain_answers
from trimseek.search.query_words import QueryWords
from trimseek.settings import make_settings

REQUESTS = RESULTS / "requests.json"
ENCODERS = ("minilm-swift", "minilm-int8")
MODES = (Mode.DENSE, Mode.HYBRID)
QUESTIONS, WARM_UP = 1000, 200
CLIENTS, SECONDS = 16, 8
IN_PROCESS = "in-process"  # the argument of a process that searches without HTTP
STAGES = ("body", "tokens", "encoder", "words", "retrieval", "documents")


@dataclass(frozen=True)
class Profile:
    """Of one search at a time; microseconds, medians.

    ``stages``: of ``STAGES``, one after another in one thread. ``together``: encoding and searching
    as the service does. ``http``: until wrk has the answer, over a connection that is kept.
    """

    encoder: str
    mode: str
    stages: dict[str, float]
    together: float
    http: float
    http_p99: float


@dataclass(frozen=True)
class Throughput:
    """``CLIENTS`` clients; searches a second in as many processes as CPUs, without HTTP.

    ``other``: the other trimseek's load.
    """

    encoder: str
    mode: str
    load: WrkLoad
    in_process: float
    other: WrkLoad | None


@dataclass(frozen=True)
class RequestCosts:
    """The content of requests.json; ``other``: which trimseek was loaded beside."""

    machine: Machine
    date: str
    documents: int
    profiles: list[Profile]
    throughput: list[Throughput]
    other: str


def body_of(question: str, mode: Mode) -> str:
    """A request's body."""
    return json.dumps({"query": question, "k": 10, "mode": mode.value})


def stage_times(searcher: Searcher, questions: Sequence[str], mode: Mode) -> dict[str, float]:
    """Median microseconds of each of ``STAGES``."""
    settings = make_settings(ServiceSettings)
    times: dict[str, list[float]] = {stage: [] for stage in STAGES}
    encoder = searcher.encoder

    def stages(question: str, now: Moment) -> dict[str, float]:
        body = body_of(question, mode).encode()
        marks = [time.perf_counter()]
        query = plain_query(body, settings)
        marks.append(time.perf_counter())
        tokens = encoder.tokenizer.encode([question])
        marks.append(time.perf_counter())
        vector = np.asarray(encoder.runtime.run(tokens)[0], np.float32)
        marks.append(time.perf_counter())
        query = query or PlainQuery(question, mode=mode)
        if mode is Mode.HYBRID and now.words is not None:
            words = QueryWords(question, now.store, now.words).term_ids
            _ = now.words.scores(words, query.title_weight).compiled
        marks.append(time.perf_counter())
        rows = found_rows(now, query, vector)
        marks.append(time.perf_counter())
        ",".join(hits_json(now, rows))
        marks.append(time.perf_counter())
        taken = dict(
            zip(STAGES, (after - before for before, after in pairwise(marks)), strict=True)
        )
        # Words were looked up in it once more; an interruption in either must not make it negative.
        taken["retrieval"] = max(taken["retrieval"] - taken["words"], 0.0)
        return taken

    for number, question in enumerate(questions):
        taken = searcher.read(partial(stages, question))
        if number >= WARM_UP:
            for stage, seconds in taken.items():
                times[stage].append(seconds * 1e6)
    return {stage: median(values) for stage, values in times.items()}


def together(searcher: Searcher, questions: Sequence[str], mode: Mode) -> float:
    """Median microseconds of a search as the service does it, without HTTP."""
    times = []
    for number, question in enumerate(questions):
        began = time.perf_counter()
        plain_answers(searcher, [PlainQuery(question, mode=mode)])
        if number >= WARM_UP:
            times.append((time.perf_counter() - began) * 1e6)
    return median(times)


def searches_per_second(folder: Path, encoder: str, mode: Mode, questions: Path) -> float:
    """Of as many processes as there are CPUs, together."""
    words = [str(folder), encoder, mode.value, str(questions), str(SECONDS)]
    command = [*module_command("trimseek.eval.figures"), "requests", IN_PROCESS, *words]
    environment = os.environ | {"TRIMSEEK_THREADS": "1"}
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(os.cpu_count() or 1)
    ]
    return sum(float(process.communicate()[0]) for process in started)


def search_in_process(
    folder: Path, encoder: str, mode: Mode, questions: Path, seconds: float
) -> None:
    """Search for some seconds, and print how many searches a second."""
    texts = sample_texts(questions, QUESTIONS)
    with Searcher(folder, encoder) as searcher:
        for text in texts[:WARM_UP]:
            plain_answers(searcher, [PlainQuery(text, mode=mode)])
        began, done = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            plain_answers(searcher, [PlainQuery(texts[done % len(texts)], mode=mode)])
            done += 1
        print(done / (time.perf_counter() - began))


def measured_load(
    folder: Path,
    encoder: str,
    mode: Mode,
    texts: Sequence[str],
    command: Sequence[str],
    *,
    clients: int,
) -> WrkLoad:
    """The load of a service of that command, after a warm-up."""
    settings: Mapping[str, str] = {**QUIET, "TRIMSEEK_QUERY_ENCODER": encoder}
    bodies = [body_of(text, mode) for text in texts]
    with service(folder, settings, command) as running:
        url = f"{running.url}/v1/indexes/{folder.resolve().name}/search"
        wrk(url, bodies, clients, 2, running.pid)
        return wrk(url, bodies, clients, SECONDS, running.pid)


def main(arguments: Sequence[str]) -> None:
    """Measure an index with the questions of a file, and write the results."""
    if arguments[0] == IN_PROCESS:
        name, encoder, mode, file, seconds = arguments[1:]
        search_in_process(Path(name), encoder, Mode(mode), Path(file), float(seconds))
        return
    folder, questions = Path(arguments[0]), Path(arguments[1])
    other = (arguments[2], Path(arguments[3])) if len(arguments) > 2 else None
    texts = sample_texts(questions, QUESTIONS + WARM_UP)
    profiles, throughput = [], []
    for encoder in ENCODERS:
        for kind in MODES:
            profiles.append(profiled(folder, encoder, kind, texts))
            note(f"{profiles[-1]}")
            load = measured_load(folder, encoder, kind, texts, TRIMSEEK, clients=CLIENTS)
            in_process = searches_per_second(folder, encoder, kind, questions)
            earlier = None
            if other is not None:
                earlier = measured_load(
                    *(other[1], encoder, kind, texts, [other[0]]), clients=CLIENTS
                )
            throughput.append(Throughput(encoder, kind.value, load, in_process, earlier))
            note(f"{throughput[-1]}")
    documents = summarize(folder).documents
    machine = describe_machine(None, {})
    name = "" if other is None else version_of(other[0])
    write_figures(REQUESTS, RequestCosts(machine, today(), documents, profiles, throughput, name))


def profiled(folder: Path, encoder: str, mode: Mode, texts: Sequence[str]) -> Profile:
    """One search at a time, in this process and over HTTP."""
    with Searcher(folder, encoder) as searcher:
        stages = stage_times(searcher, texts, mode)
        whole = together(searcher, texts, mode)
    alone = measured_load(folder, encoder, mode, texts, TRIMSEEK, clients=1)
    return Profile(encoder, mode.value, stages, whole, alone.p50 * 1e3, alone.p99 * 1e3)


def version_of(command: str) -> str:
    """The commit that a trimseek is of, by its checkout, else the command."""
    done = subprocess.run(
        ["git", "-C", str(Path(command).resolve().parent), "rev-parse", "--short", "HEAD"],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or command


def read_requests() -> RequestCosts:
    """The committed results."""
    return read_figures(REQUESTS, RequestCosts)


def profile_cells(costs: RequestCosts) -> Cells:
    """A column for each encoder and mode, a row for each stage."""
    profiles = costs.profiles
    headings = ["microseconds, medians", *(f"{each.encoder}, {each.mode}" for each in profiles)]
    rows = [[stage, *(f"{each.stages[stage]:.0f}" for each in profiles)] for stage in STAGES]
    rows += [
        ["encoded and searched, in one go", *(f"{each.together:.0f}" for each in profiles)],
        ["over HTTP", *(f"{each.http:.0f}" for each in profiles)],
        ["over HTTP, p99", *(f"{each.http_p99:.0f}" for each in profiles)],
    ]
    return Cells(f"one search at a time of {costs.documents:,} documents", headings, rows)


def throughput_cells(costs: RequestCosts) -> Cells:
    """A row for each encoder and mode."""
    headings = [
        *("", "searches/s", "of in process", "p50 ms", "p99 ms", "CPU us", "wrk us"),
        *([f"{costs.other}: searches/s", "times"] if costs.other else []),
    ]
    rows = []
    for each in costs.throughput:
        load = each.load
        row = [
            f"{each.encoder}, {each.mode}",
            f"{load.per_second:,.0f}",
            f"{load.per_second / each.in_process:.0%}",
            f"{load.p50:.1f}",
            f"{load.p99:.1f}",
            f"{load.user + load.system:.0f}",
            f"{load.generator:.0f}",
        ]
        if each.other is not None:
            rate = each.other.per_second
            row += [f"{rate:,.0f}", f"{load.per_second / rate:.1f}x"]
        rows.append(row)
    return Cells(f"{CLIENTS} clients at once", headings, rows)
