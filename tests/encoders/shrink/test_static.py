"""Static encoders distilled from an encoder: the mean of their tokens, in its space."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.compression.test_search import documents
from tests.conftest import Run
from trimseek.encoders.checkpoint import Checkpoint, tokenizer_of
from trimseek.encoders.encoder import DocumentEncoder, QueryEncoder
from trimseek.encoders.folder import open_encoder, write_encoder
from trimseek.encoders.quantize import Precision, Quantization
from trimseek.encoders.shrink.lessons import TrainingTexts
from trimseek.encoders.shrink.static import (
    fitted,
    means,
    rarities,
    static_encoder,
    token_vectors,
)


def test_tokens_have_the_vectors_of_texts_of_one_token(
    tiny: Checkpoint, tiny_encoder: Path
) -> None:
    vectors = token_vectors(tiny)
    words = ["shell", "command", "text"]
    expected = DocumentEncoder(tiny_encoder).encode(words).vectors
    vocabulary = tiny.tokenizer.get_vocab()
    rows = [vocabulary[word] for word in words]
    np.testing.assert_allclose(vectors[rows], expected, atol=1e-5)


def test_what_is_seldom_weighs_most() -> None:
    weights = rarities([[0, 0, 0, 1], [0, 2]] * 50, 4)
    assert weights[0] < weights[1] < weights[3]
    assert weights[1] == weights[2]


def test_a_table_is_fitted_to_the_base(
    tiny: Checkpoint, tiny_encoder: Path, tmp_path: Path
) -> None:
    texts = documents(400)
    plain = static_encoder(tiny, texts)
    ids = [text.ids for text in tokenizer_of(plain).encode(texts)]
    vectors = DocumentEncoder(tiny_encoder).encode(texts).vectors
    lessons = TrainingTexts(ids, vectors, vectors, np.zeros((len(texts), 1), np.int32))
    better = fitted(plain, lessons)

    def cosine(encoder: Checkpoint) -> float:
        found = means(encoder.weights.token_embeddings, ids)
        found /= np.linalg.norm(found, axis=1, keepdims=True)
        return float((found * vectors).sum(1).mean())

    assert cosine(better) > max(0.8, cosine(plain))
    card = write_encoder(better, tmp_path / "static", Quantization.everywhere(Precision.FLOAT32))
    assert card.space == open_encoder(tiny_encoder).space
    own = QueryEncoder(tmp_path / "static").encode(texts[:9]).vectors
    expected = means(better.weights.token_embeddings, ids[:9])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(own, expected, atol=1e-5)


def test_the_command(
    run: Run, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimseek.encoders.shrink.lessons.FEWEST", 100)
    (tmp_path / "texts.txt").write_text("\n".join(documents(200)), "utf-8")
    common = ("--texts", "texts.txt", "--static", "--minutes", 0.5)
    made = run("compress", tiny_encoder, "-o", "small", *common, "--json")
    assert made.returncode == 0, made.stderr
    told = json.loads(made.stdout)
    card = open_encoder(tmp_path / "small")
    assert (card.architecture, card.layers) == ("static", ())
    assert card.space == open_encoder(tiny_encoder).space
    assert told["best"]["loss"] < 1
    assert card.measured["loss"] == pytest.approx(told["best"]["loss"])
    assert any("a static encoder of" in step for step in told["steps"])
    refused = run("compress", tiny_encoder, "-o", "other", *common, "--max-loss", "1%")
    assert refused.returncode == 2
    assert "one of the two" in refused.stderr
