"""Models are read as their makers meant, or refused by name."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from tokenizers.implementations import BertWordPieceTokenizer

from tests.tiny import VOCABULARY, save_hugging_face
from trimseek.encoders import DocumentEncoder, Precision, Quantization, QueryEncoder, write_encoder
from trimseek.encoders.catalog import HUB_ID, find_encoder
from trimseek.encoders.checkpoint import read_checkpoint
from trimseek.encoders.fetch import checkpoint_folder, fetch
from trimseek.encoders.folder import as_checkpoint, open_encoder
from trimseek.encoders.prompts import KNOWN, known_prompts
from trimseek.errors import ConfigError, DownloadError, EncoderError

WORDS = [*VOCABULARY, "A", "É", "é", "上", "海", "上海", "##海", "Shell", "[MASK]"]  # fmt: skip
TEXTS = ["Shell É é 上海 a", "the SHELL of A", "é", "上海 is a list"]
SENTENCE = "config_sentence_transformers.json"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A folder as sentence-transformers saves it."""
    folder = tmp_path / "checkpoint"
    save_hugging_face("bert", folder)
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    write(folder / "modules.json", [{"path": p, "type": f"st.models.{t}"} for p, t in modules])
    write(folder / "1_Pooling/config.json", {"pooling_mode_mean_tokens": True})
    return folder


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


def change(path: Path, **fields: Any) -> None:
    content = json.loads(path.read_text()) if path.is_file() else {}
    kept = {name: value for name, value in (content | fields).items() if value is not ...}
    write(path, kept)


def built(folder: Path, into: Path) -> Path:
    write_encoder(read_checkpoint(folder), into, Quantization.everywhere(Precision.FLOAT32))
    return into


@pytest.mark.parametrize("tokenizer_json", [True, False])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strip_accents": False},
        {"strip_accents": True, "do_lower_case": False},
        {"tokenize_chinese_chars": False},
        {"do_lower_case": False},
        {"do_lower_case": False, "tokenizer_class": "BertTokenizerFast"},
        {"do_lower_case": False, "tokenizer_class": "PreTrainedTokenizerFast"},
        {"tokenizer_class": "BertTokenizer"},
    ],
)
def test_tokenizer_settings_are_those_of_transformers(
    settings: dict[str, Any], tokenizer_json: bool, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    folder = tmp_path / "checkpoint"
    model = save_hugging_face("bert", folder, vocab_size=len(WORDS))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "tokenizer.json").unlink()
    cased = tokenizer_json and not settings.get("do_lower_case", True)
    if tokenizer_json:  # which says something else than the settings
        words = BertWordPieceTokenizer(str(folder / "vocab.txt"), lowercase=cased)
        words.save(str(folder / "tokenizer.json"))
    elif settings.get("tokenizer_class") == "PreTrainedTokenizerFast":
        pytest.skip("that class needs a tokenizer.json")
    write(folder / "tokenizer_config.json", settings)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    vectors = []
    for text in TEXTS:
        with torch.inference_mode():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state
        vectors.append(torch.nn.functional.normalize(hidden.mean(1), dim=1)[0].numpy())
    ours = DocumentEncoder(built(folder, tmp_path / "encoder")).encode(TEXTS).vectors
    assert (ours * np.stack(vectors)).sum(1).min() >= 0.99999


def test_truncated_vectors(checkpoint: Path, tmp_path: Path) -> None:
    whole = DocumentEncoder(built(checkpoint, tmp_path / "whole"))
    change(checkpoint / SENTENCE, truncate_dim=8)
    cut = DocumentEncoder(built(checkpoint, tmp_path / "cut"))
    assert (whole.dim, cut.dim) == (32, 8)
    assert whole.card.space != cut.card.space
    expected = whole.encode(TEXTS).vectors[:, :8]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(cut.encode(TEXTS).vectors, expected, atol=1e-6)
    assert as_checkpoint(tmp_path / "cut").truncate_dim == 8
    for wrong in (0, 33, 2.5, "8", True):
        change(checkpoint / SENTENCE, truncate_dim=wrong)
        with pytest.raises(EncoderError, match="truncate_dim is .*; the model has 32 dimensions"):
            read_checkpoint(checkpoint)


