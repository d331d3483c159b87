"""Models of two towers: one for documents, one for queries, of one space."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.conftest import Run, write_jsonl
from tests.encoders.test_export import PYTHON
from tests.tiny import VOCABULARY, save_hugging_face, tiny_tokenizer
from trimseek.encoders import (
    DocumentEncoder,
    Precision,
    Quantization,
    QueryEncoder,
    write_encoder,
)
from trimseek.encoders.checkpoint import read_checkpoint
from trimseek.encoders.folder import as_checkpoint, open_encoder
from trimseek.encoders.text_encoder import TextEncoder
from trimseek.errors import EncoderError

FLOAT32 = Quantization.everywhere(Precision.FLOAT32)
TEXTS = ["split words", "the shell command for text"]
LIBRARY = "sentence_transformers.models"


def write_router(folder: Path, *, width: int = 32) -> Path:
    """Documents by a BERT of 32 dimensions, queries by a table of ``width``; both normalized."""
    save_hugging_face("bert", folder / "document_0_Transformer")
    (folder / "document_1_Pooling").mkdir()
    (folder / "document_1_Pooling/config.json").write_text('{"pooling_mode": "cls"}')
    static = folder / "query_0_StaticEmbedding"
    static.mkdir()
    table = torch.randn(len(VOCABULARY), width, generator=torch.Generator().manual_seed(0))
    save_file({"embedding.weight": table}, static / "model.safetensors")
    tiny_tokenizer().save(str(static / "tokenizer.json"))
    names = ["document_0_Transformer", "document_1_Pooling", "query_0_StaticEmbedding"]
    config = {
        "types": {name: f"{LIBRARY}.{name.rpartition('_')[2]}" for name in names},
        "structure": {"document": names[:2], "query": names[2:]},
        "parameters": {},
    }
    (folder / "router_config.json").write_text(json.dumps(config))
    rows = [
        {"idx": 0, "path": "", "type": "sentence_transformers.base.modules.router.Router"},
        {"idx": 1, "path": "1_Normalize", "type": f"{LIBRARY}.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(rows))
    return folder


def test_each_role_has_its_tower(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write_router(tmp_path / "m"))
    assert checkpoint.query is not None
    card = write_encoder(checkpoint, tmp_path / "e", FLOAT32)
    assert card.query_tower
    documents, queries = DocumentEncoder(tmp_path / "e"), QueryEncoder(tmp_path / "e")
    assert documents.card.space == queries.card.space
    assert (len(documents.card.layers), len(queries.card.layers)) == (2, 0)
    rows = checkpoint.query.weights.token_embeddings
    ids = tiny_tokenizer().encode(TEXTS[0], add_special_tokens=False).ids
    mean = rows[ids].mean(0)
    found = queries.encode(TEXTS[:1]).vectors[0]
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-5)
    loaded = TextEncoder(tmp_path / "e")
    assert np.abs(loaded.encode_queries(TEXTS) - loaded.encode_documents(TEXTS)).max() > 0.1
    again = as_checkpoint(tmp_path / "e")
    assert again.query is not None
    assert again.query.space == card.space


def test_an_index_by_a_model_of_two_towers(run: Run, tmp_path: Path) -> None:
    write_router(tmp_path / "m")
    rows = [{"id": str(i), "text": text} for i, text in enumerate(TEXTS)]
    corpus = write_jsonl(tmp_path / "c.jsonl", rows)
    assert run("index", corpus, "--into", "i", "--encoder", "m").returncode == 0
    answer = run("search", "i", "shell", "--mode", "dense", "--json")
    assert len(json.loads(answer.stdout)["hits"]) == 2, answer.stderr
    small = run("compress", "m", "-o", "s", "--texts", corpus, "--heads", 2)
    assert small.returncode == 2
    assert "m: has two towers" in small.stderr


def test_a_damaged_tower_is_named(tmp_path: Path) -> None:
    write_encoder(read_checkpoint(write_router(tmp_path / "m")), tmp_path / "e", FLOAT32)
    (tmp_path / "e/query/model.onnx").write_bytes(b"x")
    with pytest.raises(EncoderError, match=r"query/model\.onnx: damaged"):
        open_encoder(tmp_path / "e")
    other = write_router(tmp_path / "other", width=8)
    with pytest.raises(EncoderError, match="towers of 32 and 8 dimensions"):
        read_checkpoint(other)


def test_towers_that_are_not_supported(tmp_path: Path) -> None:
    folder = write_router(tmp_path / "m")
    path = folder / "router_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"structure": {"image": []}}))
    with pytest.raises(EncoderError, match="towers image; supported are document and query"):
        read_checkpoint(folder)
    path.write_text(json.dumps(config | {"types": {}}))
    with pytest.raises(EncoderError, match="no type of 'document_0_Transformer'"):
        read_checkpoint(folder)


@pytest.mark.peers
def test_what_sentence_transformers_saves(tmp_path: Path) -> None:
    save_hugging_face("bert", tmp_path / "bert")
    code = f"""
import json
from sentence_transformers import SentenceTransformer
from sentence_transformers.models import Dense, Pooling, Router, StaticEmbedding, Transformer
from tokenizers import Tokenizer
bert = Transformer({str(tmp_path / "bert")!r})
words = Tokenizer.from_file({str(tmp_path / "bert/tokenizer.json")!r})
static = StaticEmbedding(words, embedding_dim=24)
router = Router.for_query_document(
    query_modules=[static, Dense(24, 32)], document_modules=[bert, Pooling(32)])
model = SentenceTransformer(modules=[router], device="cpu")
model.save({str(tmp_path / "m")!r})
texts = {TEXTS!r}
print(json.dumps([model.encode_query(texts).tolist(), model.encode_document(texts).tolist()]))
"""
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    write_encoder(read_checkpoint(tmp_path / "m"), tmp_path / "e", FLOAT32)
    ours = QueryEncoder(tmp_path / "e"), DocumentEncoder(tmp_path / "e")
    for encoder, theirs in zip(ours, json.loads(done.stdout.splitlines()[-1]), strict=True):
        vectors = np.array(theirs) / np.linalg.norm(theirs, axis=1, keepdims=True)
        assert (encoder.encode(TEXTS).vectors * vectors).sum(1).min() > 0.99999
