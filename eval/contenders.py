"""What a benchmark compares: each contender is an encoder in a process of its own.

All answer the same requests (``eval.workers``), so that an encoder of trimseek and a peer are
timed by the same code, and each one's memory is its own.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from encoders.cached import fingerprint
from encoders.card import EncoderCard
from encoders.checkpoint import read_checkpoint
from encoders.cost import multiply_accumulates
from encoders.cpu import Int8Path, int8_path
from encoders.folder import open_encoder, read_weights
from encoders.pooling import Pooling
from encoders.weights import FloatArray
from eval.workers.backends import CALIBRATION_TEXTS, PEERS, Setting
from indexer.corpus import SAMPLE, open_corpus
from trimseek.atomic import make_folder
from trimseek.console import note
from trimseek.errors import ConfigError, EncoderError, WorkerError
from trimseek.settings import load_settings

WORKERS = Path(__file__).parent
REQUIREMENTS = WORKERS / "workers" / "requirements.txt"
EXIT_SECONDS = 10.0
LAST_WORDS = 300  # characters of a dead worker's stderr
# sentence-transformers' export knows these; the others take the nearest below them
EXPORTS = {
    Int8Path.AMX: "avx512_vnni",
    Int8Path.AVX512_VNNI: "avx512_vnni",
    Int8Path.AVX_VNNI: "avx2",
    Int8Path.AVX512: "avx512",
    Int8Path.AVX2: "avx2",
    Int8Path.ARM_I8MM: "arm64",
    Int8Path.ARM_DOTPROD: "arm64",
    Int8Path.GENERIC: "avx2",
}


class Contender:
    """One encoder behind the line protocol.

    ``fingerprint`` changes with anything that changes a vector; ``encoder_bytes`` is the size of
    the model files that run, ``versions`` of what runs them.
    """

    peer = False

    def __init__(self, name: str, precision: str, worker: "Worker", fingerprint: str) -> None:
        self.name = name
        self.precision = precision
        self.fingerprint = fingerprint
        self.encoder_bytes: int = worker.hello["bytes"]
        self.versions: dict[str, str] = worker.hello["versions"]
        self._worker = worker

    def encode(self, texts: Sequence[str], role: str) -> FloatArray:
        """Vectors ``(n, dim) float32``; ``role`` is "query" or "document"."""
        answer = self._worker.ask(op="encode", role=role, texts=list(texts))
        raw = np.frombuffer(base64.b64decode(answer["vectors"]), np.float32)
        return raw.reshape(-1, answer["dim"])

    def time(
        self, texts: Sequence[str], role: str, *, batch: int | None, warm_up: int
    ) -> list[float]:
        """Seconds for each batch; ``batch=None`` leaves batching to the encoder."""
        request = {"role": role, "texts": list(texts), "batch": batch, "warm_up": warm_up}
        seconds: list[float] = self._worker.ask(op="time", **request)["seconds"]
        return seconds

    def open_index(self, path: Path) -> None:
        self._worker.ask(op="open", path=str(path))

    def query(
        self, texts: Sequence[str], path: Path, *, k: int, warm_up: int
    ) -> dict[str, list[float]]:
        """Seconds of "encode", "search" and "total" for each text, one at a time."""
        request = {"texts": list(texts), "path": str(path), "k": k, "warm_up": warm_up}
        return self._worker.ask(op="query", **request)

    def clients(self, texts: Sequence[str], clients: int, seconds: float) -> dict[str, Any]:
        """A closed loop: "seconds" it took, and "latencies" in seconds."""
        return self._worker.ask(op="clients", texts=list(texts), clients=clients, seconds=seconds)

    def peak_memory(self, *, reset: bool = False) -> int:
        """The most bytes the process has held; with ``reset`` counting begins anew."""
        peak: int = self._worker.ask(op="memory", reset=reset)["peak"]
        return peak

    def close(self) -> None:
        self._worker.close()


class OurContender(Contender):
    """An encoder of trimseek. ``work(lengths)``: multiply-accumulates for texts so long."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self.card = open_encoder(folder)
        self.weights = read_weights(folder)
        setting = Setting(str(folder), load_settings().threads)
        worker = Worker("trimseek", [sys.executable, "-m", "eval.workers"], setting)
        super().__init__(name, self.card.precision.value, worker, fingerprint(self.card))

    def work(self, lengths: Sequence[int]) -> int:
        return multiply_accumulates(self.weights, lengths)