def test_prompts_of_the_folder_and_of_the_table(checkpoint: Path) -> None:
    assert read_checkpoint(checkpoint).prompts == {"query": "", "document": ""}
    named = read_checkpoint(checkpoint, "intfloat/e5-small-v2")
    assert named.prompts == {"query": "query: ", "document": "passage: "}
    renamed = checkpoint.rename(checkpoint.with_name("bge-small-en-v1.5"))
    prompts = read_checkpoint(renamed).prompts
    assert prompts["query"].startswith("Represent this sentence")
    change(renamed / SENTENCE, prompts={"query": "ask: "})
    assert read_checkpoint(renamed).prompts == {"query": "ask: ", "document": ""}


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("intfloat/multilingual-e5-large", "e5"),
        ("E5-base", "e5"),
        ("intfloat--e5-small-v2@main", "e5"),
        ("/models/bge-base-en/", "bge"),
        ("BAAI/bge-small-zh-v1.5", "bge (Chinese)"),
        ("thenlper/gte-base", "gte"),
        ("Snowflake/snowflake-arctic-embed-m-v1.5", "arctic"),
        ("Snowflake/snowflake-arctic-embed-l-v2.0", "arctic 2"),
        ("nomic-ai/nomic-embed-text-v1.5", "nomic"),
        ("mixedbread-ai/mxbai-embed-large-v1", "mxbai"),
        ("my-e5-small", None),
        ("e5-mistral-7b-instruct", None),
        ("bge-m3", None),
        ("all-MiniLM-L6-v2", None),
        ("", None),
    ],
)
def test_the_table_knows_whole_names(name: str, family: str | None) -> None:
    known = known_prompts(name)
    assert (known.family if known else None) == family
    assert all(entry.stated for entry in KNOWN)


def test_the_table_of_the_docs_is_that_of_the_code() -> None:
    rows = (Path(__file__).parents[2] / "docs" / "models.md").read_text("utf-8").splitlines()
    for entry in KNOWN:
        (row,) = (row for row in rows if row.startswith(f"| {entry.family} |"))
        cells = [f"`{text}`" if text else "none" for text in (entry.query, entry.document)]
        assert row == f"| {entry.family} | {cells[0]} | {cells[1]} | {entry.stated} |"


def test_prompts_that_are_given(checkpoint: Path, tmp_path: Path) -> None:
    folder = built(checkpoint, tmp_path / "encoder")
    plain, prompted = QueryEncoder(folder), QueryEncoder(folder, prompt="the list: ")
    np.testing.assert_allclose(
        prompted.encode(["shell"]).vectors, plain.encode(["the list: shell"]).vectors, atol=1e-6
    )
    with pytest.raises(ConfigError, match="leaves no room for a text in 64 tokens"):
        QueryEncoder(folder, prompt="word " * 64)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"architectures": ["BertForSequenceClassification"]}, "no tensor 'classifier.weight'"),
        ({"truncation_side": "left"}, "truncation_side 'left' is not supported"),
        ({"num_hidden_layers": ...}, "no 'num_hidden_layers'; is this a complete checkpoint"),
        ({"num_attention_heads": ...}, "no 'num_attention_heads'"),
        ({"hidden_act": ...}, "no 'hidden_act'"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers is 'two', not a count"),
        ({"model_type": "t5"}, "unsupported architecture 't5'"),
    ],
)
def test_what_is_no_sentence_encoder_is_refused_by_name(
    fields: dict[str, Any], message: str, checkpoint: Path
) -> None:
    name = "tokenizer_config.json" if "truncation_side" in fields else "config.json"
    change(checkpoint / name, **fields)
    with pytest.raises(EncoderError, match=message):
        read_checkpoint(checkpoint)


def test_other_kinds_of_sentence_transformers_are_refused(checkpoint: Path) -> None:
    change(checkpoint / SENTENCE, model_type="SparseEncoder")
    with pytest.raises(EncoderError, match="a sparse encoder"):
        read_checkpoint(checkpoint)


def test_bare_language_models(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(checkpoint / "config.json", architectures=["BertForMaskedLM"])
    read_checkpoint(checkpoint)  # modules.json says that it is a sentence encoder
    (checkpoint / "modules.json").unlink()
    with pytest.raises(EncoderError, match=r"a language model \(BertForMaskedLM\)"):
        read_checkpoint(checkpoint)
    change(checkpoint / "config.json", architectures=["BertModel"])
    capsys.readouterr()
    read_checkpoint(checkpoint)
    assert "no modules.json, so the mean over tokens is taken" in capsys.readouterr().err


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_weight_that_is_not_finite_is_named(value: float, checkpoint: Path) -> None:
    path = checkpoint / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("1.output.dense.weight"))
    tensors[name].flat[7] = value
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(EncoderError, match=f"the tensor '{name}' holds numbers"):
        read_checkpoint(checkpoint)


def test_ids_with_a_revision() -> None:
    assert HUB_ID.fullmatch("BAAI/bge-m3@refs/pr/38")
    assert HUB_ID.fullmatch("owner/name@v1.0")
    assert not HUB_ID.fullmatch("owner/name@")
    assert not HUB_ID.fullmatch("owner/name@../x")
    assert "/" not in checkpoint_folder("owner/name@refs/pr/38").name
    assert checkpoint_folder("owner/name@a") != checkpoint_folder("owner/name")
    with pytest.raises(DownloadError, match="cannot fetch no-such/model@v1 from the model hub"):
        fetch("no-such/model@v1", None)


def test_a_fetched_revision_is_found(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRIMSEEK_HOME", str(tmp_path / "home"))
    target = checkpoint_folder("owner/e5-small-v2@refs/pr/1")
    target.parent.mkdir(parents=True)
    checkpoint.rename(target)
    card = open_encoder(find_encoder("owner/e5-small-v2@refs/pr/1-float32"))
    assert card.prompts["document"] == "passage: "
