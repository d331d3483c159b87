"""Poolings of every kind, and what comes behind them: Dense and LayerNorm modules."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from tests.tiny import STRUCTURES, save_hugging_face, tiny_checkpoint, tiny_weights
from trimseek.encoders import DocumentEncoder, Precision, Quantization, write_encoder
from trimseek.encoders.checkpoint import read_checkpoint
from trimseek.encoders.folder import as_checkpoint
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.agreement import encode
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.tokens import TextTokenizer
from trimseek.encoders.transforms import transformed
from trimseek.encoders.weights import Dense, FloatArray, LayerNorm
from trimseek.errors import EncoderError

FLOAT32 = Quantization.everywhere(Precision.FLOAT32)
TEXTS = ["split words", "the shell command for text", "a", "number of words in the list of files"]
LIBRARY = "sentence_transformers.models"


def write_modules(folder: Path, pooling: str = "mean", *, dims: tuple[int, ...] = (48, 20)) -> Any:
    """A folder of sentence-transformers: tanh to 48, a norm, and a projection to 20 dimensions."""
    model = save_hugging_face("bert", folder)
    chosen = torch.Generator().manual_seed(0)
    first, second = (
        torch.randn(size, before, generator=chosen) * 0.2
        for before, size in zip((32, dims[0]), dims, strict=True)
    )
    scale, shift = torch.rand(2, dims[0], generator=chosen) + 0.5
    bias = torch.randn(dims[0], generator=chosen)
    kinds = ["Transformer", "Pooling", "Dense", "LayerNorm", "Dense", "Normalize"]
    paths = ["", "1_Pooling", "2_Dense", "3_LayerNorm", "4_Dense", "5_Normalize"]
    rows = [
        {"idx": i, "name": str(i), "path": path, "type": f"{LIBRARY}.{kind}"}
        for i, (kind, path) in enumerate(zip(kinds, paths, strict=True))
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    for path in paths[1:5]:
        (folder / path).mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": pooling}))
    names = "torch.nn.modules.activation.Tanh", "", "torch.nn.modules.linear.Identity"
    for path, name in zip(paths[2:5], names, strict=True):
        settings = {"activation_function": name} if name else {"dimension": dims[0]}
        (folder / path / "config.json").write_text(json.dumps(settings))
    save_file(
        {"linear.weight": first, "linear.bias": bias}, folder / "2_Dense" / "model.safetensors"
    )
    save_file(
        {"norm.weight": scale, "norm.bias": shift}, folder / "3_LayerNorm" / "model.safetensors"
    )
    save_file({"linear.weight": second}, folder / "4_Dense" / "model.safetensors")

    def vector(ids: list[int]) -> FloatArray:
        with torch.inference_mode():
            states = model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        x = functional.layer_norm(
            torch.tanh(pooled(states, pooling) @ first.T + bias), (dims[0],), scale, shift
        )
        return functional.normalize(x @ second.T, dim=0).numpy()

    return vector


def pooled(states: torch.Tensor, pooling: str) -> torch.Tensor:
    """As sentence-transformers has it, for a text alone."""
    places = torch.arange(1, len(states) + 1)[:, None]
    found: dict[str, torch.Tensor] = {
        "mean": states.mean(0),
        "cls": states[0],
        "max": states.amax(0),
        "mean_sqrt_len": states.sum(0) / len(states) ** 0.5,
        "weightedmean": (states * places).sum(0) / places.sum(),
        "lasttoken": states[-1],
    }
    return found[pooling]


def encoded(folder: Path, into: Path, quantization: Quantization = FLOAT32) -> FloatArray:
    write_encoder(read_checkpoint(folder), into, quantization)
    return DocumentEncoder(into).encode(TEXTS).vectors


@pytest.mark.parametrize("pooling", Pooling)
def test_folders_with_projections(pooling: Pooling, tmp_path: Path) -> None:
    vector = write_modules(tmp_path / "model", pooling.value)
    checkpoint = read_checkpoint(tmp_path / "model")
    assert checkpoint.weights.vector_dim == 20
    tokenizer = TextTokenizer(checkpoint.tokenizer, checkpoint.max_tokens)
    expected = np.stack([vector(text.ids) for text in tokenizer.encode(TEXTS)])
    ours = encoded(tmp_path / "model", tmp_path / "float32")
    assert ours.shape == (4, 20)
    assert (ours * expected).sum(1).min() >= 0.99999
    int8 = encoded(tmp_path / "model", tmp_path / "int8", Quantization())
    assert (int8 * expected).sum(1).min() >= 0.95
    again = as_checkpoint(tmp_path / "int8")
    assert again.weights.structure == checkpoint.weights.structure
    module = EncoderModule(again.weights, pooling, normalize=True)
    theirs = encode(module, [text.ids for text in tokenizer.encode(TEXTS)])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("pooling", Pooling)
def test_the_kernels_pool_as_the_graph_does(pooling: Pooling, tmp_path: Path) -> None:
    plain = replace(tiny_checkpoint(weights=tiny_weights()), pooling=pooling, normalize=False)
    write_encoder(plain, tmp_path / "float32", FLOAT32)
    write_encoder(plain, tmp_path / "int8", Quantization())
    exact = DocumentEncoder(tmp_path / "float32").encode(TEXTS).vectors
    int8 = DocumentEncoder(tmp_path / "int8").encode(TEXTS).vectors
    assert np.linalg.norm(int8 - exact) < 0.1 * np.linalg.norm(exact)


def test_vectors_behind_projections_are_cut(tmp_path: Path) -> None:
    write_modules(tmp_path / "model")
    whole = encoded(tmp_path / "model", tmp_path / "whole")
    settings = tmp_path / "model" / "config_sentence_transformers.json"
    settings.write_text(json.dumps({"truncate_dim": 8}))
    part = encoded(tmp_path / "model", tmp_path / "part")
    lengths = np.linalg.norm(whole[:, :8], axis=1, keepdims=True)
    np.testing.assert_allclose(part, whole[:, :8] / lengths, atol=1e-6)
    settings.write_text(json.dumps({"truncate_dim": 24}))
    with pytest.raises(EncoderError, match="truncate_dim is 24; the model has 20 dimensions"):
        read_checkpoint(tmp_path / "model")


@pytest.mark.parametrize("kind", STRUCTURES)
def test_a_structure_survives_a_round_trip(kind: str, tmp_path: Path) -> None:
    chosen = np.random.default_rng(0)
    array = chosen.standard_normal((32, 5)).astype(np.float32)
    transforms = Dense(array, array[0], "tanh"), LayerNorm(array[1], array[2])
    weights = replace(STRUCTURES[kind], transforms=transforms)
    write_encoder(tiny_checkpoint(weights=weights), tmp_path / "e", FLOAT32)
    again = as_checkpoint(tmp_path / "e").weights
    assert again.facts() == weights.facts()
    for name, value in weights.arrays().items():
        np.testing.assert_array_equal(again.arrays()[name], value)


def test_a_vector_does_not_depend_on_the_batch() -> None:
    chosen = np.random.default_rng(1)
    vectors, matrix = (chosen.standard_normal(n).astype(np.float32) for n in ((9, 32), (32, 7)))
    transforms = Dense(matrix, matrix[0], "gelu"), LayerNorm(matrix[1], matrix[2])
    alone = np.concatenate([transformed(vectors[i : i + 1], transforms) for i in range(9)])
    np.testing.assert_array_equal(transformed(vectors, transforms), alone)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({2: "custom.Dense"}, r"asks for code of its own \('custom.Dense'\), which is never run"),
        ({3: f"{LIBRARY}.Router"}, "a Router is supported as the first module, once"),
        ({2: f"{LIBRARY}.Pooling"}, "two modules Pooling; an encoder has one"),
        ({1: f"{LIBRARY}.Dense"}, "Dense is supported behind Pooling and before Normalize"),
        ({3: f"{LIBRARY}.Normalize"}, "Dense is supported behind Pooling and before Normalize"),
    ],
)
def test_modules_that_are_not_supported(
    change: dict[int, str], message: str, tmp_path: Path
) -> None:
    write_modules(tmp_path / "model")
    path = tmp_path / "model" / "modules.json"
    rows = json.loads(path.read_text())
    for i, kind in change.items():
        rows[i]["type"] = kind
    path.write_text(json.dumps(rows))
    (tmp_path / "model" / "custom.py").write_text("raise SystemExit")
    with pytest.raises(EncoderError, match=message):
        read_checkpoint(tmp_path / "model")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"activation_function": "torch.nn.Softmax"}, "unsupported activation 'Softmax'"),
        ({"module_input_name": "token_embeddings"}, "a projection of tokens"),
    ],
)
def test_projections_that_are_not_supported(
    settings: dict[str, str], message: str, tmp_path: Path
) -> None:
    write_modules(tmp_path / "model")
    (tmp_path / "model" / "2_Dense" / "config.json").write_text(json.dumps(settings))
    with pytest.raises(EncoderError, match=message):
        read_checkpoint(tmp_path / "model")


def test_a_projection_of_another_width(tmp_path: Path) -> None:
    write_modules(tmp_path / "model")
    save_file({"linear.weight": torch.ones(5, 9)}, tmp_path / "model/4_Dense/model.safetensors")
    with pytest.raises(EncoderError, match="4_Dense.*takes 9 dimensions, and the vectors have 48"):
        read_checkpoint(tmp_path / "model")
    (tmp_path / "model/4_Dense/model.safetensors").unlink()
    with pytest.raises(EncoderError, match="4_Dense: no model.safetensors"):
        read_checkpoint(tmp_path / "model")
