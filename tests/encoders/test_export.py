"""Encoders in other libraries: what is written is loaded by them, and gives the same vectors."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Run
from tests.encoders.test_transforms import write_modules
from tests.tiny import MAX_TOKENS, tiny_checkpoint
from trimseek.encoders import DocumentEncoder, Precision, Quantization, write_encoder
from trimseek.encoders.checkpoint import read_checkpoint
from trimseek.encoders.export import Target, export_encoder
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.weights import FloatArray
from trimseek.errors import ConfigError

FLOAT32 = Quantization.everywhere(Precision.FLOAT32)
TEXTS = ["split words", "the shell command for text", "number of words " * 40]
PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"


def small_encoder(folder: Path, pooling: Pooling = Pooling.MEAN) -> Path:
    """A float32 encoder with projections, a prompt and fewer heads in one layer than in another."""
    write_modules(folder / "model", pooling.value)
    checkpoint = read_checkpoint(folder / "model")
    prompts = {"query": "split ", "document": ""}
    write_encoder(replace(checkpoint, prompts=prompts), folder / "encoder", FLOAT32)
    return folder / "encoder"


@pytest.mark.parametrize("target", Target)
def test_the_graph_gives_the_encoders_vectors(target: Target, tmp_path: Path) -> None:
    exported = export_encoder(small_encoder(tmp_path), tmp_path / "out", target)
    assert exported.cosine > 0.99999
    from transformers import AutoConfig, AutoTokenizer

    assert AutoConfig.from_pretrained(tmp_path / "out").hidden_size == 32
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    own = DocumentEncoder(tmp_path / "encoder").tokenizer.encode(TEXTS)
    ids = tokenizer(TEXTS, truncation=True)["input_ids"]
    assert ids == [text.ids for text in own]
    assert max(map(len, ids)) == MAX_TOKENS
    assert tokenizer.pad_token == "[PAD]"
    assert "```python" in (tmp_path / "out" / "README.md").read_text()


def test_int8_and_the_command_line(run: Run, tmp_path: Path) -> None:
    write_encoder(tiny_checkpoint(), tmp_path / "small", Quantization())
    done = run("encoder", "export", "small", "--to", "onnx", "-o", "out", "--json")
    assert done.returncode == 0, done.stderr
    assert 0.9 < json.loads(done.stdout)["cosine"] < 1
    assert (tmp_path / "out/onnx/model.onnx").is_file()
    again = run("encoder", "export", "small", "--to", "fastembed", "-o", "out")
    assert again.returncode == 2
    assert "out: exists already" in again.stderr
    with pytest.raises(ConfigError, match="exists already"):
        export_encoder(tmp_path / "small", tmp_path / "out", Target.ONNX)


def by(code: str, folder: Path) -> FloatArray:
    """What a program of the peers' environment prints as JSON."""
    program = (
        f"import json\nfolder, texts = {str(folder)!r}, {TEXTS!r}\n{code}\nprint(json.dumps(v))"
    )
    done = subprocess.run([PYTHON, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return np.array(json.loads(done.stdout.splitlines()[-1]), np.float32)


@pytest.mark.peers
@pytest.mark.parametrize("pooling", Pooling)
def test_sentence_transformers_loads_it(pooling: Pooling, tmp_path: Path) -> None:
    encoder = small_encoder(tmp_path, pooling)
    export_encoder(encoder, tmp_path / "out", Target.SENTENCE_TRANSFORMERS)
    code = """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(folder, backend="onnx")
v = model.encode_document(texts).tolist() + model.encode_query(texts).tolist()
"""
    vectors = by(code, tmp_path / "out")
    own = DocumentEncoder(encoder)
    expected = np.concatenate(
        [own.encode(TEXTS).vectors, own.encode([f"split {text}" for text in TEXTS]).vectors]
    )
    assert (vectors * expected).sum(1).min() > 0.99999


@pytest.mark.peers
def test_fastembed_loads_it(tmp_path: Path) -> None:
    encoder = small_encoder(tmp_path)
    export_encoder(encoder, tmp_path / "out", Target.FASTEMBED)
    readme = (tmp_path / "out" / "README.md").read_text()
    code = readme.partition("```python\n")[2].partition("```")[0]
    code = code.replace("THIS FOLDER", str(tmp_path / "out")).replace('["a text"]', "texts")
    vectors = by(f"{code}\nv = [each.tolist() for each in vectors]", tmp_path / "out")
    assert (vectors * DocumentEncoder(encoder).encode(TEXTS).vectors).sum(1).min() > 0.99999


@pytest.mark.peers
def test_optimum_loads_it(tmp_path: Path) -> None:
    write_encoder(tiny_checkpoint(), tmp_path / "encoder", FLOAT32)
    export_encoder(tmp_path / "encoder", tmp_path / "out", Target.ONNX)
    readme = (tmp_path / "out" / "README.md").read_text()
    code = (
        readme.partition("```python\n")[2]
        .partition("```")[0]
        .replace("THIS FOLDER", str(tmp_path / "out"))
    )
    code = code.replace('["a text"]', "texts[:1]")
    vectors = by(f"{code}\nv = states.mean(1).tolist()", tmp_path / "out")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    expected = DocumentEncoder(tmp_path / "encoder").encode(TEXTS[:1]).vectors
    assert (vectors * expected).sum(1).min() > 0.99999
