"""What a benchmark compares: contenders, each of them an encoder in a process of its own.

All answer the same requests (``eval.bench.workers``), so that encoders of trimseek and peers are
timed by the same code, and the memory of each is counted apart.
"""

import base64
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from trimseek.atomic import make_folder
from trimseek.child import module_command
from trimseek.console import note
from trimseek.encoders.cached import fingerprint
from trimseek.encoders.card import EncoderCard
from trimseek.encoders.checkpoint import read_checkpoint
from trimseek.encoders.cost import multiply_accumulates
from trimseek.encoders.cpu import Int8Path, int8_path
from trimseek.encoders.folder import open_encoder, read_weights
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError, EncoderError, WorkerError
from trimseek.eval.bench.workers.backends import CALIBRATION_TEXTS, PEERS, Setting
from trimseek.eval.quality.words import BM25
from trimseek.indexer.corpus import SAMPLE, open_corpus
from trimseek.settings import load_settings

WORKERS = Path(__file__).resolve().parent / "workers"
REQUIREMENTS = WORKERS / "requirements.txt"
EXIT_SECONDS = 10.0  # given to a process to end, before it is killed
STDERR_SHOWN = 300  # characters of the end of a dead process's stderr
# sentence-transformers' export knows these names; other CPUs take the nearest one below
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
    """One encoder behind the line protocol of ``eval.bench.workers.loop``.

    ``fingerprint`` changes with anything that changes a vector; ``encoder_bytes`` is the size of
    the model files that run; ``versions`` has those of the libraries that run them. Every method
    raises WorkerError if the process fails.
    """

    peer = False

    def __init__(
        self, name: str, precision: str, worker: "WorkerProcess", fingerprint: str
    ) -> None:
        self.name = name
        self.precision = precision
        self.fingerprint = fingerprint
        self.encoder_bytes: int = worker.greeting["bytes"]
        self.versions: dict[str, str] = worker.greeting["versions"]
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
        """Open an index, a file that ``BuiltIndex`` wrote, which ``query`` is to search."""
        self._worker.ask(op="open", path=str(path))

    def query(
        self, texts: Sequence[str], path: Path, *, k: int, warm_up: int
    ) -> dict[str, list[float]]:
        """Seconds of "encode", "search" and "total" for each text, one at a time."""
        request = {"texts": list(texts), "path": str(path), "k": k, "warm_up": warm_up}
        return self._worker.ask(op="query", **request)

    def clients(self, texts: Sequence[str], clients: int, seconds: float) -> dict[str, Any]:
        """A closed loop: the "seconds" that it ran, and "latencies" in seconds."""
        return self._worker.ask(op="clients", texts=list(texts), clients=clients, seconds=seconds)

    def peak_memory(self, *, reset: bool = False) -> int:
        """The most bytes that the process has held; ``reset`` begins a new count."""
        peak: int = self._worker.ask(op="memory", reset=reset)["peak"]
        return peak

    def close(self) -> None:
        """End the process."""
        self._worker.close()


class TrimseekContender(Contender):
    """An encoder of trimseek, by its folder."""

    def __init__(self, name: str, folder: Path) -> None:
        self.folder = folder
        self.card = open_encoder(folder)
        self.weights = read_weights(folder)
        setting = Setting(str(folder), load_settings().threads)
        worker = WorkerProcess("trimseek", module_command("trimseek.eval.bench.workers"), setting)
        super().__init__(name, self.card.precision.value, worker, fingerprint(self.card))

    def work(self, lengths: Sequence[int]) -> int:
        """Multiply-accumulates for texts of so many tokens."""
        return multiply_accumulates(self.weights, lengths)


class WordsContender(Contender):
    """BM25 of trimseek: its vectors are words, which it is asked for in the process that times."""

    def __init__(self) -> None:
        setting = Setting("", load_settings().threads)
        worker = WorkerProcess(BM25, module_command("trimseek.eval.bench.workers"), setting)
        super().__init__(BM25, "-", worker, BM25)


class PeerContender(Contender):
    """A peer, by its name in ``PEERS``, with the weights of a checkpoint."""

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
        command = [str(peers_python()), "-P", "-m", "workers"]
        worker = WorkerProcess(name, command, setting, WORKERS.parent)
        versions = worker.greeting["versions"]
        inputs = [name, card.base_sha256, card.max_tokens, setting.int8, versions]
        digest = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:16]
        precision = "int8" if name.endswith("int8") else "float32"
        super().__init__(name, precision, worker, f"{name}-{digest}")


class WorkerProcess:
    """A process of ``eval.bench.workers``, which is started and waited for; WorkerError.

    ``command`` runs it, ``name`` says which encoder. ``modules``: a folder to import from, for an
    environment that has no trimseek. ``greeting``: what it said when it was ready.
    """

    def __init__(
        self, name: str, command: Sequence[str], setting: Setting, modules: Path | None = None
    ) -> None:
        self.name = name
        self._stderr = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        threads = str(setting.threads)
        environment = {"OMP_NUM_THREADS": threads, "TRIMSEEK_THREADS": threads}
        if modules is not None:
            environment["PYTHONPATH"] = str(modules)
        self._process = subprocess.Popen(
            [*command, name, json.dumps(asdict(setting))],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            encoding="utf-8",
        )
        try:
            self.greeting = self._read()
        except WorkerError:
            self.close()
            raise

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request and wait for the answer; WorkerError if it fails or the process ends."""
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._ending()) from None
        return self._read()

    def close(self) -> None:
        """End its input, wait for the process to end, and kill it if it does not."""
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
        self._stderr.close()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(self._ending())
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}")
        return answer

    def _ending(self) -> str:
        status = self._process.wait()
        self._stderr.seek(0)
        last = " ".join(self._stderr.read().split())[-STDERR_SHOWN:]
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
    """ConfigError for an unknown peer or none installed; EncoderError for what no peer can run."""
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
    """A file of texts for static quantization, from the sample corpus that every machine has."""
    path = make_folder(cache / "calibration") / "train.jsonl"
    if not path.is_file():
        documents = list(open_corpus(SAMPLE).documents())
        step = max(1, len(documents) // (2 * CALIBRATION_TEXTS))
        lines = [
            json.dumps({"text": f"{document.title} {document.text}"})
            for document in documents[::step]
        ]
        path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def base_checkpoint(card: EncoderCard, checkpoint: Path) -> Path:
    """``checkpoint``, if the encoder was made from it; EncoderError if it was not."""
    if read_checkpoint(checkpoint, card.base).sha256 != card.base_sha256:
        raise EncoderError(f"{checkpoint}: not the checkpoint that {card.name} was made from")
    return checkpoint


def open_peers(
    names: Sequence[str], card: EncoderCard, checkpoint: Path
) -> tuple[list[PeerContender], dict[str, str]]:
    """The peers that run, and by name the reasons why the others do not."""
    running, reasons = [], {}
    for name in names:
        note(f"starting {name} ...")
        try:
            running.append(PeerContender(name, card, checkpoint))
        except WorkerError as error:
            reasons[name] = str(error).removeprefix(f"{name}: ")
            note(f"{name} is unavailable: {reasons[name]}")
    return running, reasons
