"""The encoders that workers run: trimseek, and the peers that it is compared with.

Every peer runs the same weights, cuts texts at the same token, uses as many threads, and is called
as its documentation calls it. A model that a peer converts first (to ONNX or OpenVINO) is kept in a
cache folder.
"""

import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .loop import Backend

BATCH = 32  # sentence-transformers' default
CALIBRATION_TEXTS = 300  # the default of its OpenVINO export
ONNX_MODEL = "onnx/model.onnx"
RUNTIMES = {"torch": ("torch",), "onnx": ("onnxruntime",), "openvino": ("openvino", "nncf")}


@dataclass(frozen=True)
class Setting:
    """How to run: the same for every worker of a benchmark.

    ``folder``: an encoder folder for ``trimseek``, a checkpoint for a peer. ``cache``: where a
    peer keeps what it converts. ``int8``: the instruction set that int8 models are made for.
    ``calibration``: a file of texts, one JSON object a line, for static quantization.
    """

    folder: str
    threads: int
    max_tokens: int = 0
    cache: str = ""
    int8: str = ""
    calibration: str = ""


def versions(*names: str) -> dict[str, str]:
    """Versions of those packages that are installed."""
    installed = {}
    for name in names:
        try:
            installed[name] = version(name)
        except PackageNotFoundError:
            continue
    return installed


def size_of(*paths: Path) -> int:
    """Bytes of files together."""
    return sum(path.stat().st_size for path in paths)


class Trimseek:
    """An encoder folder, as the command line and the service run it."""

    def __init__(self, setting: Setting) -> None:
        from trimseek.encoders import DocumentEncoder, QueryEncoder
        from trimseek.encoders.folder import graph_bytes

        folder = Path(setting.folder)
        query = QueryEncoder(folder, setting.threads)
        prompts = query.card.prompts
        same = prompts.get("query", "") == prompts.get("document", "")
        document = query if same else DocumentEncoder(folder, setting.threads)
        self.roles = {"query": query, "document": document}
        self.bytes = graph_bytes(folder)
        self.versions = versions("trimseek", "onnxruntime", "tokenizers")

    def encode(self, texts: Sequence[str], role: str, batch: int | None) -> NDArray[np.float32]:
        """As ``Backend.encode``; trimseek chooses its own batches."""
        return self.roles[role].encode(texts).vectors


class Bm25:
    """BM25 of trimseek, which encodes a text to its words."""

    bytes = 0

    def __init__(self, _setting: Setting) -> None:
        from trimseek.indexer.analyzer import analyzer_of

        self.analyzer = analyzer_of(None)
        self.index: Any = None
        self.versions = versions("trimseek")

    def open_words(self, path: str) -> Any:
        """The index that a file is of; the words of texts are those of its language from now on."""
        from trimseek.eval.quality.words import open_word_file

        self.index = open_word_file(path)
        self.analyzer = self.index.analyzer
        return self.index

    def encode(self, texts: Sequence[str], role: str, batch: int | None) -> Any:
        """Queries that the index takes in the place of vectors; of documents, their words."""
        if role == "query" and self.index is not None:
            return self.index.queries(texts)
        return [self.analyzer.counts(text) for text in texts]


