import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import shared
from tests.tiny import save_hugging_face
from trimseek.encoders import (
    DocumentEncoder,
    Precision,
    Quantization,
    read_checkpoint,
    write_encoder,
)
from trimseek.encoders.catalog import find_checkpoint
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.families import FAMILIES
from trimseek.encoders.folder import read_weights
from trimseek.encoders.onnx_runtime import pad
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.tokens import TextTokenizer
from trimseek.encoders.weights import FloatArray
from trimseek.errors import EncoderError


def texts_of_many_lengths(count: int, longest: int) -> list[str]:
    random = np.random.default_rng(0)
    words = "the split of a shell command into words and 42 lists for xylophones".split()
    lengths = np.linspace(1, longest, count).astype(int)
    return [" ".join(random.choice(words, length)) for length in lengths]


def reference(model: Any, checkpoint: Checkpoint, texts: list[str]) -> FloatArray:
    """What transformers gives, one text at a time: mean pooling, normalized."""
    tokenizer = TextTokenizer(checkpoint.tokenizer, checkpoint.max_tokens)
    vectors = []
    for tokens in tokenizer.encode(texts):
        ids, mask = pad([tokens])
        with torch.inference_mode():
            hidden = model(
                input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask)
            ).last_hidden_state
        vectors.append(torch.nn.functional.normalize(hidden.mean(1), dim=1)[0].numpy())
    return np.stack(vectors)


def encode(checkpoint: Checkpoint, folder: Path, texts: list[str]) -> FloatArray:
    write_encoder(checkpoint, folder, Quantization.everywhere(Precision.FLOAT32))
    return DocumentEncoder(folder).encode(texts).vectors


LONGEST = 8192  # tokens
IN_TRANSFORMERS = [family for family in FAMILIES if family != "new"]  # GTE's name on the hub


@pytest.mark.parametrize("family", IN_TRANSFORMERS)
def test_every_family_equals_transformers(family: str, tmp_path: Path) -> None:
    model = save_hugging_face(family, tmp_path / "checkpoint")
    checkpoint = read_checkpoint(tmp_path / "checkpoint")
    texts = texts_of_many_lengths(200, 90)
    ours = encode(checkpoint, tmp_path / "encoder", texts)
    cosine = (ours * reference(model, checkpoint, texts)).sum(1)
    assert cosine.min() >= 0.99999
    assert np.unique(ours.round(4), axis=0).shape[0] > 50  # the vectors do differ


@pytest.mark.slow
@pytest.mark.parametrize("family", [name for name in IN_TRANSFORMERS if FAMILIES[name][0].theta])
def test_long_texts_equal_transformers(family: str, tmp_path: Path) -> None:
    """Up to 8,192 tokens, as far as encoders with rotary positions are trained."""
    folder = tmp_path / "checkpoint"
    model = save_hugging_face(family, folder, max_position_embeddings=LONGEST)
    (folder / "tokenizer_config.json").write_text(json.dumps({"model_max_length": LONGEST}))
    checkpoint = read_checkpoint(folder)
    assert checkpoint.max_tokens == LONGEST
    texts = [texts_of_many_lengths(2, count)[1] for count in (7, 130, 1100, 5000, LONGEST)]
    ours = encode(checkpoint, tmp_path / "encoder", texts)
    assert (ours * reference(model, checkpoint, texts)).sum(1).min() >= 0.99999
    # the kernels beside onnxruntime: the same but for what int8 rounds
    write_encoder(checkpoint, tmp_path / "int8", Quantization())
    by_kernels = DocumentEncoder(tmp_path / "int8").encode(texts).vectors
    assert (ours * by_kernels).sum(1).min() >= 0.99


@pytest.mark.parametrize("activation", ["gelu_new", "relu"])
def test_activations(activation: str, tmp_path: Path) -> None:
    model = save_hugging_face("bert", tmp_path / "checkpoint", hidden_act=activation)
    checkpoint = read_checkpoint(tmp_path / "checkpoint")
    texts = texts_of_many_lengths(10, 30)
    ours = encode(checkpoint, tmp_path / "encoder", texts)
    assert (ours * reference(model, checkpoint, texts)).sum(1).min() >= 0.99999


def test_minilm_equals_transformers_on_real_texts(
    minilm_checkpoint: Path, minilm_float32: Path
) -> None:
    from transformers import AutoModel

    path = shared("data/scifact/corpus.jsonl")
    with path.open() as file:
        documents = [json.loads(next(file))["text"] for _ in range(40)]
    sizes = np.linspace(1, 600, len(documents)).astype(int)
    texts = [
        " ".join((text.split() * 20)[:size]) for text, size in zip(documents, sizes, strict=True)
    ]
    model = AutoModel.from_pretrained(minilm_checkpoint).eval()
    ours = DocumentEncoder(minilm_float32).encode(texts).vectors
    theirs = reference(model, read_checkpoint(minilm_checkpoint), texts)
    assert (ours * theirs).sum(1).min() >= 0.99999


@pytest.mark.slow
def test_mpnet_equals_transformers_on_real_texts(tmp_path: Path) -> None:
    """Its tokens too; the first run fetches 400 MB."""
    from transformers import AutoModel, AutoTokenizer

    folder = find_checkpoint("mpnet")
    with shared("data/scifact/corpus.jsonl").open() as file:
        documents = [json.loads(next(file))["text"] for _ in range(60)]
    sizes = np.linspace(1, 330, len(documents)).astype(int)
    texts = [" ".join((text.split() * 9)[:n]) for text, n in zip(documents, sizes, strict=True)]
    texts += ["École ÜNÏCODE straße", "東京 tower", ""]
    checkpoint = read_checkpoint(folder)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    for text, tokens in zip(
        texts, TextTokenizer(checkpoint.tokenizer, 384).encode(texts), strict=True
    ):
        assert tokens.ids == tokenizer(text, truncation=True, max_length=384)["input_ids"]
    ours = encode(checkpoint, tmp_path / "encoder", texts)
    assert (ours * reference(model.eval(), checkpoint, texts)).sum(1).min() >= 0.99999


