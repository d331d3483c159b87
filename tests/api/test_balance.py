"""Several processes share connections, tasks and metrics."""

import http.client
import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.api.serving import Keys, serving
from trimseek.api.balance import Balance, new_descriptors
from trimseek.memory import children

SEARCH = "/v1/indexes/pets/search"


def test_a_connection_goes_to_the_process_that_has_fewest() -> None:
    descriptors = new_descriptors(3)
    busy, idle, starting = (Balance(descriptors, number) for number in range(3))
    ours, theirs = socket.socketpair()
    busy.opened()
    assert not busy.handed_over(ours, counted=False)  # nobody takes any yet
    idle._set(0)
    assert busy.handed_over(ours, counted=False)
    _, received, *_ = socket.recv_fds(idle._receiver, 1, 1)
    with socket.socket(fileno=received[0]) as handed, ours, theirs:
        ours.close()
        handed.sendall(b"still there")
        assert theirs.recv(100) == b"still there"
    busy.closed()
    with socket.socket() as other:
        assert not idle.handed_over(other, counted=False)  # none has fewer
    for balance in (busy, idle, starting):
        balance.close()
    for descriptor in descriptors.all():
        os.close(descriptor)


def test_busy_connections_are_shared_out(pets: Path) -> None:
    with serving(pets, workers=2) as service:
        connections = [
            http.client.HTTPConnection(service.host, service.port, timeout=20) for _ in range(12)
        ]
        deadline, counts = time.monotonic() + 20, [0]
        while sum(counts) != 12 or max(counts) - min(counts) > 1 or len(counts) < 2:
            assert time.monotonic() < deadline, counts  # both have started long since
            for connection in connections:
                connection.request("POST", SEARCH, '{"query": "cat"}')
                assert connection.getresponse().read()
            counts = [open_connections(process) for process in children(service.process.pid)]
        for connection in connections:
            connection.close()


def open_connections(process: int) -> int:
    """Established TCP connections of a process."""
    inodes = set()
    for path in Path(f"/proc/{process}/fd").iterdir():
        with suppress(FileNotFoundError):
            inodes.add(str(path.readlink()).removeprefix("socket:[").removesuffix("]"))
    lines = Path(f"/proc/{process}/net/tcp").read_text().splitlines()[1:]
    return sum(line.split()[3] == "01" and line.split()[9] in inodes for line in lines)


def test_metrics_are_of_all_processes(pets: Path) -> None:
    with serving(pets, workers=2) as service:
        for _ in range(20):
            service.call("POST", SEARCH, {"query": "cat"})
        text = service.call("GET", "/metrics").content.decode()
        total = next(line for line in text.splitlines() if line.startswith("trimseek_hits_total"))
        assert float(total.split()[-1]) == 60
        memory = next(line for line in text.splitlines() if line.startswith("trimseek_memory_b"))
        assert float(memory.split()[-1]) > 50e6


@pytest.mark.parametrize("workers", [1, 2])
def test_a_task_is_known_to_all_processes(workers: int, pets: Path, keys: Keys) -> None:
    with serving(pets, workers=workers, keys=keys.setting) as service:
        admin = keys.header("admin")
        begun = [
            service.call("POST", "/v1/indexes/pets/tasks", {"kind": "snapshot"}, admin).json()["id"]
            for _ in range(6)
        ]
        assert len(set(begun)) >= 1
        for id_ in begun:
            for _ in range(4):
                answer = service.call("GET", f"/v1/tasks/{id_}", headers=admin)
                assert answer.status == 200
                assert answer.json()["error"] is None
        listed = service.call("GET", "/v1/tasks", headers=admin).json()["tasks"]
        assert {task["id"] for task in listed} == set(begun)
        assert service.call("GET", "/v1/tasks/t999", headers=admin).status == 404
        assert service.call("GET", "/v1/tasks/..%2Ft1", headers=admin).status == 404
