"""Feeds damaged folders, whose checksums match, to the compiled code under sanitizers.

python -m tests.fuzz 100000 [SEED]    so many cases; exits with 1 at the first report

Two C libraries are compiled with gcc's address and undefined-behaviour sanitizers. A case changes
numbers of encoder.json, arrays of model.onnx, or bytes of a snapshot or of the files of vectors and
words beside it, makes checksums match, and uses the folder as any program would. It must be refused
with an error of ours, or work; the process must neither read nor write outside its memory.
"""

import ctypes
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import onnx
import pytest

from tests.tiny import tiny_checkpoint, tiny_weights, write_tiny
from trimseek.atomic import sha256_of
from trimseek.encoders import write_encoder
from trimseek.encoders.card import CARD, GRAPH
from trimseek.encoders.encoder import DocumentEncoder
from trimseek.encoders.native import library as native_library
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.errors import TrimseekError
from trimseek.indexer.corpus import open_corpus
from trimseek.indexer.folder import open_index
from trimseek.indexer.ingest import Ingest
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.rows import SnapshotRecord, Vectors
from trimseek.indexer.snapshot import (
    KINDS,
    fill,
    read_snapshot,
    snapshot_path,
    stored_keys,
    vectors_path,
    words_path,
)
from trimseek.indexer.vectors_file import read_vectors
from trimseek.indexer.words import read_words
from trimseek.search.native.graph import graph_of
from trimseek.search.native.retrieval import Depth, Parts, best_documents
from trimseek.search.words import Words

ROOT = Path(__file__).parent.parent
FLAGS = "-O1 -g -w -fPIC -shared -pthread -std=gnu11 -fsanitize=address,undefined"
LIBRARIES = {
    "encoder": [
        f"encoders/native/{name}.c"
        for name in ("encode", "team", "avx2", "avx_vnni", "avx512_vnni")
    ],
    "search": [
        *(f"search/native/{name}.c" for name in ("retrieve", "hnsw", "bm25", "float16")),
        "indexer/native/sketch.c",
    ],
}
NUMBERS = (
    *(0, -1, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 96, 127, 128, 255, 256),
    *(-4, -8, -32, 1000, 2**15, 2**16 - 1, 2**16, 2**16 + 1, 2**24, 10**9, 2**31 - 1, -(2**31)),
    *(2**31, 2**32 - 1, 2**32, 2**63 - 1, -(2**63), 2**63),
)
VALUES: tuple[Any, ...] = (*NUMBERS, "7", "", None, 1.5, -0.0, 1e300, [], {}, True, [7], {"a": 1})
TEXTS = ["the list of files", "a", " ".join(["shell"] * 60)]
COUNT, DIM = 1100, 16
INPUTS = {  # of some matrices: both kinds together, and each alone
    "layers.0.qkv.smooth": np.linspace(0.5, 2, 32, dtype=np.float32),
    "layers.0.qkv.range": np.array([-3, 4], np.float32),
    "layers.0.intermediate.smooth": np.linspace(2, 0.5, 32, dtype=np.float32),
    "layers.1.output.range": np.array([0, 2], np.float32),
}
EFFORTS = (1, 16, 2000)


def build(folder: Path) -> dict[str, Path]:
    """Both libraries with sanitizers."""
    built = {}
    for name, sources in LIBRARIES.items():
        built[name] = folder / f"{name}.so"
        files = [str(ROOT / source) for source in sources]
        flags = [*FLAGS.split(), f"-I{ROOT / 'indexer' / 'native'}"]
        command = ["gcc", *flags, "-fno-sanitize-recover=undefined"]
        subprocess.run([*command, "-o", str(built[name]), *files, "-lm"], check=True)
    return built


