"""How encoding scales: where its time goes, with length and batch, with threads, and its memory.

python -m eval.encoding ../shared/text/questions.jsonl.gz > eval/results/encoding.json

Draws eval/results/encoding.svg. The memory part encodes a million short texts, for minutes.
"""

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from encoders.catalog import find_encoder
from encoders.cost import multiply_accumulates
from encoders.encoder import QueryEncoder
from encoders.folder import as_checkpoint, write_encoder
from encoders.native.library import kernels
from encoders.quantize import Quantization
from encoders.tokens import Tokens
from encoders.unlabelled import read_unlabelled
from eval.bench import machine
from eval.collection import TestCollection, read_collection
from eval.encode_profile import Profile, median_seconds, profile_encoder
from eval.pareto import as_svg, plain_number
from eval.report import Cells
from eval.results import Machine, Rates
from eval.roofline import MatrixProducts
from indexer.corpus import SAMPLE
from trimseek.console import note, progress
from trimseek.memory import resident_bytes
from trimseek.settings import RuntimeName, load_settings

RESULTS = Path(__file__).parent / "results"
ENCODING = RESULTS / "encoding.json"
PICTURE = RESULTS / "encoding.svg"
ENCODER = "minilm-int8"
PROFILED = ("minilm-int8", "minilm-swift")
LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)  # tokens
BATCHES = (1, 8, 32)
WORDS = (1000, 2000)  # ids that are words in MiniLM's vocabulary
CLIENTS = 8
QUERIES = 400
MEMORY_TEXTS = 1_000_000
MEMORY_CALL = 4096  # texts encoded at a time
MEMORY_ENCODER = "minilm-dash"  # what encodes a million texts in minutes
COLOURS = ("#1f6feb", "#d9730d", "#2da44e")


@dataclass(frozen=True)
class Growth:
    """Milliseconds a text of so many ``tokens`` in batches of ``batch``.

    ``limit``: at the rate of this machine's int8 products.
    """

    tokens: int
    batch: int
    ms: float
    limit: float


@dataclass(frozen=True)
class Concurrency:
    """Queries a second: one after another, in batches of so many, and of threads at once."""

    threads: int
    one_by_one: float
    batches: dict[int, float]
    together: float
    same_vectors: bool


@dataclass(frozen=True)
class Memory:
    """Resident megabytes after so many texts; ``seconds`` since encoding began."""

    texts: int
    seconds: float
    megabytes: float


@dataclass(frozen=True)
class EncodingResults:
    """What ``main`` measures; ``memory`` is of ``memory_encoder``."""

    profiles: list[Profile]
    growth: list[Growth]
    concurrency: Concurrency
    memory_encoder: str
    memory: list[Memory]
    machine: Machine
    date: str


def profiled(collection: TestCollection, threads: int) -> Iterator[Profile]:
    """``PROFILED`` by onnxruntime, and by the kernels where there are some."""
    runtimes = [RuntimeName.NATIVE, RuntimeName.ONNX] if kernels() else [RuntimeName.ONNX]
    for name in PROFILED:
        for runtime in runtimes:
            os.environ["TRIMSEEK_RUNTIME"] = runtime.value
            yield from profile_encoder(name, find_encoder(name), collection, threads)
    del os.environ["TRIMSEEK_RUNTIME"]


def growth(rate: float) -> Iterator[Growth]:
    """``rate``: 10^9 multiply-accumulates a second of this machine's int8 products."""
    checkpoint = as_checkpoint(find_encoder(ENCODER))
    positions = len(checkpoint.weights.position_embeddings)
    chosen = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        long = replace(checkpoint, max_tokens=positions)
        write_encoder(long, Path(folder, "long"), Quantization())
        runtime = QueryEncoder(Path(folder, "long")).runtime
        for batch in BATCHES:
            for tokens in LENGTHS:
                ids = chosen.integers(*WORDS, (batch, tokens)).tolist()
                texts = [Tokens(each, False) for each in ids]
                seconds = median_seconds(lambda texts=texts: runtime.run(texts))  # type: ignore[misc]
                work = multiply_accumulates(checkpoint.weights, [tokens])
                yield Growth(tokens, batch, seconds * 1e3 / batch, work / rate / 1e6)


