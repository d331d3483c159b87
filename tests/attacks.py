"""What a service withstands, in figures: python -m tests.attacks

1,000 connections that send nothing, and a header of 150 MB: memory, and how soon /healthz answers.
25 times make, write, search, drop an index: descriptors and memory.
Two clients that send the costliest filter on one index: p99 of searches on another index.
"""

import os
import socket
import statistics
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from tests.api.serving import DOCUMENTS, Service, make_keys, serving
from tests.api.test_connections import hostile_filter
from tests.conftest import ingest, write_jsonl
from trimseek.memory import resident_bytes

HOLDING = 1000  # connections
HEADER = 150 * 2**20  # bytes
DROPS = 25
DOCUMENTS_OF_THE_OTHER = 20_000
SEARCHES = 400


def memory(service: Service) -> float:
    """MB."""
    return resident_bytes(service.process.pid) / 1e6


def descriptors(service: Service) -> int:
    return len(list(Path(f"/proc/{service.process.pid}/fd").iterdir()))


def milliseconds(service: Service, path: str, body: object = None) -> float:
    began = time.perf_counter()
    answer = service.call("GET" if body is None else "POST", path, body)
    assert answer.status == 200, answer
    return (time.perf_counter() - began) * 1e3


def sockets(service: Service) -> None:
    for _ in range(20):
        milliseconds(service, "/healthz")
    before = memory(service)
    held = [socket.create_connection((service.host, service.port)) for _ in range(HOLDING)]
    sender = socket.create_connection((service.host, service.port))
    sent = 0
    try:
        sender.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: ")
        while sent < HEADER:
            sender.sendall(b"x" * 2**20)
            sent += 2**20
    except ConnectionError:
        pass
    times = [milliseconds(service, "/healthz") for _ in range(100)]
    print(
        f"{HOLDING} idle connections, a header of {HEADER / 2**20:.0f} MB (closed after "
        f"{sent / 2**20:.0f}): memory +{memory(service) - before:.1f} MB, /healthz at most "
        f"{max(times):.1f} ms"
    )
    for connection in (*held, sender):
        connection.close()


def drops(service: Service) -> None:
    seen = []
    for i in range(DROPS):
        url = f"/v1/indexes/drop{i}"
        assert service.call("PUT", url, {}).status == 201
        documents = {"documents": [{"id": str(n), "text": f"a cat {n}"} for n in range(50)]}
        assert service.call("POST", f"{url}/documents", documents).status == 200
        for mode in ("dense", "lexical", "hybrid"):
            body = {"query": "a cat", "mode": mode}
            assert service.call("POST", f"{url}/search", body).status == 200
        assert service.call("DELETE", url).status == 200
        time.sleep(0.05)
        seen.append((descriptors(service), memory(service)))
    (first, small), (last, large) = seen[0], seen[-1]
    print(
        f"{DROPS} times make, write, search, drop: descriptors {first} to {last}, memory "
        f"{small:.0f} to {large:.0f} MB"
    )


def p99(service: Service) -> float:
    body = {"query": "the kitten sleeps"}
    times = [milliseconds(service, "/v1/indexes/pets/search", body) for _ in range(SEARCHES)]
    return statistics.quantiles(times, n=100)[98]


def filters(service: Service) -> None:
    over, answers = threading.Event(), []

    def attack() -> None:
        body = {"query": "a cat", "filter": hostile_filter()}
        while not over.is_set():
            answers.append(service.call("POST", "/v1/indexes/many/search", body).status)

    alone = p99(service)
    threads = [threading.Thread(target=attack) for _ in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    beside = p99(service)
    over.set()
    for thread in threads:
        thread.join()
    print(
        f"hostile filters on {DOCUMENTS_OF_THE_OTHER:,} documents: another index's p99 "
        f"{alone:.1f} ms alone, {beside:.1f} ms beside them ({beside / alone:.1f} times)"
    )


def main() -> None:
    keys = make_keys()
    settings: dict[str, Any] = {"keys": keys.setting, "headers": keys.header("admin")}
    with tempfile.TemporaryDirectory(prefix="trimseek-attacks-") as name:
        base = Path(name)
        ingest(write_jsonl(base / "d.jsonl", DOCUMENTS), base / "pets", "minilm-int8")
        rows = [
            {"_id": f"d{i}", "text": f"a cat {i % 50}", "n": i, **{f"f{j}": i for j in range(8)}}
            for i in range(DOCUMENTS_OF_THE_OTHER)
        ]
        ingest(write_jsonl(base / "c.jsonl", rows), base / "many", "minilm-swift")
        with serving(base / "pets", base / "many", data=base / "data", **settings) as service:
            sockets(service)
            drops(service)
            filters(service)
            began = time.monotonic()
            service.process.terminate()
            service.process.wait(60)
            print(f"SIGTERM: ended after {time.monotonic() - began:.1f} s ({os.cpu_count()} CPUs)")


if __name__ == "__main__":
    main()