def runtime_library(name: str) -> str:
    """Where gcc's library of that name lies."""
    asked = ["gcc", f"-print-file-name={name}"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def fuzz(cases: int, seed: int, seconds: float = float("inf")) -> tuple[int, str]:
    """Run the cases in a process of their own; how many were done, and a report, "" if none."""
    with tempfile.TemporaryDirectory(prefix="trimseek-fuzz-") as name:
        folder = Path(name)
        built = build(folder)
        preloaded = " ".join(map(runtime_library, ("libasan.so", "libubsan.so")))
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz", "work", folder, str(cases), str(seed),
             str(seconds), built["encoder"], built["search"]],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {
                "LD_PRELOAD": preloaded,
                "ASAN_OPTIONS": "detect_leaks=0:allocator_may_return_null=1",
                "OMP_NUM_THREADS": "1",
                "TRIMSEEK_THREADS": "1",
            },
        )  # fmt: skip
        out, err = process.communicate()
        done = out.count("case ")
        if process.returncode == 0:
            return done, ""
        last = out.splitlines()[-1] if out else "the start"
        return done, f"seed {seed}, at {last}, exit {process.returncode}:\n{err[-8000:]}"


class EncoderCases:
    """Damaged encoder folders."""

    def __init__(self, base: Path, chosen: random.Random) -> None:
        self.chosen = chosen
        self.sound = base / "sound"
        weights = replace(tiny_weights(), inputs=INPUTS)
        checkpoint = tiny_checkpoint(weights=weights)
        write_encoder(checkpoint, self.sound, Quantization.everywhere(Precision.INT8))
        self.card = json.loads((self.sound / CARD).read_text())
        self.graph = onnx.load(self.sound / GRAPH)
        self.folder = shutil.copytree(self.sound, base / "damaged")
        self.names = [tensor.name for tensor in self.graph.graph.initializer]

    def run(self) -> str:
        card = json.loads(json.dumps(self.card))
        graph = onnx.ModelProto()
        graph.CopyFrom(self.graph)
        done = []
        for _ in range(self.chosen.choice((1, 1, 1, 2, 3))):
            change = self.chosen.choice((self.number, self.shape, self.heads, self.array))
            done.append(change(card, graph))
        content = graph.SerializeToString()
        if self.chosen.random() < 0.2:
            content = flipped(content, self.chosen)
            done.append("bytes")
        (self.folder / GRAPH).write_bytes(content)
        card["sha256"][GRAPH] = sha256_of(self.folder / GRAPH)
        (self.folder / CARD).write_text(json.dumps(card))
        encoder = DocumentEncoder(self.folder, 1)
        encoder.encode(TEXTS)
        return "+".join(done)

    def number(self, card: dict[str, Any], _: Any) -> str:
        """A number of the card."""
        fields = ["dim", "head_dim", "positions", "max_tokens", "layer_norm_eps", "activation",
                  "pooling", "normalize", "layers"]  # fmt: skip
        name = self.chosen.choice(fields)
        card[name] = self.chosen.choice(VALUES)
        return name

    def shape(self, card: dict[str, Any], _: Any) -> str:
        """Heads or neurons of a layer, or how many layers there are."""
        layers = card["layers"]
        if not isinstance(layers, list) or not layers or not isinstance(layers[0], dict):
            return "nothing"
        if self.chosen.random() < 0.2:
            card["layers"] = (layers * 3)[: self.chosen.randrange(6)]
        else:
            layer = self.chosen.choice(layers)
            layer[self.chosen.choice(("heads", "neurons"))] = self.chosen.choice(VALUES)
        return "shape"

    def heads(self, card: dict[str, Any], _: Any) -> str:
        """Another way to cut the same width into heads, negative ones too."""
        size = self.chosen.choice((-32, -16, -8, -4, -2, -1, 1, 2, 4, 16, 32))
        card["head_dim"] = size
        for layer in card["layers"] if isinstance(card["layers"], list) else ():
            if isinstance(layer, dict):
                layer["heads"] = 32 // size
        return "heads"

    def array(self, _: dict[str, Any], graph: Any) -> str:
        """An array of the graph: its shape, type, content or name."""
        tensor = self.chosen.choice(graph.graph.initializer)
        way = self.chosen.randrange(6)
        if way == 0 and tensor.dims:
            tensor.dims[self.chosen.randrange(len(tensor.dims))] = self.chosen.choice(NUMBERS[:-1])
        elif way == 1:
            tensor.data_type = self.chosen.randrange(20)
        elif way == 2:
            tensor.raw_data = tensor.raw_data[: self.chosen.randrange(len(tensor.raw_data) + 1)]
        elif way == 3:
            tensor.raw_data = flipped(tensor.raw_data, self.chosen)
        elif way == 4:
            tensor.name = self.chosen.choice(self.names)
        elif len(tensor.dims) == 2:
            tensor.dims[0], tensor.dims[1] = tensor.dims[1], tensor.dims[0]
        return "array"


