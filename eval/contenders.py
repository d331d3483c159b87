"""What a benchmark times: our encoders in this process, the torch baseline in its own."""

import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Protocol

from encoders import DocumentEncoder, QueryEncoder, find_encoder
from encoders.catalog import find_checkpoint, split_precision
from encoders.folder import GRAPH
from trimseek.errors import MissingExtraError, TrimseekError

BASELINE = "torch float32"
BASELINE_BATCH = 32


class Contender(Protocol):
    """Times encoding; ``graph_bytes`` is the size of what runs, None where it is no file."""

    name: str
    graph_bytes: int | None

    def time_queries(self, texts: Sequence[str]) -> list[float]:
        """Seconds for each query, encoded alone."""
        ...

    def time_documents(self, texts: Sequence[str]) -> float:
        """Seconds for all of the documents, in batches of the contender's choice."""
        ...

    def close(self) -> None: ...


class OurEncoder:
    """An encoder of trimseek."""

    def __init__(self, name: str) -> None:
        self.name = name
        folder = find_encoder(name)
        self.queries = QueryEncoder(folder)
        self.documents = DocumentEncoder(folder)
        self.card = self.queries.card
        self.graph_bytes: int | None = (folder / GRAPH).stat().st_size

    def time_queries(self, texts: Sequence[str]) -> list[float]:
        seconds = []
        for text in texts:
            began = time.perf_counter()
            self.queries.encode([text])
            seconds.append(time.perf_counter() - began)
        return seconds

    def time_documents(self, texts: Sequence[str]) -> float:
        began = time.perf_counter()
        self.documents.encode(texts)
        return time.perf_counter() - began

    def close(self) -> None:
        """Nothing to end."""


class TorchBaseline:
    """transformers and torch, eager float32, with the weights, token limit and threads of ours."""

    name = BASELINE
    graph_bytes: int | None = None

    def __init__(self, encoder: OurEncoder, threads: int) -> None:
        for module in ("torch", "transformers"):
            if importlib.util.find_spec(module) is None:
                raise MissingExtraError(f"the baseline ({module})", "compress")
        checkpoint = find_checkpoint(split_precision(encoder.name)[0])
        self._worker = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [
                *(sys.executable, "-W", "ignore", "-m", "eval.torch_worker"),
                *(str(checkpoint), str(encoder.card.max_tokens), str(threads)),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._read("ready")

    def time_queries(self, texts: Sequence[str]) -> list[float]:
        return self._ask(texts, 1)

    def time_documents(self, texts: Sequence[str]) -> float:
        return sum(self._ask(texts, BASELINE_BATCH))

    def close(self) -> None:
        self._worker.communicate()

    def _ask(self, texts: Sequence[str], batch: int) -> list[float]:
        assert self._worker.stdin is not None  # noqa: S101 - opened as a pipe
        self._worker.stdin.write(json.dumps({"texts": list(texts), "batch": batch}) + "\n")
        self._worker.stdin.flush()
        seconds: list[float] = self._read("seconds")
        return seconds

    def _read(self, field: str) -> Any:
        assert self._worker.stdout is not None  # noqa: S101 - opened as a pipe
        line = self._worker.stdout.readline()
        if not line:
            raise TrimseekError(f"the torch baseline ended with status {self._worker.wait()}")
        return json.loads(line)[field]
