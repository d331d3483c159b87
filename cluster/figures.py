"""What a cluster costs: measured on one machine with 1, 2, 4 and 8 shards, and what follows.

python -m trimseek.cluster.figures TEXTS.jsonl.gz QUESTIONS.jsonl.gz
python -m trimseek.cluster.figures docs

The first builds and serves the same texts in several numbers of shards, beside one index; the
second writes the tables of docs/cluster.md. The model of cost is linear in the number of shards;
it is fitted without the run of 4 shards, which then says how far off it is.
"""

import http.client
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from trimseek.atomic import write_text
from trimseek.child import module_command
from trimseek.cluster.fetch import fetched_shard
from trimseek.cluster.manifest import served_manifest
from trimseek.cluster.searcher import ClusterSearcher, Generation
from trimseek.cluster.shard import Shard
from trimseek.cluster.shards import Answers, OpenShards, Question
from trimseek.cluster.storage import Storage
from trimseek.console import note
from trimseek.encoders import DEFAULT_ENCODER
from trimseek.encoders.unlabelled import read_unlabelled, sample_texts
from trimseek.errors import ServiceError, TrimseekError
from trimseek.eval.bench.machine import describe_machine
from trimseek.eval.bench.report import Cells, machine_line, markdown_table
from trimseek.eval.bench.results import Machine, Percentiles
from trimseek.eval.bench.timing import percentiles
from trimseek.eval.figures.docs import between, joined
from trimseek.eval.figures.files import RESULTS, read_figures, today, write_figures
from trimseek.eval.figures.service import QUIET, TRIMSEEK, service, wait_until_ready
from trimseek.indexer.kinds import SnapshotKind

CLUSTER = RESULTS / "cluster.json"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "cluster.md"
TEXTS = 40_000
SHARDS = (1, 2, 4, 8)
LEFT_OUT = 4  # shards of the run that the model is checked against
KIND = SnapshotKind.HNSW
QUESTIONS, WARM_UP, TOP = 200, 30, 10
CLIENTS, LOADED_SECONDS = 8, 6.0
# The simulation of tails.
SHARD_COUNTS = (1, 4, 16, 64, 256)
SIMULATED = 20_000  # questions
STRAGGLERS, SLOWER = 0.01, 10.0  # share of answers that take so many times as long
HEDGED_AFTER = 95  # percentile of one shard's answers, after which another replica is asked
# The plan on paper.
PLANNED = (100_000_000, 1_000_000_000)  # passages
MEMORY, CORES, PRICE = 128 * 2**30, 16, 0.05  # of a machine; of a core and hour
FULL = 0.75  # of a machine's memory
REPLICAS = 2
BUILD_HOURS = 24.0


@dataclass(frozen=True)
class ClusterRun:
    """The texts in so many shards.

    ``build_seconds``: without the start of Ray. ``one_at_a_time``: over HTTP, ms; ``per_second``:
    with ``CLIENTS`` at once. ``shard_ms``: that a shard works for a question, median.
    ``sent``, ``received``: bytes of a question and its answers between front and shards, medians.
    """

    shards: int
    build_seconds: float
    one_at_a_time: Percentiles
    per_second: float
    shard_ms: float
    sent: float
    received: float


@dataclass(frozen=True)
class ClusterFigures:
    """The content of cluster.json.

    ``index_seconds``, ``single``, ``single_per_second``: of one index. ``stored_bytes``,
    ``served_bytes``: of a passage below the URI, and in the files that shards map. ``answers_ms``:
    of one of ``LEFT_OUT`` shards, Ray apart, ascending.
    """

    machine: Machine
    date: str
    encoder: str
    passages: int
    index_seconds: float
    single: Percentiles
    single_per_second: float
    stored_bytes: float
    served_bytes: float
    runs: tuple[ClusterRun, ...]
    answers_ms: tuple[float, ...]


