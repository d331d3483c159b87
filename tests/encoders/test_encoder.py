import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.tiny import MAX_TOKENS, tiny_checkpoint, tiny_tokenizer
from trimseek.encoders import DocumentEncoder, QueryEncoder, find_encoder, write_encoder
from trimseek.encoders.batches import token_batches
from trimseek.encoders.card import read_card
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.tokens import TextTokenizer
from trimseek.errors import EncoderError

TEXTS = ["a shell", "split the words of a text", "x", "", "number list file " * 9, "in the file"]


def test_vectors_come_in_input_order(tiny_encoder: Path) -> None:
    encoder = DocumentEncoder(tiny_encoder)
    together = encoder.encode(TEXTS * 40).vectors
    alone = np.concatenate([encoder.encode([text]).vectors for text in TEXTS] * 40)
    assert together.shape == (len(TEXTS) * 40, 32)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_nothing_in_nothing_out(tiny_encoder: Path) -> None:
    assert DocumentEncoder(tiny_encoder).encode([]).vectors.shape == (0, 32)


def test_truncation_is_counted(tiny_encoder: Path) -> None:
    encoder = DocumentEncoder(tiny_encoder)
    room = MAX_TOKENS - 2
    fits, too_long = "the " * room, "the " * (room + 1)
    encoded = encoder.encode([fits, too_long])
    assert encoded.truncated == 1
    assert encoded.tokens == 2 * MAX_TOKENS
    np.testing.assert_allclose(encoded.vectors[0], encoded.vectors[1], atol=1e-6)


def test_an_absurd_text_is_cut_before_it_is_tokenized(tiny_encoder: Path) -> None:
    encoded = QueryEncoder(tiny_encoder).encode(["the " * 5_000_000])
    assert encoded.truncated == 1
    assert encoded.tokens == MAX_TOKENS


def test_prompts_depend_on_the_role(tmp_path: Path) -> None:
    prompts = {"query": "number: ", "document": ""}
    write_encoder(
        tiny_checkpoint(prompts=prompts), tmp_path / "e", Quantization.everywhere(Precision.FLOAT32)
    )
    query, document = QueryEncoder(tmp_path / "e"), DocumentEncoder(tmp_path / "e")
    asked = query.encode(["a file"]).vectors
    np.testing.assert_allclose(asked, document.encode(["number: a file"]).vectors, atol=1e-6)
    assert np.abs(asked - document.encode(["a file"]).vectors).max() > 0.01


def test_tokenizer_puts_special_tokens_around_the_text() -> None:
    tokenizer = TextTokenizer(tiny_tokenizer(), 4)
    ids = tokenizer.encode(["the of and to", "the"])
    assert ids[0] == ([2, 4, 5, 3], True)
    assert ids[1] == ([2, 4, 3], False)
    assert tokenizer.room == 2


def test_batches_hold_similar_lengths_within_the_budget() -> None:
    lengths = [3, 50, 4, 49, 5, 200]
    batches = list(token_batches(lengths, budget=100))
    assert batches == [[5], [1, 3], [4, 2, 0]]


def test_int8_agrees_with_float32_on_real_text(minilm: Path, minilm_float32: Path) -> None:
    texts = ["split a shell command into words", "The cat sat on the mat.", "x" * 40, "42"]
    int8, exact = (
        DocumentEncoder(minilm).encode(texts),
        DocumentEncoder(minilm_float32).encode(texts),
    )
    assert (int8.vectors * exact.vectors).sum(1).min() > 0.98
    np.testing.assert_allclose(np.linalg.norm(int8.vectors, axis=1), 1, atol=1e-5)


def test_minilm_does_not_depend_on_the_batch(minilm_float32: Path) -> None:
    encoder = DocumentEncoder(minilm_float32)
    texts = ["a cat", "split a shell command into words " * 20, "the", "numbers: 1, 2, 3"]
    alone = np.concatenate([encoder.encode([text]).vectors for text in texts])
    np.testing.assert_allclose(encoder.encode(texts).vectors, alone, atol=1e-5)


def test_minilm_card_and_size(minilm: Path, minilm_float32: Path) -> None:
    card = read_card(minilm / "encoder.json")
    assert card.space == read_card(minilm_float32 / "encoder.json").space
    assert [layer.heads for layer in card.layers] == [12] * 6
    assert card.max_tokens == 256
    assert (minilm / "model.onnx").stat().st_size <= 24_000_000


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
def test_a_damaged_file_is_named(
    name: str, damage: str, tmp_path: Path, tiny_encoder: Path
) -> None:
    folder = copy_encoder(tiny_encoder, tmp_path / "encoder")
    path = folder / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(content[:middle] if damage == "truncated" else flipped)
    with pytest.raises(EncoderError, match=rf"{name}: (missing|damaged)"):
        DocumentEncoder(folder)


def test_a_card_of_a_newer_format_is_refused(tmp_path: Path, tiny_encoder: Path) -> None:
    folder = copy_encoder(tiny_encoder, tmp_path / "encoder")
    card = json.loads((folder / "encoder.json").read_text())
    (folder / "encoder.json").write_text(json.dumps(card | {"format_version": 99}))
    with pytest.raises(EncoderError, match="format version 99, this trimseek reads 2, 3, 4 and 5"):
        DocumentEncoder(folder)


@pytest.mark.parametrize("precision", [Precision.INT8, Precision.FLOAT32])
def test_a_folder_of_format_version_2_gives_the_same_vectors(
    precision: Precision, tmp_path: Path
) -> None:
    tiny = tiny_checkpoint(max_tokens=MAX_TOKENS - 8)
    card = write_encoder(tiny, tmp_path / "new", Quantization.everywhere(precision))
    folder = copy_encoder(tmp_path / "new", tmp_path / "old")
    fields = json.loads((folder / "encoder.json").read_text())
    for name in ("head_dim", "activation", "layer_norm_eps", "positions"):
        del fields[name]
    (folder / "encoder.json").write_text(json.dumps(fields | {"format_version": 2}))
    assert read_card(folder / "encoder.json") == card
    np.testing.assert_array_equal(
        DocumentEncoder(folder).encode(TEXTS).vectors,
        DocumentEncoder(tmp_path / "new").encode(TEXTS).vectors,
    )
    (folder / "weights.safetensors").write_bytes(b"{}")
    with pytest.raises(EncoderError, match="weights.safetensors: not an encoder's weights"):
        DocumentEncoder(folder)


def test_the_card_says_how_the_encoder_computes(tmp_path: Path) -> None:
    weights = replace(tiny_checkpoint().weights, activation="gelu_new", layer_norm_eps=1e-5)
    tiny = tiny_checkpoint(weights=weights, max_tokens=20)
    write_encoder(tiny, tmp_path / "e", Quantization())
    fields = json.loads((tmp_path / "e" / "encoder.json").read_text())
    assert fields["format_version"] == 3
    assert (fields["head_dim"], fields["activation"]) == (8, "gelu_new")
    assert (fields["layer_norm_eps"], fields["positions"]) == (1e-5, 20)


def test_an_encoder_folder_is_its_own_name(tiny_encoder: Path) -> None:
    assert find_encoder(str(tiny_encoder)) == tiny_encoder


def copy_encoder(source: Path, target: Path) -> Path:
    target.mkdir()
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target