def test_prefixed_and_old_names_are_found(tmp_path: Path) -> None:
    save_hugging_face("bert", tmp_path)
    expected = read_checkpoint(tmp_path).weights
    tensors = load_file(tmp_path / "model.safetensors")
    renamed = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): tensor
        for name, tensor in tensors.items()
    }
    save_file(renamed, tmp_path / "model.safetensors")
    found = read_checkpoint(tmp_path).weights
    assert all(np.array_equal(found.arrays()[k], v) for k, v in expected.arrays().items())


def test_bfloat16_is_read(tmp_path: Path) -> None:
    save_hugging_face("bert", tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    save_file({k: v.bfloat16() for k, v in tensors.items()}, tmp_path / "model.safetensors")
    table = read_checkpoint(tmp_path).weights.token_embeddings
    expected = tensors["embeddings.word_embeddings.weight"].bfloat16().float().numpy()
    assert table.dtype == np.float32
    assert np.array_equal(table, expected)


def test_shards_are_joined(tmp_path: Path) -> None:
    save_hugging_face("bert", tmp_path)
    whole = read_checkpoint(tmp_path).weights
    tensors = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(tensors)
    shards = {"a.safetensors": names[:10], "b.safetensors": names[10:]}
    for file, part in shards.items():
        save_file({name: tensors[name] for name in part}, tmp_path / file)
    where = {name: file for file, part in shards.items() for name in part}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    joined = read_checkpoint(tmp_path).weights
    assert all(np.array_equal(joined.arrays()[k], v) for k, v in whole.arrays().items())


def sentence_transformers_folder(folder: Path, pooling: dict[str, object], **fields: Any) -> None:
    save_hugging_face("bert", folder)
    kinds = {"0": ("Transformer", ""), "1": ("Pooling", "1_Pooling"), "2": ("Normalize", "2")}
    kinds = {k: v for k, v in kinds.items() if k != "2" or fields.get("normalize", True)}
    (folder / "modules.json").write_text(
        json.dumps([{"type": f"st.models.{kind}", "path": path} for kind, path in kinds.values()])
    )
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 20}))
    (folder / "config_sentence_transformers.json").write_text(json.dumps(fields.get("config", {})))


def test_sentence_transformers_settings(tmp_path: Path) -> None:
    prompts = {"query": "query: ", "passage": "passage: "}
    sentence_transformers_folder(
        tmp_path, {"pooling_mode_cls_token": True}, config={"prompts": prompts}
    )
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.pooling is Pooling.CLS
    assert checkpoint.normalize
    assert checkpoint.max_tokens == 20
    assert checkpoint.prompts == {"query": "query: ", "document": "passage: "}


def test_dot_product_encoders_are_not_normalized(tmp_path: Path) -> None:
    sentence_transformers_folder(
        tmp_path,
        {"pooling_mode": "max"},
        normalize=False,
        config={"similarity_fn_name": "dot"},
    )
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.pooling is Pooling.MAX
    assert not checkpoint.normalize


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "config.json",
            {"model_type": "deberta-v2"},
            "unsupported architecture 'deberta-v2'; supported: bert",
        ),
        ("config.json", None, "config.json: cannot be read"),
        ("model.safetensors", None, "no model.safetensors"),
        ("model.safetensors", "cut", "model.safetensors: damaged or incomplete"),
        ("tokenizer.json", None, "no tokenizer.json"),
        ("tokenizer.json", {"version": "1.0"}, "tokenizer.json: damaged"),
    ],
)
def test_bad_checkpoints_say_which_file(
    file: str, content: object, message: str, tmp_path: Path
) -> None:
    save_hugging_face("bert", tmp_path)
    path = tmp_path / file
    if content is None:
        path.unlink()
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    else:
        path.write_text(json.dumps(content))
    with pytest.raises(EncoderError, match=message):
        read_checkpoint(tmp_path)


def test_unsupported_pooling_names_the_supported(tmp_path: Path) -> None:
    modes: dict[str, object] = {"pooling_mode_cls_token": True}
    modes["pooling_mode_mean_tokens"] = True
    sentence_transformers_folder(tmp_path, modes)
    with pytest.raises(EncoderError, match=r"unsupported pooling cls\+mean; supported: one of me"):
        read_checkpoint(tmp_path)


def test_pickles_are_never_opened(tmp_path: Path) -> None:
    save_hugging_face("bert", tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="a pickle, which is never opened"):
        read_checkpoint(tmp_path)


def test_weights_survive_a_round_trip(tiny: Checkpoint, tmp_path: Path) -> None:
    write_encoder(tiny, tmp_path / "e", Quantization.everywhere(Precision.INT8))
    found = read_weights(tmp_path / "e")
    assert found.heads == (4, 4)
    assert found.activation == "gelu"
    assert all(np.array_equal(found.arrays()[k], v) for k, v in tiny.weights.arrays().items())
    (tmp_path / "e" / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(EncoderError, match=r"weights\.safetensors: damaged"):
        read_weights(tmp_path / "e")
