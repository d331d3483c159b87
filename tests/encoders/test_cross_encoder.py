"""Cross-encoders: their scores are transformers', in every family, and nothing else is one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from transformers import PreTrainedTokenizerFast

from tests.tiny import MAX_TOKENS, save_hugging_face, write_tiny
from trimseek.encoders import Precision, Quantization, find_encoder, read_checkpoint, write_encoder
from trimseek.encoders.catalog import find_cross_encoder
from trimseek.encoders.cross_encoder import CrossEncoder, load_cross_encoder, probabilities
from trimseek.encoders.families import FAMILIES
from trimseek.encoders.folder import HEAD, as_checkpoint, open_encoder
from trimseek.encoders.weights import FloatArray
from trimseek.errors import EncoderError, OutOfTimeError
from trimseek.time_limit import time_limit

FLOAT32 = Quantization.everywhere(Precision.FLOAT32)
QUERY = "split a shell command"
SCORERS = [family for family, (first, *_) in FAMILIES.items() if first.head_dense]
WORDS = "the split of a shell command into words and 42 lists for xylophones".split()


def texts(count: int, longest: int) -> list[str]:
    chosen = np.random.default_rng(0)
    lengths = np.linspace(0, longest, count).astype(int)
    return [" ".join(chosen.choice(WORDS, length)) for length in lengths]


def reference(model: Any, folder: Path, query: str, passages: list[str]) -> FloatArray:
    """What transformers gives, one pair at a time."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    typed = FAMILIES[model.config.model_type][0].pair_types  # as the families' own tokenizers
    scores = []
    for passage in passages:
        pair = tokenizer(
            *([query], [passage]),
            truncation=True,
            max_length=read_checkpoint(folder).max_tokens,
            return_tensors="pt",
            return_token_type_ids=typed,
        )
        with torch.inference_mode():
            scores.append(float(model(**pair).logits[0, 0]))
    return np.array(scores, np.float32)


def built(folder: Path, into: Path, quantization: Quantization = FLOAT32) -> CrossEncoder:
    write_encoder(read_checkpoint(folder), into, quantization)
    return CrossEncoder(into)


@pytest.mark.parametrize("family", SCORERS)
def test_every_family_equals_transformers(family: str, tmp_path: Path) -> None:
    model = save_hugging_face(family, tmp_path / "model", cross_encoder=True)
    passages = texts(100, 90)  # some are longer than max_tokens
    expected = reference(model, tmp_path / "model", QUERY, passages)
    found = built(tmp_path / "model", tmp_path / "encoder").scores(QUERY, passages)
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)
    assert np.unique(expected.round(4)).size > 80
    assert 0 < found.truncated < 100


@pytest.mark.parametrize(("query", "longest"), [(80, 10), (80, 80), (40, 40), (1, 200)])
def test_pairs_are_cut_as_transformers_cuts_them(query: int, longest: int, tmp_path: Path) -> None:
    model = save_hugging_face("bert", tmp_path / "model", cross_encoder=True)
    question, passages = " ".join((WORDS * 8)[:query]), texts(10, longest)
    expected = reference(model, tmp_path / "model", question, passages)
    found = built(tmp_path / "model", tmp_path / "encoder").scores(question, passages)
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)


def test_a_text_of_the_second_type_is_another_one(tmp_path: Path) -> None:
    save_hugging_face("bert", tmp_path / "model", cross_encoder=True)
    checkpoint = read_checkpoint(tmp_path / "model")
    assert checkpoint.weights.separator == checkpoint.tokenizer.token_to_id("[SEP]")
    plain = built(tmp_path / "model", tmp_path / "encoder").scores(QUERY, texts(5, 20)).scores
    path = tmp_path / "model" / "model.safetensors"
    tensors = load_file(path)
    tensors["bert.embeddings.token_type_embeddings.weight"][1, ::2] += 1
    save_file(tensors, path, {"format": "pt"})
    other = built(tmp_path / "model", tmp_path / "other").scores(QUERY, texts(5, 20)).scores
    assert np.abs(other - plain).min() > 1e-4
    settings = {"model_max_length": MAX_TOKENS, "model_input_names": ["input_ids"]}
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps(settings))
    assert read_checkpoint(tmp_path / "model").weights.separator is None