class SnapshotCases:
    """Damaged snapshot files of every kind."""

    def __init__(self, base: Path, chosen: random.Random) -> None:
        self.chosen, self.folder = chosen, base
        values = np.random.default_rng(1).standard_normal((COUNT, DIM)).astype(np.float32)
        vectors = values / np.linalg.norm(values, axis=1, keepdims=True)
        self.query = vectors[0]
        self.contents: dict[SnapshotKind, bytes] = {}
        keys = np.arange(1, COUNT + 1, dtype=np.int64)
        for kind, making in KINDS.items():
            index = making.make(DIM, vectors, COUNT)
            fill(index, [Vectors(keys, vectors.astype(np.float16))])
            faiss.write_index(index, str(base / "sound.faiss"))
            self.contents[kind] = (base / "sound.faiss").read_bytes()

    def run(self) -> str:
        kind = self.chosen.choice(tuple(KINDS))
        content = flipped(self.contents[kind], self.chosen)
        path = snapshot_path(self.folder, 1)
        path.write_bytes(content)
        last = COUNT if self.chosen.random() < 0.9 else self.chosen.choice(NUMBERS)
        count = COUNT if self.chosen.random() < 0.9 else self.chosen.choice(NUMBERS)
        record = SnapshotRecord(1, kind.value, sha256_of(path), last, count)
        index = read_snapshot(record, self.folder, DIM)
        compiled = graph_of(index, np.sort(stored_keys(index)))
        for effort in EFFORTS:
            if compiled is not None:
                compiled.search(self.query, effort)
            parameters = KINDS[kind].parameters(effort, None)
            index.search(self.query[None], min(effort, COUNT), params=parameters)
        return kind.value


class RetrievalCases:
    """Damaged files of vectors and of words beside a sound graph, searched in one compiled call."""

    def __init__(self, base: Path, chosen: random.Random) -> None:
        self.chosen = chosen
        corpus = base / "corpus.jsonl"
        words = [f"w{i}" for i in range(60)]
        with corpus.open("w") as file:
            for i in range(400):
                text = " ".join(chosen.choices(words, k=chosen.choice((3, 12, 300))))
                file.write(json.dumps({"_id": str(i), "title": words[i % 60], "text": text}) + "\n")
        self.folder = base / "index"
        encoder = DocumentEncoder(write_tiny(base / "tiny"), 1)
        Ingest(
            open_corpus(str(corpus)), self.folder, encoder, str(base / "tiny"),
            kind=SnapshotKind.HNSW,
        ).run()  # fmt: skip
        with open_index(self.folder) as (card, store):
            record = store.snapshot()
            assert record is not None
            self.record, self.dim = record, card.dim
            self.terms = [[id_] for id_ in store.term_ids(words[:8]).values()]
        self.index = read_snapshot(record, self.folder, self.dim)
        paths = (vectors_path(self.folder, record.number), words_path(self.folder, record.number))
        self.sound = [path.read_bytes() for path in paths]
        self.query = np.ones(self.dim, np.float32) / self.dim**0.5

    def run(self) -> str:
        contents = list(self.sound)
        which = self.chosen.choice(((0,), (1,), (0, 1)))
        for number in which:
            contents[number] = flipped(contents[number], self.chosen)
        paths = [self.folder / "vectors-9.bin", self.folder / "words-9.bin"]
        for path, content in zip(paths, contents, strict=True):
            path.write_bytes(content)
        file = read_vectors(self.record, sha256_of(paths[0]), paths[0], self.dim)
        blocks = read_words(self.record._replace(words=sha256_of(paths[1])), paths[1])
        graph = graph_of(self.index, file.chunks.keys, file.sketches)
        flags = np.random.default_rng(self.chosen.randrange(9)).random(len(file.chunks.keys)) < 0.5
        words = Words(
            self.record, 1, len(blocks), tuple(blocks), (None,) * len(blocks),
            self.record.last_chunk,
        )  # fmt: skip
        scores = words.scores(self.terms, self.chosen.choice((0.0, 1.0, 3.0)))
        for counted in (None, flags):
            parts = Parts([file.chunks], [graph], [counted])
            for effort in EFFORTS:
                for wanted in (1, 30, 500):
                    depth = Depth(effort, 2, 20, 16, 4)
                    for weight in (None, 0.5):
                        best_documents(parts, self.query, wanted, depth, scores.compiled, weight)
        return "retrieval"