def measure(texts: Sequence[str], questions: Sequence[str]) -> ClusterFigures:
    """Build and serve; about ten minutes."""
    with tempfile.TemporaryDirectory(prefix="trimseek-cluster-") as name:
        folder = Path(name)
        corpus = folder / "corpus.jsonl"
        rows = (json.dumps({"_id": f"d{i}", "text": text}) for i, text in enumerate(texts))
        corpus.write_text("\n".join(rows) + "\n", "utf-8")
        note("one index ...")
        kind = ("--kind", KIND.value)
        report = run_json("index", corpus, "--into", folder / "single", *kind)
        with service(folder / "single", {**QUIET, "TRIMSEEK_WORKERS": "1"}) as single:
            url = f"{single.url}/v1/indexes/single/search"
            one, many = one_at_a_time(url, questions), per_second(url, questions)
        runs, answers = [], list[float]()
        for shards in SHARDS:
            note(f"{shards} shards ...")
            uri = folder / f"shards-{shards}"
            built = run_json("cluster", "build", corpus, "--into", uri, "--shards", shards, *kind)
            with serving(uri) as base:
                url = f"{base}/v1/indexes/{uri.name}/search"
                latencies, rate = one_at_a_time(url, questions), per_second(url, questions)
            work = shard_work(uri, questions)
            if shards == LEFT_OUT:
                answers = sorted(work.milliseconds)
            runs.append(
                ClusterRun(
                    shards,
                    built["seconds"],
                    percentiles(latencies),
                    rate,
                    median(work.milliseconds),
                    median(work.sent),
                    median(work.received),
                )
            )
        manifest = served_manifest(Storage(str(uri)))
        mapped = sum(file.bytes for shard in manifest.shards for file in shard.beside.values())
        return ClusterFigures(
            describe_machine(None, {}),
            today(),
            DEFAULT_ENCODER,
            manifest.chunks,
            report["seconds"],
            percentiles(one),
            many,
            manifest.bytes / manifest.chunks,
            mapped / manifest.chunks,
            tuple(runs),
            tuple(answers),
        )


