"""How quickly the command line and the service start, and the service's memory.

python -m trimseek.eval.figures startup INDEX
"""

import statistics
import subprocess
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trimseek.eval.figures.demo import QUESTIONS
from trimseek.eval.figures.files import RESULTS, read_figures, write_figures
from trimseek.eval.figures.service import TRIMSEEK, get, service
from trimseek.memory import family_bytes

STARTUP = RESULTS / "startup.json"
RUNS = 5
SEARCHES = 200


@dataclass(frozen=True)
class Startup:
    """Medians of ``RUNS`` starts.

    ``memory_mb``: of all processes after ``SEARCHES`` searches, what they share counted once, in
    10^6 bytes.
    """

    documents: int
    help_seconds: float
    ready_seconds: float
    memory_mb: float


def measure_startup(folder: Path) -> Startup:
    """Run ``trimseek --help`` and start and stop ``trimseek serve``, ``RUNS`` times each."""
    ready, memory, documents = [], [], 0
    for _ in range(RUNS):
        with service(folder) as running:
            ready.append(running.ready_seconds)
            documents = get(f"{running.url}/v1/indexes")["indexes"][0]["documents"]
            for i in range(SEARCHES):
                query = urllib.parse.urlencode({"q": QUESTIONS[i % len(QUESTIONS)]})
                get(f"{running.url}/v1/indexes/{folder.resolve().name}/search?{query}")
            memory.append(family_bytes(running.pid) / 1e6)
    return Startup(
        documents,
        statistics.median(help_seconds() for _ in range(RUNS)),
        statistics.median(ready),
        statistics.median(memory),
    )


def help_seconds() -> float:
    """Of one ``trimseek --help``."""
    began = time.perf_counter()
    subprocess.run([*TRIMSEEK, "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(arguments: Sequence[str]) -> None:
    """Measure with the index of a folder, and write the results."""
    write_figures(STARTUP, measure_startup(Path(arguments[0])))


def read_startup() -> Startup:
    """The committed results."""
    return read_figures(STARTUP, Startup)