def flipped(content: bytes, chosen: random.Random) -> bytes:
    """Some bytes changed, words replaced by telling numbers, or the end cut off."""
    changed = bytearray(content)
    if not changed:
        return content
    for _ in range(chosen.choice((1, 1, 2, 4, 8))):
        end = chosen.choice((len(changed), min(300, len(changed))))  # the header as often
        place = chosen.randrange(end)
        way = chosen.randrange(4)
        if way == 0:
            changed[place] ^= 1 << chosen.randrange(8)
        elif way == 1:
            changed[place] = chosen.randrange(256)
        elif way == 2:
            size = chosen.choice((4, 8))
            place = place // 4 * 4
            word = (chosen.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size, "little")
            changed[place : place + size] = word[: len(changed) - place]
        elif chosen.random() < 0.1:
            del changed[place:]
            if not changed:
                return b""
    return bytes(changed)


def work(folder: Path, cases: int, seed: int, end: float, encoder: str, search: str) -> None:
    """The process that is fuzzed: a line for each case."""
    warnings.simplefilter("ignore")
    functions = native_library.with_types(ctypes.CDLL(encoder))
    compiled = ctypes.CDLL(search)
    patch = pytest.MonkeyPatch()
    patch.setattr("trimseek.encoders.native.runtime.library", lambda: functions)
    patch.setattr("trimseek.search.native.library.load", lambda *_: compiled)
    chosen = random.Random(seed)
    # each case is of another file, which nobody reads again
    patch.setattr("trimseek.checked.CheckedFile.note", lambda _: None)
    families: list[EncoderCases | SnapshotCases | RetrievalCases] = [
        EncoderCases(folder, chosen),
        SnapshotCases(folder, chosen),
        RetrievalCases(folder, chosen),
    ]
    for number in range(cases):
        if time.monotonic() > end:
            return
        chosen.seed(f"{seed} {number}")
        family = families[number % len(families)]
        print(f"case {number}", flush=True)
        with suppress(TrimseekError):
            family.run()


def main(arguments: list[str]) -> int:
    if arguments[0] == "work":
        folder, cases, seed, seconds, encoder, search = arguments[1:]
        end = time.monotonic() + float(seconds)
        work(Path(folder), int(cases), int(seed), end, encoder, search)
        return 0
    began = time.monotonic()
    chosen = int(arguments[1]) if len(arguments) > 1 else int(time.time())
    done, report = fuzz(int(arguments[0]), chosen)
    print(report or f"{done} cases (seed {chosen}) in {time.monotonic() - began:.0f} s: no report")
    return 1 if report else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
