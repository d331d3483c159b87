"""Where the time of an encode goes: tokenization, Python, and each part of the runtime's work."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from encoders.cost import multiply_accumulates
from encoders.encoder import DocumentEncoder, Encoder, QueryEncoder
from encoders.folder import read_weights
from eval.collection import TestCollection
from eval.report import Cells

RUNS = 9
QUERIES, DOCUMENTS = 48, 64
SMALLEST_SHARE = 0.02  # of the runtime's time, to be named


@dataclass(frozen=True)
class Profile:
    """Milliseconds a text, each the median of ``RUNS`` runs.

    ``python``: what is neither tokenization nor the runtime. ``stages``: of the runtime on one
    thread. ``rate``: 10^9 multiply-accumulates a second of the runtime on all ``threads``.
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
        return self.tokenization + self.python + self.running


def profile_encoder(
    name: str, folder: Path, collection: TestCollection, threads: int
) -> list[Profile]:
    """One query at a time, and documents together."""
    queries = list(collection.queries.values())[:QUERIES]
    documents = list(collection.documents.values())[:DOCUMENTS]
    one_by_one, together = [[each] for each in queries], f"{len(documents)} documents"
    return [
        profile(name, QueryEncoder(folder, threads), "one query", one_by_one, threads),
        profile(name, DocumentEncoder(folder, threads), together, [documents], threads),
    ]


def profile(
    name: str, encoder: Encoder, work: str, calls: Sequence[Sequence[str]], threads: int
) -> Profile:
    """``calls``: the texts of each call of the encoder."""
    tokens = [encoder.tokenizer.encode(texts) for texts in calls]
    lengths = [len(text.ids) for texts in tokens for text in texts]
    count = len(lengths)

    def milliseconds(act: Callable[[Any], object], arguments: Sequence[Any]) -> float:
        """Of one text, in the median run."""
        return median_seconds(lambda: [act(each) for each in arguments]) * 1e3 / count

    whole = milliseconds(encoder.encode, calls)
    tokenization = milliseconds(encoder.tokenizer.encode, calls)
    running = milliseconds(encoder.runtime.run, tokens)
    runs = [[encoder.runtime.stages(texts) for texts in tokens] for _ in range(RUNS)]
    stages = {
        stage: statistics.median(sum(each[stage] for each in run) for run in runs) * 1e3 / count
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
    """Of ``RUNS`` runs, after one that is not counted."""
    act()
    runs = []
    for _ in range(RUNS):
        began = time.perf_counter()
        act()
        runs.append(time.perf_counter() - began)
    return statistics.median(runs)


def profile_cells(profiles: Sequence[Profile]) -> Cells:
    headings = ("encoder, runtime", "work", "tokens", "ms a text", "tokenization", "Python")
    rows = [
        [
            f"{each.encoder}, {each.runtime}",
            each.work,
            f"{each.tokens:.0f}",
            f"{each.total:.3f}",
            f"{each.tokenization:.3f}",
            f"{each.python:.3f}",
            f"{each.running:.3f}",
            f"{each.rate:.0f}",
            largest_stages(each),
        ]
        for each in profiles
    ]
    title = (
        "where the time goes, ms of one text; 10^9 multiply-accumulates a second; shares of the "
        "runtime's parts, on one thread"
    )
    return Cells(title, (*headings, "runtime", "GMAC/s", "parts"), rows)


def largest_stages(profile: Profile) -> str:
    total = sum(profile.stages.values())
    shares = sorted(((ms / total, name) for name, ms in profile.stages.items()), reverse=True)
    return ", ".join(f"{name} {share:.0%}" for share, name in shares if share >= SMALLEST_SHARE)