def concurrency(queries: Sequence[str]) -> Concurrency:
    """Threads that each encode one query at a time, beside other ways to encode them all."""
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


def memory(texts: Sequence[str], count: int) -> Iterator[Memory]:
    """Encode texts over and over until there were so many."""
    encoder = QueryEncoder(find_encoder(MEMORY_ENCODER))
    endless = cycle(texts)
    began = time.perf_counter()
    with progress("texts encoded", count) as ticker:
        for done in range(0, count, MEMORY_CALL):
            encoder.encode(list(islice(endless, MEMORY_CALL)))
            ticker.advance(MEMORY_CALL)
            now = time.perf_counter() - began
            yield Memory(done + MEMORY_CALL, now, resident_bytes(os.getpid()) / 1e6)


def main(words: Sequence[str]) -> int:
    (source,) = words
    texts = [each.text for each in read_unlabelled(Path(source))]
    threads = load_settings().threads
    rates = Rates(*MatrixProducts(threads).rates())
    collection = read_collection(SAMPLE)
    note("where the time goes ...")
    profiles = list(profiled(collection, threads))
    note("length and batch ...")
    grown = list(growth(rates.int8))
    note("threads at once ...")
    at_once = concurrency(texts[:QUERIES])
    found = EncodingResults(
        profiles,
        grown,
        at_once,
        MEMORY_ENCODER,
        list(memory(texts, MEMORY_TEXTS)),
        machine(rates, {}),
        datetime.now(UTC).date().isoformat(),
    )
    print(json.dumps(asdict(found), indent=1))
    PICTURE.write_text(as_svg(draw(found)), "utf-8")
    return 0


def read_encoding() -> EncodingResults:
    return TypeAdapter(EncodingResults).validate_json(ENCODING.read_bytes())


def growth_after_first_minute(found: Sequence[Memory]) -> float:
    """Megabytes."""
    start = next((each for each in found if each.seconds >= 60), found[-1])
    return max(each.megabytes for each in found if each.texts >= start.texts) - start.megabytes


def growth_cells(found: Sequence[Growth]) -> Cells:
    lengths = dict.fromkeys(each.tokens for each in found)
    batches = dict.fromkeys(each.batch for each in found)
    known = {(each.tokens, each.batch): each for each in found}
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


def concurrency_cells(found: Concurrency) -> Cells:
    batches = [f"batches of {size}" for size in found.batches]
    headings = ["one by one", *batches, f"{found.threads} threads at once", "same vectors"]
    speeds = [found.one_by_one, *found.batches.values(), found.together]
    row = [*(f"{speed:.0f}" for speed in speeds), "yes" if found.same_vectors else "no"]
    return Cells(f"queries/s with {ENCODER}", headings, [row])


def draw(found: EncodingResults) -> Any:
    """A matplotlib figure: milliseconds against tokens with the limit, and memory against time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for batch, colour in zip(BATCHES, COLOURS, strict=True):
        own = [each for each in found.growth if each.batch == batch]
        label = "one text" if batch == 1 else f"batches of {batch}"
        x, y = [each.tokens for each in own], [each.ms for each in own]
        left.plot(x, y, color=colour, marker="o", markersize=4, label=label)
    limit = [each for each in found.growth if each.batch == BATCHES[0]]
    x, y = [each.tokens for each in limit], [each.limit for each in limit]
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
        [each.seconds / 60 for each in found.memory],
        [each.megabytes for each in found.memory],
        color=COLOURS[0],
    )
    right.set_ylim(bottom=0)
    right.set_xlabel("minutes")
    right.set_ylabel("resident MB")
    title = f"{found.memory_encoder}: {found.memory[-1].texts:,} short texts"
    right.set_title(title, loc="left", fontsize=11, fontweight="bold")
    for axis in (left, right):
        axis.grid(True, which="both", color="#e6e8eb", linewidth=0.6)
        axis.set_axisbelow(True)
    left.legend(fontsize=8, frameon=False)
    return figure


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