class Transformers:
    """transformers and torch, eager: tokenize, run the model, average, normalize."""

    def __init__(self, setting: Setting) -> None:
        import torch
        from transformers import AutoModel, AutoTokenizer

        torch.set_num_threads(setting.threads)
        self.tokenizer = AutoTokenizer.from_pretrained(setting.folder)
        self.model = AutoModel.from_pretrained(setting.folder).eval()
        self.max_tokens = setting.max_tokens
        self.bytes = size_of(*Path(setting.folder).glob("*.safetensors"))
        self.versions = versions("torch", "transformers", "tokenizers")

    def encode(self, texts: Sequence[str], role: str, batch: int | None) -> NDArray[np.float32]:
        """As ``Backend.encode``; the role makes no difference."""
        size = batch or BATCH
        parts = [self._run(texts[i : i + size]) for i in range(0, len(texts), size)]
        return np.concatenate(parts)

    def _run(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        inputs = self.tokenizer(
            list(texts),
            padding=True,
            truncation=True,
            max_length=self.max_tokens,
            return_tensors="pt",
        )
        with torch.inference_mode():
            tokens = self.model(**inputs).last_hidden_state
            mask = inputs["attention_mask"].unsqueeze(-1).float()
            mean = (tokens * mask).sum(1) / mask.sum(1)
            vectors: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return vectors


class TorchInt8(Transformers):
    """As ``Transformers``, with torch's dynamic quantization of the linear layers."""

    def __init__(self, setting: Setting) -> None:
        import warnings

        import torch

        super().__init__(setting)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, and still what people find and use
            self.model = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call]
                self.model, {torch.nn.Linear}, dtype=torch.qint8
            )
        linear = sum(
            module.weight().numel()
            for module in self.model.modules()
            if hasattr(module, "weight") and callable(module.weight)
        )
        self.bytes -= 3 * linear  # one byte a weight instead of four


