"""Times one query with several encoders in this process: quick, and good enough to choose by.

Figures to publish come from ``trimseek bench``, where each encoder has a process of its own.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from trimseek.encoders.encoder import QueryEncoder

TIMED_QUERIES = 24
TIMED_ROUNDS = 5
PAUSE = 0.1  # seconds; until then the threads of the encoder timed before may still spin


def query_milliseconds(folders: Sequence[Path], queries: Sequence[str]) -> list[float]:
    """p50 of encoding one query, ms, of each encoder; in turns, so that a slow moment hits all."""
    encoders = [QueryEncoder(folder) for folder in folders]
    queries = queries[:TIMED_QUERIES]
    times: list[list[float]] = [[] for _ in encoders]
    for number in range(TIMED_ROUNDS + 1):
        for encoder, seconds in zip(encoders, times, strict=True):
            time.sleep(PAUSE)
            encoder.encode(queries[:1])
            for query in queries:
                began = time.perf_counter()
                encoder.encode([query])
                if number:  # the first round only warms up
                    seconds.append(time.perf_counter() - began)
    return [1000 * median(seconds) for seconds in times]
