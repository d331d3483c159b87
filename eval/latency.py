"""p50 of one query, of a few encoders in this process: quick enough to choose by.

``trimseek bench`` is what to quote: there each encoder has a process of its own.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from encoders.encoder import QueryEncoder
from eval.collection import TestCollection

TIMED_QUERIES = 24
TIMED_ROUNDS = 5
REST = 0.1  # seconds until the threads of the encoder before have stopped spinning


def query_milliseconds(folders: Sequence[Path], trial: TestCollection) -> list[float]:
    """p50 of encoding one query, of each encoder; in turns, so that all have the same machine."""
    encoders = [QueryEncoder(folder) for folder in folders]
    queries = list(trial.queries.values())[:TIMED_QUERIES]
    times: list[list[float]] = [[] for _ in encoders]
    for turn in range(TIMED_ROUNDS + 1):
        for encoder, own in zip(encoders, times, strict=True):
            time.sleep(REST)
            encoder.encode(queries[:1])
            for query in queries:
                began = time.perf_counter()
                encoder.encode([query])
                if turn:  # the first only warms up
                    own.append(time.perf_counter() - began)
    return [1000 * median(own) for own in times]
