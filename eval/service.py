"""A ``trimseek serve`` of our own on a free port, for the demo and for measurements."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from trimseek.errors import TrimseekError

TRIMSEEK = (sys.executable, "-m", "trimseek")
STARTED = "serving"
READY_TIMEOUT = 30.0  # seconds


class Service(NamedTuple):
    """A running service: its address, process, and seconds from its start until it was ready."""

    url: str
    pid: int
    ready_seconds: float


@contextmanager
def service(folder: Path) -> Iterator[Service]:
    """Serve an index while the block runs."""
    began = time.perf_counter()
    server = subprocess.Popen(  # noqa: S603 - our own command
        [*TRIMSEEK, "serve", str(folder), "--port", "0"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stderr is not None  # noqa: S101 - opened as a pipe
        lines = []
        for line in server.stderr:
            lines.append(line.strip())
            if line.startswith(STARTED):
                break
        else:
            raise TrimseekError(f"the service did not start: {' '.join(lines)}")
        url = lines[-1].split(" at ")[1].split()[0]
        wait_until_ready(url)
        yield Service(url, server.pid, time.perf_counter() - began)
    finally:
        server.terminate()
        server.communicate()


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    while True:
        try:
            get(f"{url}/readyz")
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def get(url: str) -> Any:
    """The JSON at a URL of the service."""
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own service
        return json.load(response)
