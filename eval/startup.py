"""How quickly the command line and the service are there, and what the service weighs.

python -m eval.startup INDEX > eval/results/startup.json
"""

import json
import statistics
import subprocess
import sys
import time
import urllib.parse
from dataclasses import asdict, dataclass
from pathlib import Path

from eval.demo import QUESTIONS
from eval.service import TRIMSEEK, get, service
from trimseek.memory import resident_bytes

RUNS = 5
SEARCHES = 200


@dataclass(frozen=True)
class Startup:
    """Medians of ``RUNS``; ``resident_mb`` after ``SEARCHES`` searches, in 10^6 bytes."""

    documents: int
    help_seconds: float
    ready_seconds: float
    resident_mb: float


def measure_startup(folder: Path) -> Startup:
    """Start and stop ``trimseek --help`` and ``trimseek serve`` some times."""
    ready, resident, documents = [], [], 0
    for _ in range(RUNS):
        with service(folder) as running:
            ready.append(running.ready_seconds)
            documents = get(f"{running.url}/v1/indexes")["indexes"][0]["documents"]
            for i in range(SEARCHES):
                query = urllib.parse.urlencode({"q": QUESTIONS[i % len(QUESTIONS)]})
                get(f"{running.url}/v1/indexes/{folder.resolve().name}/search?{query}")
            resident.append(resident_bytes(running.pid) / 1e6)
    return Startup(
        documents,
        statistics.median(help_seconds() for _ in range(RUNS)),
        statistics.median(ready),
        statistics.median(resident),
    )


def help_seconds() -> float:
    began = time.perf_counter()
    subprocess.run([*TRIMSEEK, "--help"], check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    return time.perf_counter() - began


if __name__ == "__main__":
    print(json.dumps(asdict(measure_startup(Path(sys.argv[1]))), indent=2))
