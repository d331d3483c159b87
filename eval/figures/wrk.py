"""Loads a service with wrk, which takes little of the CPUs that it shares with the service."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trimseek.errors import ConfigError
from trimseek.memory import children

# Sends one body after another; prints what is read below.
SCRIPT = """
local bodies, at = {}, 0
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
local headers = {["Content-Type"] = "application/json"}
request = function()
  at = at % #bodies + 1
  return wrk.format("POST", nil, headers, bodies[at])
end
done = function(summary, latency)
  io.write(string.format('{"answered":%d,"seconds":%f,"failed":%d,"p50":%f,"p99":%f}\\n',
    summary.requests, summary.duration / 1e6,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.timeout,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
"""
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class WrkLoad:
    """A closed loop of ``clients``. ``per_second``: answers; ``p50``, ``p99``: ms.

    ``failed``: answers that were no 200. ``user``, ``system``: microseconds of CPU time that the
    service spent on an answer, all its processes together; ``generator``: that wrk spent.
    """

    clients: int
    per_second: float
    p50: float
    p99: float
    failed: int
    user: float
    system: float
    generator: float


def wrk(url: str, bodies: Sequence[str], clients: int, seconds: int, pid: int) -> WrkLoad:
    """Ask a URL with POST, a body after another; ``pid``: of the service. ConfigError without wrk.

    ``bodies``: each one line.
    """
    program = shutil.which("wrk")
    if program is None:
        raise ConfigError("wrk is not installed (Debian: apt-get install wrk)")
    with tempfile.TemporaryDirectory(prefix="trimseek-wrk-") as folder:
        script, lines = Path(folder) / "script.lua", Path(folder) / "bodies"
        script.write_text(SCRIPT, "utf-8")
        lines.write_text("\n".join(bodies) + "\n", "utf-8")
        command = [program, "-t1", f"-c{clients}", f"-d{seconds}s", "-s", str(script), url]
        began, own = cpu_seconds(pid), os.times()
        done = subprocess.run(
            command, env=os.environ | {"BODIES": str(lines)}, check=True, capture_output=True,
            text=True,
        )  # fmt: skip
    ended, then = cpu_seconds(pid), os.times()
    measured = json.loads(done.stdout.strip().splitlines()[-1])
    answered = measured["answered"]
    generator = then.children_user + then.children_system
    generator -= own.children_user + own.children_system
    return WrkLoad(
        clients,
        answered / measured["seconds"],
        measured["p50"],
        measured["p99"],
        measured["failed"],
        (ended[0] - began[0]) / answered * 1e6,
        (ended[1] - began[1]) / answered * 1e6,
        generator / answered * 1e6,
    )


def cpu_seconds(pid: int) -> tuple[float, float]:
    """Of a process and its children: in its own code, and in the system's."""
    user = system = 0
    for process in (pid, *children(pid)):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        user, system = user + int(fields[11]), system + int(fields[12])
    return user / TICKS, system / TICKS