class PeerContender(Contender):
    """A peer with the weights of a checkpoint."""

    peer = True

    def __init__(self, name: str, card: EncoderCard, checkpoint: Path) -> None:
        settings = load_settings()
        cache = make_folder(settings.home / "bench" / "peers" / card.base_sha256[:16])
        setting = Setting(
            folder=str(checkpoint),
            threads=settings.threads,
            max_tokens=card.max_tokens,
            cache=str(cache),
            int8=EXPORTS[int8_path()],
            calibration=str(calibration_texts(cache)),
        )
        worker = Worker(name, [str(peers_python()), "-m", "workers"], setting)
        made_of = [name, card.base_sha256, card.max_tokens, setting.int8, worker.hello["versions"]]
        made_by = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
        precision = "int8" if name.endswith("int8") else "float32"
        super().__init__(name, precision, worker, f"{name}-{made_by}")


class Worker:
    """A process of ``eval.workers``, started and ready; WorkerError if it is not."""

    def __init__(self, name: str, command: Sequence[str], setting: Setting) -> None:
        self.name = name
        self._words = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        threads = str(setting.threads)
        paths = [str(WORKERS.parent), str(WORKERS), os.environ.get("PYTHONPATH", "")]
        if command[0] != sys.executable:
            paths = [str(WORKERS)]
        environment = {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
        environment |= {"OMP_NUM_THREADS": threads, "TRIMSEEK_THREADS": threads}
        self._process = subprocess.Popen(  # noqa: S603 - our own modules
            [*command, name, json.dumps(asdict(setting))],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            encoding="utf-8",
        )
        try:
            self.hello = self._read()
        except WorkerError:
            self.close()
            raise

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request, wait for its answer; WorkerError."""
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._obituary()) from None
        return self._read()

    def close(self) -> None:
        if self._process.stdin and not self._process.stdin.closed:
            with suppress(BrokenPipeError):  # it has ended already
                self._process.stdin.close()
        try:
            self._process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._words.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._obituary())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}")
        return answer

    def _obituary(self) -> str:
        status = self._process.wait()
        self._words.seek(0)
        last = " ".join(self._words.read().split())[-LAST_WORDS:]
        return f"{self.name}: its process ended with status {status}: {last or 'without a word'}"


def peers_python() -> Path:
    """The interpreter of the peers' environment; ConfigError if there is none."""
    python = load_settings().peers / "bin" / "python"
    if not python.is_file():
        raise ConfigError(
            f"{python}: missing; `make peers` makes the environment that peers run in, as does "
            f"pip install -r {REQUIREMENTS} in one of your own that TRIMSEEK_PEERS names"
        )
    return python


def check_peers(names: Sequence[str], card: EncoderCard) -> None:
    """ConfigError for a peer that is not known or an encoder that no peer can run."""
    if not names:
        return
    peers_python()
    for name in names:
        if name not in PEERS:
            raise ConfigError(f"unknown peer {name!r}; there are {', '.join(PEERS)}, and all")
    if card.pooling is not Pooling.MEAN or any(card.prompts.values()) or not card.normalize:
        raise EncoderError(
            f"{card.name}: peers are compared with mean pooling, unit vectors and no prompts only"
        )


def calibration_texts(cache: Path) -> Path:
    """A data set for static quantization, made of the sample corpus that every machine has."""
    path = make_folder(cache / "calibration") / "train.jsonl"
    if not path.is_file():
        documents = list(open_corpus(SAMPLE).documents())
        step = max(1, len(documents) // (2 * CALIBRATION_TEXTS))
        lines = [json.dumps({"text": f"{each.title} {each.text}"}) for each in documents[::step]]
        path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def base_checkpoint(card: EncoderCard, checkpoint: Path) -> Path:
    """The checkpoint itself, once it is known to be the encoder's base; EncoderError."""
    if read_checkpoint(checkpoint, card.base).sha256 != card.base_sha256:
        raise EncoderError(f"{checkpoint}: not the checkpoint that {card.name} was made from")
    return checkpoint


def open_peers(
    names: Sequence[str], card: EncoderCard, checkpoint: Path
) -> tuple[list[PeerContender], dict[str, str]]:
    """The peers that run, and the reasons of those that do not."""
    running, reasons = [], {}
    for name in names:
        note(f"starting {name} ...")
        try:
            running.append(PeerContender(name, card, checkpoint))
        except WorkerError as error:
            reasons[name] = str(error).removeprefix(f"{name}: ")
            note(f"{name} is unavailable: {reasons[name]}")
    return running, reasons