class SentenceTransformers:
    """sentence-transformers' encode() on a backend: "torch", "onnx" or "openvino"."""

    def __init__(self, setting: Setting, backend: str, int8: bool = False) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(setting.threads)
        options, folder, runs = {}, setting.folder, Path(setting.folder, "model.safetensors")
        if backend != "torch":
            folder, runs = converted(setting, backend, int8)
            options = {"file_name": str(runs.relative_to(folder)), **threading(setting, backend)}
        self.model = SentenceTransformer(
            folder,
            backend=backend,
            device="cpu",
            local_files_only=True,
            model_kwargs=options,
        )
        self.model.max_seq_length = setting.max_tokens
        self.bytes = size_of(runs.with_suffix(".bin") if runs.suffix == ".xml" else runs)
        self.versions = versions(
            "sentence-transformers", "transformers", "tokenizers", *RUNTIMES[backend]
        )

    def encode(self, texts: Sequence[str], role: str, batch: int | None) -> NDArray[np.float32]:
        """As ``Backend.encode``; the role makes no difference."""
        vectors: NDArray[np.float32] = self.model.encode(
            list(texts),
            batch_size=batch or BATCH,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return vectors


class FastEmbed:
    """FastEmbed, on the ONNX model that sentence-transformers exports."""

    def __init__(self, setting: Setting, int8: bool = False) -> None:
        from fastembed import TextEmbedding
        from fastembed.common.model_description import ModelSource, PoolingType

        folder, runs = converted(setting, "onnx", int8)
        TextEmbedding.add_custom_model(
            model="the/same-weights",
            pooling=PoolingType.MEAN,
            normalization=True,
            sources=ModelSource(url=Path(folder).as_uri()),
            dim=0,
            model_file=str(runs.relative_to(folder)),
        )
        self.model = TextEmbedding(
            "the/same-weights", specific_model_path=folder, threads=setting.threads
        )
        self.bytes = size_of(runs)
        self.versions = versions("fastembed", "tokenizers", *RUNTIMES["onnx"])

    def encode(self, texts: Sequence[str], role: str, batch: int | None) -> NDArray[np.float32]:
        """As ``Backend.encode``; the role makes no difference."""
        vectors = list(self.model.embed(list(texts), batch_size=batch or BATCH))
        return np.array(vectors, np.float32)


def threading(setting: Setting, backend: str) -> dict[str, Any]:
    """Options of a backend that set its number of threads."""
    if backend == "openvino":
        return {"ov_config": {"INFERENCE_NUM_THREADS": setting.threads}}
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    return {"session_options": options, "provider": "CPUExecutionProvider"}


def converted(setting: Setting, backend: str, int8: bool) -> tuple[str, Path]:
    """The folder of a model that sentence-transformers exports, and the file in it to run.

    Made on the first call, and kept in the cache folder.
    """
    made_by = version("sentence-transformers")
    folder = Path(setting.cache, f"{backend}-{setting.max_tokens}-{made_by}")
    plain = folder / (ONNX_MODEL if backend == "onnx" else "openvino/openvino_model.xml")
    if not plain.is_file():
        in_own_process(convert, setting, backend, folder)
    if not int8:
        return str(folder), plain
    suffix = "qint8_quantized"
    if backend == "onnx":  # as optimum names it, whose configuration for AVX2 has unsigned weights
        suffix = f"{'quint8' if setting.int8 == 'avx2' else 'qint8'}_{setting.int8}"
    quantized = plain.with_name(f"{plain.stem}_{suffix}{plain.suffix}")
    if not quantized.is_file():
        in_own_process(quantize, setting, backend, folder)
    return str(folder), quantized


def in_own_process(job: Callable[[Setting, str, Path], None], *arguments: Any) -> None:
    """Run a job in a process of its own, so that its memory is not counted as the encoder's."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        pool.submit(job, *arguments).result()


def convert(setting: Setting, backend: str, folder: Path) -> None:
    """Export the checkpoint for a backend, at float32, with its limit of tokens."""
    from sentence_transformers import SentenceTransformer

    temporary = folder.with_name(f"{folder.name}.{os.getpid()}")
    model = SentenceTransformer(
        setting.folder,
        backend=backend,
        device="cpu",
        local_files_only=True,
        model_kwargs={"export": True},
    )
    model.max_seq_length = setting.max_tokens
    model.save_pretrained(str(temporary))
    limit_tokens(temporary / "tokenizer_config.json", setting.max_tokens)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)


def limit_tokens(path: Path, max_tokens: int) -> None:
    """Set the two limits of a tokenizer's configuration, of which FastEmbed takes the smaller."""
    fields = json.loads(path.read_text("utf-8"))
    fields |= {"max_length": max_tokens, "model_max_length": max_tokens}
    path.write_text(json.dumps(fields, indent=2), "utf-8")


def quantize(setting: Setting, backend: str, folder: Path) -> None:
    """Add an int8 model to an export: dynamic quantization for ONNX, static for OpenVINO."""
    from sentence_transformers import (
        SentenceTransformer,
        export_dynamic_quantized_onnx_model,
        export_static_quantized_openvino_model,
    )

    model = SentenceTransformer(
        str(folder),
        backend=backend,
        device="cpu",
        local_files_only=True,
    )
    if backend == "onnx":
        export_dynamic_quantized_onnx_model(model, setting.int8, str(folder))
        return
    export_static_quantized_openvino_model(
        model,
        None,
        str(folder),
        dataset_name=str(Path(setting.calibration).parent),
        dataset_config_name="default",
        dataset_split="train",
        column_name="text",
    )


OWN: dict[str, Callable[[Setting], Backend]] = {"trimseek": Trimseek, "bm25": Bm25}
PEERS: dict[str, Callable[[Setting], Backend]] = {
    "transformers": Transformers,
    "torch-int8": TorchInt8,
    "st-torch": lambda setting: SentenceTransformers(setting, "torch"),
    "st-onnx": lambda setting: SentenceTransformers(setting, "onnx"),
    "st-onnx-int8": lambda setting: SentenceTransformers(setting, "onnx", int8=True),
    "st-openvino": lambda setting: SentenceTransformers(setting, "openvino"),
    "st-openvino-int8": lambda setting: SentenceTransformers(setting, "openvino", int8=True),
    "fastembed": FastEmbed,
    "fastembed-int8": lambda setting: FastEmbed(setting, int8=True),
}


def open_backend(name: str, setting: Setting) -> Backend:
    """Open one of ``OWN`` or a peer; raises whatever its libraries raise if it cannot run."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    return (OWN | PEERS)[name](setting)
