"""Where the time of encoding goes: tokenization, Python, and each part of the runtime's work."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trimseek.encoders.cost import multiply_accumulates
from trimseek.encoders.encoder import DocumentEncoder, Encoder, QueryEncoder
from trimseek.encoders.folder import read_weights
from trimseek.eval.bench.report import Cells
from trimseek.eval.quality.collection import TestCollection

RUNS = 9
QUERIES, DOCUMENTS = 48, 64  # texts that are timed
SMALLEST_SHARE = 0.02  # of the runtime's time; smaller stages are not shown


@dataclass(frozen=True)
class Profile:
    """Milliseconds of one text, each the median of ``RUNS`` runs.

    ``running``: in the runtime; ``python``: neither there nor in tokenization. ``stages``: of the
    runtime on one thread. ``rate``: 10^9 multiply-accumulates a second of the runtime on all
    ``threads``. ``tokens``: of a mean text.
    """

    encoder: str
    runtime: str
    work: str
    texts: int
    tokens: float
    threads: int
    tokenization: float
    python: float
    running: float
    stages: dict[str, float]
    rate: float

    @property
    def total(self) -> float:
        """Milliseconds of one text."""
        return self.tokenization + self.python + self.running


def profile_encoder(
    name: str, folder: Path, collection: TestCollection, threads: int
) -> list[Profile]:
    """Profiles of one query at a time and of documents in one call."""
    queries = list(collection.queries.values())[:QUERIES]
    documents = list(collection.documents.values())[:DOCUMENTS]
    one_by_one, in_bulk = [[query] for query in queries], f"{len(documents)} documents"
    return [
        profile_calls(name, QueryEncoder(folder, threads), "one query", one_by_one, threads),
        profile_calls(name, DocumentEncoder(folder, threads), in_bulk, [documents], threads),
    ]


def profile_calls(
    name: str, encoder: Encoder, work: str, calls: Sequence[Sequence[str]], threads: int
) -> Profile:
    """Profile calls of the encoder: ``calls`` has their texts, ``work`` describes them."""
    tokens = [encoder.tokenizer.encode(texts) for texts in calls]
    lengths = [len(text.ids) for texts in tokens for text in texts]
    count = len(lengths)

    def milliseconds(act: Callable[[Any], object], arguments: Sequence[Any]) -> float:
        """Of one text, in the median run."""
        return median_seconds(lambda: [act(argument) for argument in arguments]) * 1e3 / count

    whole = milliseconds(encoder.encode, calls)
    tokenization = milliseconds(encoder.tokenizer.encode, calls)
    running = milliseconds(encoder.runtime.run, tokens)
    runs = [[encoder.runtime.stages(texts) for texts in tokens] for _ in range(RUNS)]
    stages = {
        stage: statistics.median(sum(call[stage] for call in run) for run in runs) * 1e3 / count
        for stage in runs[0][0]
    }
    work_done = multiply_accumulates(read_weights(encoder.folder), lengths) / count
    return Profile(
        encoder=name,
        runtime=encoder.runtime.name,
        work=work,
        texts=count,
        tokens=statistics.fmean(lengths),
        threads=threads,
        tokenization=tokenization,
        python=max(0.0, whole - tokenization - running),
        running=running,
        stages=stages,
        rate=work_done / running / 1e6,
    )


def median_seconds(act: Callable[[], object]) -> float:
    """Median of ``RUNS`` runs, after one that is not counted."""
    act()
    runs = []
    for _ in range(RUNS):
        began = time.perf_counter()
        act()
        runs.append(time.perf_counter() - began)
    return statistics.median(runs)


def profile_cells(profiles: Sequence[Profile]) -> Cells:
    """A row for each profile."""
    headings = ("encoder, runtime", "work", "tokens", "ms a text", "tokenization", "Python")
    rows = [
        [
            f"{profile.encoder}, {profile.runtime}",
            profile.work,
            f"{profile.tokens:.0f}",
            f"{profile.total:.3f}",
            f"{profile.tokenization:.3f}",
            f"{profile.python:.3f}",
            f"{profile.running:.3f}",
            f"{profile.rate:.0f}",
            largest_stages(profile),
        ]
        for profile in profiles
    ]
    title = (
        "where the time goes, ms of one text; 10^9 multiply-accumulates a second; shares of the "
        "runtime's parts, on one thread"
    )
    return Cells(title, (*headings, "runtime", "GMAC/s", "parts"), rows)


def largest_stages(profile: Profile) -> str:
    """Shares of the runtime's time, from the largest down: ``attention 12%, layer norm 3%``."""
    total = sum(profile.stages.values())
    shares = sorted(((ms / total, name) for name, ms in profile.stages.items()), reverse=True)
    return ", ".join(f"{name} {share:.0%}" for share, name in shares if share >= SMALLEST_SHARE)
