"""Static encoders: folders of model2vec and of sentence-transformers' StaticEmbedding."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.conftest import Run, write_jsonl
from tests.tiny import VOCABULARY, tiny_tokenizer
from trimseek.encoders import DocumentEncoder, Precision, Quantization, QueryEncoder, write_encoder
from trimseek.encoders.checkpoint import read_checkpoint
from trimseek.encoders.export import Target, export_encoder
from trimseek.encoders.folder import as_checkpoint
from trimseek.encoders.weights import FloatArray
from trimseek.errors import EncoderError

FLOAT32 = Quantization.everywhere(Precision.FLOAT32)
UNKNOWN = VOCABULARY.index("[UNK]")
TEXTS = ["split words", "", "the § of ∮ shell", "§", "number of words " * 300]


def table(dim: int = 24) -> FloatArray:
    chosen = np.random.default_rng(0)
    return chosen.standard_normal((len(VOCABULARY), dim)).astype(np.float32)


def write_model2vec(folder: Path, **tensors: Any) -> Path:
    folder.mkdir()
    save_file({"embeddings": table()} | tensors, folder / "model.safetensors")
    settings = {"model_type": "model2vec", "normalize": True, "hidden_dim": 24}
    (folder / "config.json").write_text(json.dumps(settings))
    tiny_tokenizer().save(str(folder / "tokenizer.json"))
    return folder


def write_static(folder: Path) -> Path:
    (folder / "0_StaticEmbedding").mkdir(parents=True)
    save_file({"embedding.weight": table()}, folder / "0_StaticEmbedding/model.safetensors")
    tiny_tokenizer().save(str(folder / "0_StaticEmbedding/tokenizer.json"))
    rows = [
        {
            "idx": 0,
            "path": "0_StaticEmbedding",
            "type": "sentence_transformers.models.StaticEmbedding",
        },
        {"idx": 1, "path": "1_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    return folder


def expected(texts: list[str], rows: FloatArray, *, left_out: bool, longest: int) -> FloatArray:
    """Means of rows; zeros for a text without tokens."""
    tokenizer, found = tiny_tokenizer(), []
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        ids = [id_ for id_ in ids if id_ != UNKNOWN or not left_out][:longest]
        mean = rows[ids].mean(0) if ids else np.zeros(rows.shape[1], np.float32)
        found.append(mean / max(float(np.linalg.norm(mean)), 1e-12))
    return np.stack(found)


def encoded(folder: Path, into: Path, quantization: Quantization = FLOAT32) -> FloatArray:
    write_encoder(read_checkpoint(folder), into, quantization)
    return DocumentEncoder(into).encode(TEXTS).vectors


@pytest.mark.parametrize("quantization", [FLOAT32, Quantization()], ids=["float32", "int8"])
def test_model2vec(quantization: Quantization, tmp_path: Path) -> None:
    vectors = encoded(write_model2vec(tmp_path / "m"), tmp_path / "e", quantization)
    wanted = expected(TEXTS, table(), left_out=True, longest=512)
    assert not vectors[[1, 3]].any()
    np.testing.assert_allclose(vectors, wanted, atol=1e-5 if quantization == FLOAT32 else 0.01)


@pytest.mark.parametrize("quantization", [FLOAT32, Quantization()], ids=["float32", "int8"])
def test_static_embedding(quantization: Quantization, tmp_path: Path) -> None:
    vectors = encoded(write_static(tmp_path / "m"), tmp_path / "e", quantization)
    wanted = expected(TEXTS, table(), left_out=False, longest=8192)
    np.testing.assert_allclose(vectors, wanted, atol=1e-5 if quantization == FLOAT32 else 0.01)
    assert vectors[3].any()


def test_rows_that_tokens_share_and_their_weights(tmp_path: Path) -> None:
    chosen = np.random.default_rng(1)
    mapping = chosen.integers(0, 9, len(VOCABULARY))
    weights = chosen.random(len(VOCABULARY)).astype(np.float32)
    folder = write_model2vec(
        tmp_path / "m", embeddings=table()[:9].copy(), mapping=mapping, weights=weights
    )
    rows = table()[:9][mapping] * weights[:, None]
    wanted = expected(TEXTS, rows, left_out=True, longest=512)
    np.testing.assert_allclose(encoded(folder, tmp_path / "e"), wanted, atol=1e-5)


def test_it_is_an_encoder_like_any_other(run: Run, tmp_path: Path) -> None:
    write_model2vec(tmp_path / "m")
    again = write_encoder(read_checkpoint(tmp_path / "m"), tmp_path / "e", Quantization())
    assert again.layers == ()
    assert (
        as_checkpoint(tmp_path / "e").weights.facts()
        == read_checkpoint(tmp_path / "m").weights.facts()
    )
    texts = ["split words in the shell", "a list of files and text"]
    corpus = write_jsonl(
        tmp_path / "c.jsonl", [{"id": str(i), "text": text} for i, text in enumerate(texts)]
    )
    assert run("index", corpus, "--into", "i", "--encoder", "m").returncode == 0
    answer = run("search", "i", "text files", "--mode", "dense", "--json")
    assert json.loads(answer.stdout)["hits"][0]["id"] == "1", answer.stderr
    assert "0: a static encoder" in run("encoder", "info", "m").stdout
    alone = QueryEncoder(tmp_path / "e").encode(["split words"]).vectors
    many = QueryEncoder(tmp_path / "e").encode(["split words"] + texts * 40).vectors
    np.testing.assert_array_equal(many[:1], alone)


def test_it_is_exported(tmp_path: Path) -> None:
    folder = write_model2vec(tmp_path / "m")
    write_encoder(read_checkpoint(folder), tmp_path / "e", FLOAT32)
    for target in Target:
        assert export_encoder(tmp_path / "e", tmp_path / target.value, target).cosine > 0.99999


def test_bad_tables(tmp_path: Path) -> None:
    folder = write_model2vec(tmp_path / "m")
    save_file({"embeddings": np.full((9, 4), np.nan, np.float32)}, folder / "model.safetensors")
    with pytest.raises(EncoderError, match="the table is not one of finite numbers"):
        read_checkpoint(folder)
    save_file({"other": table()}, folder / "model.safetensors")
    with pytest.raises(EncoderError, match="no tensor 'embeddings'"):
        read_checkpoint(folder)
