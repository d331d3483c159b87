"""A cross-encoder learns which of several documents answers a query."""

from pathlib import Path

import numpy as np
import pytest

from tests.tiny import tiny_checkpoint
from trimseek.compression.cross_training import (
    CrossSettings,
    CrossTrainer,
    Judged,
    JudgedCollection,
    mined,
    ndcg,
)
from trimseek.encoders import Precision, Quantization, write_encoder
from trimseek.encoders.cross_encoder import CrossEncoder
from trimseek.encoders.shrink.cross_module import CrossEncoderModule, with_new_head
from trimseek.eval.quality.collection import TestCollection

WORDS = "shell split words list files number command lists sequence zip".split()
FLOAT32 = Quantization.everywhere(Precision.FLOAT32)


@pytest.fixture
def collection() -> JudgedCollection:
    """A document answers a query where it begins with it."""
    documents = {word: f"{word} of the list" for word in WORDS}
    queries = [Judged(word, {word: 1}, list(WORDS)) for word in WORDS]
    return JudgedCollection(documents, queries * 6)


def test_it_learns_and_its_scores_are_those_of_the_kernels(
    collection: JudgedCollection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = with_new_head(tiny_checkpoint(), seed=0)
    settings = CrossSettings(steps=150, learning_rate=3e-3, max_tokens=32)
    trainer = CrossTrainer(base, [collection], settings, tmp_path / "state")
    lessons = trainer.lessons(0)
    first = np.mean([trainer.train_step(lessons) for _ in range(3)])
    trained = trainer.run()
    last = np.mean([trainer.train_step(lessons) for _ in range(3)])
    assert last < first / 2
    assert "of held-out queries" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()
    write_encoder(trained, tmp_path / "encoder", FLOAT32)
    encoder = CrossEncoder(tmp_path / "encoder")
    found = encoder.scores("zip", list(collection.documents.values())).scores
    module = CrossEncoderModule(trained)
    ids = [tokens.ids for tokens in encoder.tokenizer.encode("zip", ["zip of the list"])]
    import torch

    with torch.inference_mode():
        score = float(module(torch.tensor(ids))[0])
    assert found[WORDS.index("zip")] == pytest.approx(score, abs=1e-4)
    assert WORDS[int(found.argmax())] == "zip"


def test_it_is_resumed(collection: JudgedCollection, tmp_path: Path) -> None:
    base = with_new_head(tiny_checkpoint(), seed=0)
    settings = CrossSettings(steps=6, validate_every=0.0, max_tokens=32)
    whole = CrossTrainer(base, [collection], settings, tmp_path / "one").run()

    class InterruptionError(Exception):
        pass

    trainer = CrossTrainer(base, [collection], settings, tmp_path / "two")
    validate = trainer.validate

    def until_the_fourth(loss: float) -> None:
        if trainer.step == 4:
            raise InterruptionError
        validate(loss)

    trainer.validate = until_the_fourth  # type: ignore[method-assign]
    with pytest.raises(InterruptionError):
        trainer.run()
    again = CrossTrainer(base, [collection], settings, tmp_path / "two")
    resumed = again.run()
    assert again.step == 6
    for name, array in whole.weights.arrays().items():
        np.testing.assert_allclose(resumed.weights.arrays()[name], array, atol=1e-6)


def test_negatives_are_what_search_finds(tiny_encoder: Path) -> None:
    documents = {f"d{i}": f"{word} of the list" for i, word in enumerate(WORDS)}
    judged = TestCollection(
        "words", documents, {"q": "shell", "none": "split"}, {"q": {"d0": 2, "gone": 1}, "none": {}}
    )
    found = mined(judged, str(tiny_encoder))
    (query,) = found.queries
    assert query.positives == {"d0": 2}
    assert set(query.candidates) == documents.keys()


def test_ndcg_is_ir_measures() -> None:
    import ir_measures

    grades = np.array([0, 2, 1, 0, 3, 0, 0, 1, 0, 0, 2])
    names = [f"d{i}" for i in range(len(grades))]
    qrels = {"q": dict(zip(names, grades.tolist(), strict=True))}
    run = {"q": {name: float(-i) for i, name in enumerate(names)}}
    expected = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)
    assert ndcg(grades) == pytest.approx(next(iter(expected.values())))
