"""Alignment: its gradients, that it learns, and that an interruption changes nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.encoders.shrink.test_obs import calibration
from tests.tiny import tiny_weights
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.agreement import agreement, encode
from trimseek.encoders.shrink.align import (
    SHARES,
    Aligner,
    AlignmentSettings,
    alignment_loss,
    schedule,
    take_best_mean,
)
from trimseek.encoders.shrink.calibration import Ids, embeddings
from trimseek.encoders.shrink.cut import keep_layers
from trimseek.encoders.shrink.lessons import Lessons, TrainingTexts, length_batches, nearest
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.validation import Validation
from trimseek.errors import EncoderError

SETTINGS = AlignmentSettings(
    minutes=1, steps=40, batch=32, learning_rate=3e-3, table_rank=4, validate_every=0
)


def lessons() -> Lessons:
    """Random texts and a tiny teacher's vectors of them."""
    teacher = EncoderModule(tiny_weights(), Pooling.MEAN, normalize=True).eval()

    def made(texts: list[Ids], bank: np.ndarray | None = None) -> TrainingTexts:
        texts = sorted(texts, key=lambda ids: -len(ids))  # the order of `embeddings`
        vectors = embeddings(teacher, texts).numpy()
        candidates = vectors if bank is None else bank
        return TrainingTexts(texts, vectors, candidates, nearest(vectors, candidates, 4))

    training = made(calibration(400))
    return Lessons(training, made(calibration(60, seed=4), training.bank))


def student() -> EncoderModule:
    torch.manual_seed(0)
    return EncoderModule(keep_layers(tiny_weights(), [1]), Pooling.MEAN, normalize=True, rank=4)


def aligner(settings: AlignmentSettings = SETTINGS, **others: object) -> Aligner:
    return Aligner(student(), lessons(), settings, **others)  # type: ignore[arg-type]


@pytest.mark.parametrize("ranking", [0.0, 0.7])
def test_gradients_are_those_of_the_formula(ranking: float) -> None:
    torch.manual_seed(1)
    vectors, teacher, candidates = (
        torch.nn.functional.normalize(torch.randn(n, 5, dtype=torch.float64)) for n in (3, 3, 7)
    )
    settings = replace(SETTINGS, ranking=ranking, temperature=0.3)
    vectors.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda found: alignment_loss(found, teacher, candidates, settings), (vectors,)
    )
    perfect = alignment_loss(teacher, teacher, candidates, settings)
    assert float(perfect) == pytest.approx(0, abs=1e-9)


def test_the_loss_is_the_formula_by_hand() -> None:
    student, teacher = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.6, 0.8]])
    candidates = torch.eye(2)
    settings = replace(SETTINGS, ranking=2.0, temperature=1.0)
    theirs = np.exp([0.6, 0.8]) / np.exp([0.6, 0.8]).sum()
    ours = np.exp([1.0, 0.0]) / np.exp([1.0, 0.0]).sum()
    expected = (1 - 0.6) + 2 * (theirs * np.log(theirs / ours)).sum()
    found = alignment_loss(student, teacher, candidates, settings)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_training_brings_the_student_nearer() -> None:
    found = aligner(replace(SETTINGS, steps=120, validate_every=1))
    found.validate(0)
    history = found.run()
    first, last = history[0], history[-1]
    assert 1 - last.cosine < 0.5 * (1 - first.cosine)
    assert last.overlap > first.overlap
    assert last.step == 120


def test_the_mean_with_the_weights_before_is_the_best_there_is() -> None:
    training = aligner()
    module, held_out = training.module, training.held_out
    before = {name: value.clone() for name, value in module.state_dict().items()}
    after = training.run()[-1]
    share, cosine, overlap = take_best_mean(module, before, held_out)
    assert share in SHARES
    assert cosine >= after.cosine
    assert (cosine, overlap) == agreement(encode(module, held_out.ids), held_out)

    # the other way around, of weights that are worse than those before, least is taken
    trained = {name: value.clone() for name, value in module.state_dict().items()}
    module.load_state_dict(before)
    assert take_best_mean(module, trained, held_out)[0] == min(SHARES)


def test_an_interrupted_training_ends_as_one_that_was_not(tmp_path: Path) -> None:
    whole = aligner()
    whole.run()

    def stop(found: Validation, _loss: float) -> None:
        if found.step == 17:
            raise KeyboardInterrupt

    state = tmp_path / "state.safetensors"
    with pytest.raises(KeyboardInterrupt):
        aligner(checkpoint=state, report=stop).run()
    again = aligner(checkpoint=state)
    again.run()
    assert again.history[0].step == 1  # the history goes on, too
    for ours, theirs in zip(again.module.parameters(), whole.module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_state_of_another_training_or_a_damaged_one(tmp_path: Path) -> None:
    state = tmp_path / "state.safetensors"
    aligner(replace(SETTINGS, steps=2), checkpoint=state).run()
    other = aligner(replace(SETTINGS, steps=3), checkpoint=state)
    assert other.run()[-1].step == 3  # begun anew
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(EncoderError, match="cannot go on from it: .*remove it to begin anew"):
        aligner(replace(SETTINGS, steps=3), checkpoint=state).run()


def test_training_ends_when_nothing_gets_better(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trimseek.encoders.shrink.align.PATIENCE", 3)
    found = aligner(replace(SETTINGS, steps=60, learning_rate=0.0))
    assert found.run()[-1].step < 60 / 2 + 5


def test_the_learning_rate_rises_and_falls() -> None:
    assert schedule(0.01, 0.02) == pytest.approx(0.5)
    assert schedule(0.02, 0.02) == pytest.approx(1)
    assert schedule(0.51, 0.02) == pytest.approx(0.5)
    assert schedule(1.0, 0.02) == pytest.approx(0)


def test_batches_are_of_one_length_and_go_on_where_they_were() -> None:
    lengths = [5] * 40 + [9] * 40 + [7] * 16
    batches = length_batches(lengths, 8, seed=3)
    first = [next(batches) for _ in range(24)]
    assert all(len({lengths[i] for i in batch}) == 1 for batch in first)
    assert sorted(i for batch in first[:12] for i in batch) == list(range(96))
    assert any((a != b).any() for a, b in zip(first[:12], first[12:], strict=True))
    later = length_batches(lengths, 8, seed=3, first=15)
    np.testing.assert_array_equal(next(later), first[15])


def test_the_nearest_leave_the_text_itself_out() -> None:
    vectors = np.eye(4, dtype=np.float32)
    vectors[1] = [0.8, 0.6, 0, 0]
    found = nearest(vectors, vectors, 1)
    assert found[:2].tolist() == [[1], [0]]
