"""How encoding scales: where its time goes, with length and batch, with threads, and its memory.

python -m trimseek.eval.figures encoding ../shared/text/questions.jsonl.gz

Writes encoding.json and encoding.svg in ``results``. The memory part encodes a million short
texts, for minutes.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

from trimseek.console import note, progress
from trimseek.encoders.catalog import find_encoder
from trimseek.encoders.cost import multiply_accumulates
from trimseek.encoders.encoder import QueryEncoder
from trimseek.encoders.folder import as_checkpoint, write_encoder
from trimseek.encoders.native.library import kernels
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.tokens import Tokens
from trimseek.encoders.unlabelled import read_unlabelled
from trimseek.eval.bench.encode_profile import Profile, median_seconds, profile_encoder
from trimseek.eval.bench.machine import describe_machine
from trimseek.eval.bench.pareto import as_svg, plain_number
from trimseek.eval.bench.report import Cells
from trimseek.eval.bench.results import Machine, Rates
from trimseek.eval.bench.roofline import MatrixProducts
from trimseek.eval.figures.files import RESULTS, read_figures, today, write_figures
from trimseek.eval.quality.collection import TestCollection, read_collection
from trimseek.indexer.corpus import SAMPLE
from trimseek.memory import resident_bytes
from trimseek.settings import RuntimeName, load_settings

ENCODING = RESULTS / "encoding.json"
PICTURE = RESULTS / "encoding.svg"
ENCODER = "minilm-int8"
PROFILED = ("minilm-int8", "minilm-swift")  # encoders
LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # tokens
BATCHES = (1, 8, 32)
WORDS = (1000, 2000)  # ids that are words in MiniLM's vocabulary
CLIENTS = 8  # threads at once
QUERIES = 400  # that the threads encode
MEMORY_TEXTS = 1_000_000
MEMORY_CALL = 4096  # texts of one call
MEMORY_ENCODER = "minilm-dash"  # encodes a million texts in minutes
COLOURS = ("#1f6feb", "#d9730d", "#2da44e")


@dataclass(frozen=True)
class Growth:
    """Time for one text of ``tokens`` tokens, in a batch of ``batch``, ms.

    ``limit``: what it would take at the machine's rate of int8 products.
    """

    tokens: int
    batch: int
    ms: float
    limit: float


@dataclass(frozen=True)
class Concurrency:
    """Queries a second: one after another, in batches by size, and of ``threads`` together.

    ``same_vectors``: whether threads at once give the same vectors, to the bit.
    """

    threads: int
    one_by_one: float
    batches: dict[int, float]
    together: float
    same_vectors: bool


@dataclass(frozen=True)
class MemoryPoint:
    """Resident size, in 10^6 bytes, after so many texts; ``seconds`` since encoding began."""

    texts: int
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class EncodingResults:
    """The content of encoding.json; ``memory`` is of ``memory_encoder``."""

    profiles: list[Profile]
    growth: list[Growth]
    concurrency: Concurrency
    memory_encoder: str
    memory: list[MemoryPoint]
    machine: Machine
    date: str


def measure_profiles(collection: TestCollection, threads: int) -> Iterator[Profile]:
    """Of ``PROFILED`` under onnxruntime, and before it under the kernels where the CPU has some."""
    runtimes = [RuntimeName.NATIVE, RuntimeName.ONNX] if kernels() else [RuntimeName.ONNX]
    for name in PROFILED:
        for runtime in runtimes:
            os.environ["TRIMSEEK_RUNTIME"] = runtime.value
            yield from profile_encoder(name, find_encoder(name), collection, threads)
    del os.environ["TRIMSEEK_RUNTIME"]


def measure_growth(rate: float) -> Iterator[Growth]:
    """Every batch size and length; ``rate``: 10^9 int8 multiply-accumulates a second."""
    checkpoint = as_checkpoint(find_encoder(ENCODER))
    positions = checkpoint.weights.positions
    chosen = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "long")
        write_encoder(replace(checkpoint, max_tokens=positions), path, Quantization())
        runtime = QueryEncoder(path).runtime
        for batch in BATCHES:
            for tokens in LENGTHS:
                ids = chosen.integers(*WORDS, (batch, tokens)).tolist()
                texts = [Tokens(of_text, False) for of_text in ids]
                seconds = median_seconds(lambda texts=texts: runtime.run(texts))  # type: ignore[misc]
                work = multiply_accumulates(checkpoint.weights, [tokens])
                yield Growth(tokens, batch, seconds * 1e3 / batch, work / rate / 1e6)


def measure_concurrency(queries: Sequence[str]) -> Concurrency:
    """Encode all queries one by one, in batches, and by threads with one query at a time each."""
    encoder = QueryEncoder(find_encoder(ENCODER))

    def rate(act: Callable[[], object]) -> float:
        return len(queries) / median_seconds(act)

    def in_batches(size: int) -> None:
        for start in range(0, len(queries), size):
            encoder.encode(queries[start : start + size])

    alone = np.concatenate([encoder.encode([query]).vectors for query in queries])
    with ThreadPoolExecutor(CLIENTS) as pool:

        def at_once() -> list[Any]:
            return list(pool.map(lambda query: encoder.encode([query]).vectors, queries))

        same = bool(np.array_equal(np.concatenate(at_once()), alone))
        return Concurrency(
            CLIENTS,
            rate(lambda: in_batches(1)),
            {size: rate(lambda size=size: in_batches(size)) for size in (8, 32, 128)},  # type: ignore[misc]
            rate(at_once),
            same,
        )


def measure_memory(texts: Sequence[str], count: int) -> Iterator[MemoryPoint]:
    """Encode texts over and over until ``count`` are encoded; yields after each call."""
    encoder = QueryEncoder(find_encoder(MEMORY_ENCODER))
    endless = cycle(texts)
    began = time.perf_counter()
    with progress("texts encoded", count) as ticker:
        for start in range(0, count, MEMORY_CALL):
            encoder.encode(list(islice(endless, MEMORY_CALL)))
            ticker.advance(MEMORY_CALL)
            seconds = time.perf_counter() - began
            megabytes = resident_bytes(os.getpid()) / 1e6
            yield MemoryPoint(start + MEMORY_CALL, seconds, megabytes)


def main(arguments: Sequence[str]) -> int:
    """Measure with the texts of a file, and write the results and the picture."""
    (source,) = arguments
    texts = [line.text for line in read_unlabelled(Path(source))]
    threads = load_settings().threads
    rates = Rates(*MatrixProducts(threads).rates())
    collection = read_collection(SAMPLE)
    note("where the time goes ...")
    profiles = list(measure_profiles(collection, threads))
    note("length and batch ...")
    growth = list(measure_growth(rates.int8))
    note("threads at once ...")
    concurrency = measure_concurrency(texts[:QUERIES])
    results = EncodingResults(
        profiles,
        growth,
        concurrency,
        MEMORY_ENCODER,
        list(measure_memory(texts, MEMORY_TEXTS)),
        describe_machine(rates, {}),
        today(),
    )
    write_figures(ENCODING, results)
    PICTURE.write_text(as_svg(draw_encoding(results)), "utf-8")
    return 0


def read_encoding() -> EncodingResults:
    """The committed results."""
    return read_figures(ENCODING, EncodingResults)


def growth_after_first_minute(points: Sequence[MemoryPoint]) -> float:
    """By how many megabytes the process was at most larger than after a minute."""
    start = next((point for point in points if point.seconds >= 60), points[-1])
    return max(point.megabytes for point in points if point.texts >= start.texts) - start.megabytes


def growth_cells(growth: Sequence[Growth]) -> Cells:
    """A row for each length, a column for each batch size, and the limit."""
    lengths = dict.fromkeys(point.tokens for point in growth)
    batches = dict.fromkeys(point.batch for point in growth)
    known = {(point.tokens, point.batch): point for point in growth}
    rows = [
        [
            str(tokens),
            *(f"{known[tokens, batch].ms:.2f}" for batch in batches),
            f"{known[tokens, next(iter(batches))].limit:.2f}",
        ]
        for tokens in lengths
    ]
    headings = ["tokens", *(f"batch of {batch}" for batch in batches), "limit"]
    return Cells(
        f"ms of one text with {ENCODER}; limit: the machine's int8 products", headings, rows
    )


def concurrency_cells(concurrency: Concurrency) -> Cells:
    """One row of speeds."""
    batches = [f"batches of {size}" for size in concurrency.batches]
    headings = ["one by one", *batches, f"{concurrency.threads} threads at once", "same vectors"]
    speeds = [concurrency.one_by_one, *concurrency.batches.values(), concurrency.together]
    row = [*(f"{speed:.0f}" for speed in speeds), "yes" if concurrency.same_vectors else "no"]
    return Cells(f"queries/s with {ENCODER}", headings, [row])


def draw_encoding(results: EncodingResults) -> Any:
    """A matplotlib figure: milliseconds against tokens with the limit, and memory against time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for batch, colour in zip(BATCHES, COLOURS, strict=True):
        points = [point for point in results.growth if point.batch == batch]
        label = "one text" if batch == 1 else f"batches of {batch}"
        x, y = [point.tokens for point in points], [point.ms for point in points]
        left.plot(x, y, color=colour, marker="o", markersize=4, label=label)
    points = [point for point in results.growth if point.batch == BATCHES[0]]
    x, y = [point.tokens for point in points], [point.limit for point in points]
    left.plot(x, y, color="#57606a", linestyle="--", label="limit: int8 products")
    left.set_xscale("log", base=2)
    left.set_yscale("log")
    for axis in (left.xaxis, left.yaxis):
        axis.set_major_formatter(plain_number)
        axis.set_minor_formatter(plain_number)
    left.set_xticks([8, 16, 32, 64, 128, 256, 512], ["8", "16", "32", "64", "128", "256", "512"])
    left.set_xlabel("tokens of a text (log scale)")
    left.set_ylabel("ms a text (log scale)")
    left.set_title(f"{ENCODER}: time against length", loc="left", fontsize=11, fontweight="bold")
    right.plot(
        [point.seconds / 60 for point in results.memory],
        [point.megabytes for point in results.memory],
        color=COLOURS[0],
    )
    right.set_ylim(bottom=0)
    right.set_xlabel("minutes")
    right.set_ylabel("resident MB")
    title = f"{results.memory_encoder}: {results.memory[-1].texts:,} short texts"
    right.set_title(title, loc="left", fontsize=11, fontweight="bold")
    for axis in (left, right):
        axis.grid(True, which="both", color="#e6e8eb", linewidth=0.6)
        axis.set_axisbelow(True)
    left.legend(fontsize=8, frameon=False)
    return figure