@pytest.mark.parametrize("family", SCORERS)
def test_int8_is_near_float32_and_the_same_in_any_batch(family: str, tmp_path: Path) -> None:
    save_hugging_face(family, tmp_path / "model", cross_encoder=True)
    exact = built(tmp_path / "model", tmp_path / "float32").scores(QUERY, texts(50, 60)).scores
    small = built(tmp_path / "model", tmp_path / "int8", Quantization())
    scores = small.scores(QUERY, texts(50, 60)).scores
    assert np.corrcoef(exact, scores)[0, 1] > 0.98
    alone = [float(small.scores(QUERY, [text]).scores[0]) for text in texts(50, 60)]
    if small.runtime.name == "native":
        np.testing.assert_array_equal(scores, np.array(alone, np.float32))


def test_sentence_transformers_folders(tmp_path: Path) -> None:
    model = save_hugging_face("bert", tmp_path / "model", cross_encoder=True)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.Transformer"}]
    (tmp_path / "model" / "modules.json").write_text(json.dumps(modules))
    settings = tmp_path / "model" / "config_sentence_transformers.json"
    settings.write_text(json.dumps({"model_type": "CrossEncoder"}))
    expected = reference(model, tmp_path / "model", QUERY, texts(5, 20))
    found = load_cross_encoder(f"{tmp_path / 'model'}-float32").scores(QUERY, texts(5, 20))
    np.testing.assert_allclose(found.scores, expected, atol=1e-5)
    asked = {"model_type": "CrossEncoder", "prompts": {"q": "rank: "}, "default_prompt_name": "q"}
    settings.write_text(json.dumps(asked))
    with pytest.raises(EncoderError, match=r"with the prompt 'rank: ' is not supported"):
        read_checkpoint(tmp_path / "model")


def test_each_kind_is_refused_where_the_other_is_due(tmp_path: Path) -> None:
    save_hugging_face("bert", tmp_path / "model", cross_encoder=True)
    for name in (str(tmp_path / "model"), str(find_cross_encoder(str(tmp_path / "model")))):
        with pytest.raises(EncoderError, match="a cross-encoder, which scores pairs of texts"):
            open_encoder(find_encoder(name))
    with pytest.raises(EncoderError, match="reranking takes a cross-encoder"):
        load_cross_encoder(write_tiny(tmp_path / "tiny"))
    save_hugging_face("bert", tmp_path / "classes", cross_encoder=True, num_labels=3)
    with pytest.raises(EncoderError, match="a classifier of 3 classes"):
        load_cross_encoder(tmp_path / "classes")


def test_a_damaged_head_is_found(tmp_path: Path) -> None:
    save_hugging_face("bert", tmp_path / "model", cross_encoder=True)
    built(tmp_path / "model", tmp_path / "encoder")
    path = tmp_path / "encoder" / HEAD
    content = path.read_bytes()
    path.write_bytes(content[:-4] + b"\0\0\0\1")
    with pytest.raises(EncoderError, match=r"head\.safetensors: damaged"):
        CrossEncoder(tmp_path / "encoder")
    path.unlink()
    with pytest.raises(EncoderError, match=r"head\.safetensors: missing"):
        CrossEncoder(tmp_path / "encoder")


def test_a_folder_is_a_checkpoint_again(tmp_path: Path) -> None:
    save_hugging_face("electra", tmp_path / "model", cross_encoder=True)
    first = built(tmp_path / "model", tmp_path / "encoder")
    write_encoder(as_checkpoint(tmp_path / "encoder"), tmp_path / "again", FLOAT32)
    np.testing.assert_array_equal(
        CrossEncoder(tmp_path / "again").scores(QUERY, texts(5, 20)).scores,
        first.scores(QUERY, texts(5, 20)).scores,
    )


def test_no_texts_and_no_time(tmp_path: Path) -> None:
    save_hugging_face("bert", tmp_path / "model", cross_encoder=True)
    encoder = built(tmp_path / "model", tmp_path / "encoder")
    assert encoder.scores(QUERY, []).scores.shape == (0,)
    with pytest.raises(OutOfTimeError), time_limit(0.0):
        encoder.scores(QUERY, texts(3, 5))


def test_probabilities_keep_the_order() -> None:
    values = probabilities(np.array([-200, -2, 0, 3, 30, 200], np.float32))
    assert values[2] == 0.5
    assert (np.diff(values) >= 0).all()
    assert 0 <= values[0] < values[1] < values[3] < values[4] <= 1
