"""The line protocol of workers: requests and answers, each one line of JSON.

A worker says ``{"ready": true, "bytes": n, "versions": {...}}`` once it can encode, or
``{"error": ...}`` and ends. Then it answers every request:

    {"op": "encode", "role": r, "texts": [...]}      -> {"vectors": base64 of float32, "dim": d}
    {"op": "time", "role": r, "texts": [...], "batch": n, "warm_up": m}
                                                     -> {"seconds": [of each batch]}
    {"op": "open", "path": FAISS file}               -> {}
    {"op": "query", "texts": [...], "k": k, "path": FAISS file, "warm_up": m}
                                                     -> {"encode": [...], "search": [...],
                                                         "total": [...]}, seconds for each text
    {"op": "clients", "texts": [...], "clients": n, "seconds": s}
                                                     -> {"seconds": s, "latencies": [...]};
                                                        one client at a time for a backend that
                                                        fails when several threads call it
    {"op": "memory", "reset": true}                  -> {"peak": bytes}

A role is "query" or "document"; without "batch" the backend chooses the size. ``warm_up`` texts
are encoded first, untimed. An operation that fails is answered ``{"error": "Type: message"}``.
"""

import base64
import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

RESET_PEAK = "5"  # see proc_pid_clear_refs(5)

Request = dict[str, Any]
Answer = dict[str, Any]


class Backend(Protocol):
    """Encodes texts. ``bytes``: of the model files that run; ``versions``: of what runs them."""

    bytes: int
    versions: dict[str, str]

    def encode(self, texts: Sequence[str], role: str, batch: int | None) -> NDArray[np.float32]:
        """Vectors ``(n, dim)`` of unit length, in the order of the texts."""
        ...


def serve(open_backend: Callable[[], Backend]) -> None:
    """Answer requests on stdin until it ends; what libraries print to stdout goes to stderr."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def say(answer: Answer) -> None:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()

    try:
        backend = open_backend()
        backend.encode(["a first text"], "query", None)
    except Exception as error:
        say({"error": error_text(error)})
        return
    say({"ready": True, "bytes": backend.bytes, "versions": backend.versions})
    worker = Worker(backend)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            say(worker.operations[request["op"]](request))
        except Exception as error:
            say({"error": error_text(error)})


def error_text(error: Exception) -> str:
    """``Type: message``, in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


class Worker:
    """The operations on one backend, which the module's docstring describes."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.indexes: dict[str, Any] = {}
        self.operations: dict[str, Callable[[Request], Answer]] = {
            "encode": self.encode,
            "time": self.time,
            "open": self.open,
            "query": self.query,
            "clients": self.clients,
            "memory": self.memory,
        }

    def encode(self, request: Request) -> Answer:
        """Vectors of texts, as base64 of float32."""
        vectors = self.backend.encode(request["texts"], request["role"], None)
        raw = np.ascontiguousarray(vectors, np.float32)
        return {"vectors": base64.b64encode(raw.tobytes()).decode(), "dim": raw.shape[1]}

    def time(self, request: Request) -> Answer:
        """Seconds of each batch."""
        texts, role, batch = request["texts"], request["role"], request.get("batch")
        for text in texts[: request["warm_up"]]:
            self.backend.encode([text], role, batch)
        seconds = []
        size = batch or len(texts)
        for start in range(0, len(texts), size):
            began = time.perf_counter()
            self.backend.encode(texts[start : start + size], role, batch)
            seconds.append(time.perf_counter() - began)
        return {"seconds": seconds}

    def open(self, request: Request) -> Answer:
        """Read a FAISS file, of no more vectors than its size allows, or open a graph or words."""
        path = request["path"]
        if path.endswith(".words"):
            by_words: Any = self.backend  # BM25's, which alone is given such a file
            self.indexes = {path: by_words.open_words(path)} | self.indexes
            return {}
        if path.endswith(".json"):
            from trimseek.eval.quality.graphs import open_graph

            index = open_graph(path)
        else:
            import faiss

            faiss.set_deserialization_vector_byte_limit(Path(path).stat().st_size)
            index = faiss.read_index(path)
        self.indexes = {path: index} | self.indexes
        return {}

    def query(self, request: Request) -> Answer:
        """Encode and search texts one at a time."""
        import faiss

        faiss.omp_set_num_threads(1)  # a second one fights the encoder's threads: search.view
        index, k = self.indexes[request["path"]], request["k"]
        times: dict[str, list[float]] = {"encode": [], "search": [], "total": []}
        for i, text in enumerate(request["texts"][: request["warm_up"]] + request["texts"]):
            began = time.perf_counter()
            vector = self.backend.encode([text], "query", 1)
            encoded = time.perf_counter()
            index.search(vector, k)
            ended = time.perf_counter()
            if i >= request["warm_up"]:
                times["encode"].append(encoded - began)
                times["search"].append(ended - encoded)
                times["total"].append(ended - began)
        return dict(times)

    def clients(self, request: Request) -> Answer:
        """A closed loop; again with one client at a time where the backend fails in threads."""
        try:
            return self.closed_loop(request, nullcontext())
        except Exception:
            return self.closed_loop(request, threading.Lock())

    def closed_loop(self, request: Request, turn: Any) -> Answer:
        """Clients in threads, each asking again when answered; each holds ``turn`` to encode."""
        texts = request["texts"]
        latencies: list[list[float]] = [[] for _ in range(request["clients"])]
        failures: list[Exception] = []
        began = time.perf_counter()
        deadline = began + request["seconds"]

        def client(number: int) -> None:
            i = number
            try:
                while (started := time.perf_counter()) < deadline:
                    with turn:
                        self.backend.encode([texts[i % len(texts)]], "query", 1)
                    latencies[number].append(time.perf_counter() - started)
                    i += len(latencies)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=client, args=(n,)) for n in range(len(latencies))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        elapsed = time.perf_counter() - began
        return {
            "seconds": elapsed,
            "latencies": [second for of_client in latencies for second in of_client],
        }

    def memory(self, request: Request) -> Answer:
        """The peak; with "reset", close the indexes and begin a new count."""
        peak = peak_memory()
        if request.get("reset"):
            self.indexes = {}
            reset_peak_memory()
        return {"peak": peak}


def peak_memory() -> int:
    """The most bytes that this process has held since its start or the last reset."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def reset_peak_memory() -> None:
    """Begin a new count; without Linux's /proc the peak stays that since the start."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text(RESET_PEAK)