def run_json(*words: object) -> Any:
    """What a command says as JSON; TrimseekError where it fails."""
    done = subprocess.run(
        [*TRIMSEEK, *map(str, words), "--json"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ServiceError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)


@contextmanager
def serving(uri: Path) -> Iterator[str]:
    """Serve a cluster while the block runs; its URL."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    command = [*module_command("trimseek"), "cluster", "serve", str(uri), "--port", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ | QUIET)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


class Client:
    """One connection that asks."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._path = parts.path
        self._connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)

    def ask(self, question: str) -> float:
        """Seconds until an answer; ServiceError for one that is not whole."""
        body = json.dumps({"query": question, "k": TOP})
        began = time.perf_counter()
        self._connection.request("POST", self._path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        content = response.read()
        took = time.perf_counter() - began
        shards = json.loads(content).get("shards", {"answered": 0, "of": 0})
        if response.status != 200 or shards["answered"] != shards["of"]:
            raise ServiceError(f"{response.status}: {content[:200]!r}")
        return took


def one_at_a_time(url: str, questions: Sequence[str]) -> list[float]:
    """Seconds of each question, those of warming up left out."""
    client = Client(url)
    return [client.ask(question) for question in questions][WARM_UP:]


def per_second(url: str, questions: Sequence[str]) -> float:
    """Questions answered a second, with several clients that ask again when they are answered."""
    end = time.monotonic() + LOADED_SECONDS
    counts = [0] * CLIENTS

    def ask(number: int) -> None:
        client = Client(url)
        while time.monotonic() < end:
            client.ask(questions[(counts[number] + number * CLIENTS) % len(questions)])
            counts[number] += 1

    threads = [Thread(target=ask, args=(number,)) for number in range(CLIENTS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.monotonic() - began)


class Work(NamedTuple):
    """Of questions to shards: ms of each answer of the first shard; bytes of each question."""

    milliseconds: list[float]
    sent: list[float]
    received: list[float]


class CountedShards(OpenShards):
    """Shards in this process, whose questions and answers are measured."""

    def __init__(self, shards: Sequence[Shard]) -> None:
        super().__init__(shards)
        self.sent = self.received = 0
        self.seconds = 0.0

    def ask(self, questions: Mapping[int, Question], seconds: float) -> Answers:
        """As ``Shards.ask``, one after the other."""
        answers = Answers({}, {})
        for shard, question in questions.items():
            began = time.perf_counter()
            answer = self.shards[shard].ask(question.method, *question.arguments)
            if shard == 0:
                self.seconds += time.perf_counter() - began
            self.sent += len(pickle.dumps(question))
            self.received += len(pickle.dumps(answer))
            answers.by_shard[shard] = answer
        return answers


def shard_work(uri: Path, questions: Sequence[str]) -> Work:
    """What shards work and say, without Ray."""
    storage = Storage(str(uri))
    manifest = served_manifest(storage)
    work = Work([], [], [])
    shards = CountedShards(
        [Shard(fetched_shard(storage, manifest, i)) for i in range(len(manifest.shards))]
    )
    generation = Generation(storage, manifest, shards, None)
    with ClusterSearcher("corpus", str(uri), generation) as searcher:
        for question in questions:
            shards.sent = shards.received = 0
            shards.seconds = 0.0
            searcher.search(question, TOP)
            work.milliseconds.append(shards.seconds * 1e3)
            work.sent.append(shards.sent)
            work.received.append(shards.received)
    return Work(*(values[WARM_UP:] for values in work))


class Line(NamedTuple):
    """``fixed + each * shards``."""

    fixed: float
    each: float

    def at(self, shards: int) -> float:
        """For so many shards."""
        return self.fixed + self.each * shards


def fitted(runs: Sequence[ClusterRun], values: Sequence[float]) -> Line:
    """Least squares over the runs but the one that is left out."""
    known = [
        (run.shards, value)
        for run, value in zip(runs, values, strict=True)
        if run.shards != LEFT_OUT
    ]
    matrix = np.array([[1.0, shards] for shards, _ in known])
    fixed, each = np.linalg.lstsq(matrix, np.array([value for _, value in known]), rcond=None)[0]
    return Line(float(fixed), float(each))


def simulated(
    answers: Sequence[float], shards: int, *, hedged: bool
) -> tuple[NDArray[np.float64], float]:
    """Ms of questions whose slowest of so many shards counts, and the share of additional ones.

    ``answers``: ms of one shard. ``hedged``: whoever has not answered by ``HEDGED_AFTER`` is
    asked once more, another replica of it (Dean & Barroso 2013).
    """
    chance = np.random.default_rng(shards)
    wait = float(np.percentile(np.array(answers), HEDGED_AFTER))
    slowest, more = np.zeros(SIMULATED), 0
    for _ in range(shards):
        first, second = (
            chance.choice(answers, SIMULATED)
            * np.where(chance.random(SIMULATED) < STRAGGLERS, SLOWER, 1.0)
            for _ in range(2)
        )
        if hedged:
            more += int((first > wait).sum())
            first = np.minimum(first, wait + second)
        slowest = np.maximum(slowest, first)
    return slowest, more / (SIMULATED * shards)


def run_cells(figures: ClusterFigures) -> Cells:
    """What was measured."""
    single = figures.single
    rows = [
        [
            *("one index", f"{figures.index_seconds:.1f}", "1.00", f"{single.p50:.1f}"),
            *(f"{single.p99:.1f}", f"{figures.single_per_second:.0f}", "", ""),
        ]
    ]
    for run in figures.runs:
        rows.append(
            [
                str(run.shards),
                f"{run.build_seconds:.1f}",
                f"{run.build_seconds / figures.index_seconds:.2f}",
                f"{run.one_at_a_time.p50:.1f}",
                f"{run.one_at_a_time.p99:.1f}",
                f"{run.per_second:.0f}",
                f"{run.shard_ms:.2f}",
                f"{run.sent / 1000:.1f} + {run.received / 1000:.1f}",
            ]
        )
    title = f"{figures.passages:,} passages, {KIND.value}, hybrid, k {TOP}"
    headings = [
        *("shards", "build s", "of one index", "p50 ms", "p99 ms", f"a second, {CLIENTS} clients"),
        *("ms of a shard", "KB a question"),
    ]
    return Cells(title, headings, rows)


def model_cells(figures: ClusterFigures) -> Cells:
    """The fitted lines, and how far they are from the run that they do not know."""
    (left_out,) = (run for run in figures.runs if run.shards == LEFT_OUT)
    rows = []
    for name, values, actual in (
        ("build s", [run.build_seconds for run in figures.runs], left_out.build_seconds),
        ("p50 ms", [run.one_at_a_time.p50 for run in figures.runs], left_out.one_at_a_time.p50),
        ("ms of a question's CPU", cpu_ms(figures), 1e3 * cpus(figures) / left_out.per_second),
    ):
        line = fitted(figures.runs, values)
        predicted = line.at(LEFT_OUT)
        rows.append(
            [
                *(name, f"{line.fixed:.2f}", f"{line.each:.2f}", f"{predicted:.1f}"),
                *(f"{actual:.1f}", f"{predicted / actual - 1:+.0%}"),
            ]
        )
    headings = ["", "fixed", "each shard", f"{LEFT_OUT} shards, model", "measured", "off"]
    return Cells("cost = fixed + each shard, fitted to 1, 2 and 8 shards", headings, rows)


def cpus(figures: ClusterFigures) -> int:
    """Of the machine."""
    return figures.machine.cores


def cpu_ms(figures: ClusterFigures) -> list[float]:
    """Of all processes for a question, where clients keep all CPUs busy."""
    return [1e3 * cpus(figures) / run.per_second for run in figures.runs]


def tail_cells(figures: ClusterFigures) -> Cells:
    """The simulation."""
    rows = []
    for shards in SHARD_COUNTS:
        plain, _ = simulated(figures.answers_ms, shards, hedged=False)
        hedged, more = simulated(figures.answers_ms, shards, hedged=True)
        rows.append(
            [
                str(shards),
                *(f"{value:.1f}" for value in np.percentile(plain, [50, 99])),
                *(f"{value:.1f}" for value in np.percentile(hedged, [50, 99])),
                f"{more:.1%}",
            ]
        )
    title = (
        f"the slowest of N shards, ms; {STRAGGLERS:.0%} of answers take {SLOWER:.0f} times as long"
    )
    headings = ["shards", "p50", "p99", "p50 hedged", "p99 hedged", "more questions"]
    return Cells(title, headings, rows)


def plan_cells(figures: ClusterFigures) -> Cells:
    """What many passages take."""
    rate = figures.passages / figures.runs[0].build_seconds / cpus(figures)
    rows = []
    for passages in PLANNED:
        core_hours = passages / rate / 3600
        machines = -(-passages * figures.served_bytes * REPLICAS // (FULL * MEMORY))
        shards = -(-passages * figures.served_bytes // (FULL * MEMORY))
        rows.append(
            [
                f"{passages / 1e6:,.0f} million",
                f"{core_hours:,.0f}",
                f"{core_hours / BUILD_HOURS:,.0f}",
                f"{core_hours * PRICE:,.0f}",
                f"{passages * figures.stored_bytes / 1e12:.2f}",
                f"{shards:,.0f}",
                f"{machines:,.0f}",
                f"{machines * CORES * PRICE * 730:,.0f}",
            ]
        )
    headings = [
        *("passages", "core hours to embed", "cores for a day", "price", "TB below the URI"),
        *("shards", "machines", "price a month"),
    ]
    title = (
        f"{figures.encoder}, {KIND.value}: machines of {MEMORY / 2**30:.0f} GiB and {CORES} cores "
        f"at {PRICE:g} a core and hour, {REPLICAS} replicas, {FULL:.0%} of the memory for what is "
        "mapped"
    )
    return Cells(title, headings, rows)


def section(figures: ClusterFigures) -> str:
    """What stands in docs/cluster.md."""
    answers = np.percentile(np.array(figures.answers_ms), [50, 95, 99])
    cost = fitted(figures.runs, cpu_ms(figures))
    return joined(
        "```console\npython -m trimseek.cluster.figures ../shared/text/sentences-300k.jsonl.gz "
        "../shared/text/questions.jsonl.gz\n```",
        *titled(run_cells(figures)),
        "All processes, the load generator among them, share the CPUs of one machine: of a "
        f"question's time, most is Ray Serve's, which takes {cost.each:.0f} ms of CPU for each "
        f"shard and {cost.fixed:.0f} for the proxy and the front. Where shards have CPUs of their "
        "own, their times do not add up. A passage "
        f"takes {figures.stored_bytes:,.0f} bytes below the URI and {figures.served_bytes:,.0f} in "
        f"the files that a shard maps.",
        *titled(model_cells(figures)),
        *titled(tail_cells(figures)),
        f"One of {LEFT_OUT} shards answers in {answers[0]:.2f} ms (p50), {answers[1]:.2f} (p95), "
        f"{answers[2]:.2f} (p99), Ray apart; a hedged question goes to a second replica after the "
        f"{HEDGED_AFTER}th percentile.",
        *titled(plan_cells(figures)),
        f"Measured on {machine_line(figures.machine)}; {figures.date}.",
    )


def titled(cells: Cells) -> tuple[str, str]:
    """A table with its title before it."""
    return f"{cells.title[:1].upper()}{cells.title[1:]}:", markdown_table(cells)


def page(text: str) -> str:
    """The text of docs/cluster.md with the tables of what was measured."""
    return between(text, "cost", section(read_figures(CLUSTER, ClusterFigures)), PAGE.name)


def main(arguments: Sequence[str]) -> int:
    """Measure, or write the page."""
    try:
        if list(arguments) == ["docs"]:
            write_text(PAGE, page(PAGE.read_text("utf-8")))
            return 0
        if len(arguments) != 2:
            note("python -m trimseek.cluster.figures TEXTS.jsonl.gz QUESTIONS.jsonl.gz, or docs")
            return 2
        rows = read_unlabelled(Path(arguments[0]))
        texts = list(dict.fromkeys(row.text for row in rows))[:TEXTS]
        questions = sample_texts(Path(arguments[1]), QUESTIONS + WARM_UP)
        write_figures(CLUSTER, measure(texts, questions))
    except TrimseekError as error:
        note(str(error))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
