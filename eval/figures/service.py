"""Runs ``trimseek serve`` on a free port, for the demo and for measurements."""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from trimseek.child import module_command
from trimseek.errors import TrimseekError

TRIMSEEK = module_command("trimseek")
STARTED = "serving"  # what the line with the address begins with
READY_TIMEOUT = 60.0  # seconds
QUIET: Mapping[str, str] = MappingProxyType({"TRIMSEEK_LOG": "off"})  # nobody reads the log


class RunningService(NamedTuple):
    """Its address, its process id, and the seconds from its start until it was ready."""

    url: str
    pid: int
    ready_seconds: float


@contextmanager
def service(
    folder: Path | None, settings: Mapping[str, str] = QUIET, command: Sequence[str] = TRIMSEEK
) -> Iterator[RunningService]:
    """Serve an index, or none, while the block runs; ``settings``: environment variables.

    ``command``: of a trimseek.

    TrimseekError, with what it printed, if the service does not start.
    """
    began = time.perf_counter()
    folders = [] if folder is None else [str(folder)]
    server = subprocess.Popen(
        [*command, "serve", *folders, "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | settings,
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
        yield RunningService(url, server.pid, time.perf_counter() - began)
    finally:
        server.terminate()
        server.communicate()


def wait_until_ready(url: str) -> None:
    """Ask until /readyz answers with 200; URLError if it does not within ``READY_TIMEOUT``."""
    deadline = time.monotonic() + READY_TIMEOUT
    while True:
        try:
            get(f"{url}/readyz")
        except urllib.error.URLError as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it is the answer, and holds the connection
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def get(url: str) -> Any:
    """The JSON at a URL of the service."""
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - the service that was started here
        return json.load(response)
