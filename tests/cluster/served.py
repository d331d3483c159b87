"""``trimseek cluster`` in processes of its own, and what asks it."""

import json
import os
import re
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from trimseek.child import module_command

READY_SECONDS = 120.0
BUILD_SECONDS = 300.0


class Answer(NamedTuple):
    """An HTTP answer; status 0 where there was none."""

    status: int
    content: Any


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


def call(
    url: str,
    body: object = None,
    *,
    key: str = "",
    method: str | None = None,
    seconds: float = 20,
) -> Answer:
    """Ask a service; its answer, whatever its status."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "X-API-Key": key}
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=seconds) as response:
            return Answer(response.status, json.loads(response.read()))
    except urllib.error.HTTPError as error:
        with error:
            content = error.read()
        try:
            return Answer(error.code, json.loads(content))
        except ValueError:
            return Answer(error.code, content.decode(errors="replace"))
    except (OSError, ValueError) as error:
        return Answer(0, str(error))


def started(*words: object) -> subprocess.Popen[str]:
    """A command in a group of its own."""
    return subprocess.Popen(
        [*module_command("trimseek"), "cluster", *map(str, words)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def stop(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to a command and all that it has started."""
    if process.poll() is None:
        os.killpg(process.pid, number)


def run_build(corpora: Sequence[Path], uri: Path, *options: object) -> str:
    """Build; what it says."""
    process = started("build", *corpora, "--into", uri, *options)
    _, said = process.communicate(timeout=BUILD_SECONDS)
    assert process.returncode == 0, said
    return said


@contextmanager
def serving(uri: Path, *options: object) -> Iterator[str]:
    """Where a cluster is served: the URL of its index."""
    port = free_port()
    process = started("serve", uri, "--port", port, "--every", 0.5, *options)
    base = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + READY_SECONDS
        while call(f"{base}/readyz", seconds=5).status != 200:
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < end, "not ready in time"
            time.sleep(0.2)
        yield f"{base}/v1/indexes/{uri.name}"
    finally:
        process.terminate()  # it alone: it ends what it has started
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            stop(process, signal.SIGKILL)
            process.communicate()


def replicas(what: str) -> list[int]:
    """The process ids of Ray Serve's replicas of a deployment ("shard", "front")."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                name = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (OSError, UnicodeDecodeError):
                continue
            if re.match(rf"ray::.*ServeReplica:[^:]*:{what}\b", name):
                found.append(int(folder.name))
    return sorted(found)
