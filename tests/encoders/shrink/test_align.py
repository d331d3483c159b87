"""Alignment: its gradients, that it learns, and that an interruption changes nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.encoders.shrink.test_obs import calibration
from tests.tiny import tiny_weights
from trimseek.encoders.block_codes import LEVELS, code_matrix
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.quantize import Precision, Quantization, quantize_matrix
from trimseek.encoders.shrink.agreement import encode
from trimseek.encoders.shrink.align import (
    Aligner,
    AlignmentSettings,
    alignment_loss,
    schedule,
    states_loss,
)
from trimseek.encoders.shrink.averaging import fill
from trimseek.encoders.shrink.calibration import Ids, embeddings, padded
from trimseek.encoders.shrink.layers import keep_layers
from trimseek.encoders.shrink.lessons import Lessons, TrainingTexts, length_batches, nearest
from trimseek.encoders.shrink.module import EncoderModule, to_array
from trimseek.encoders.shrink.rounding import rounded_parameters
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
    return Lessons(training, {"held out": made(calibration(60, seed=4), training.bank)})


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


def test_what_is_measured_and_kept_is_the_average_of_the_weights() -> None:
    found = aligner(replace(SETTINGS, steps=60, decay=0.9))
    steps: list[torch.Tensor] = []
    kept = found.module.stack[0].output.weight
    before = kept.detach().clone()
    update = found.average.update

    def updated(step: int) -> None:
        steps.append(kept.detach().clone())
        update(step)

    found.average.update = updated  # type: ignore[method-assign]
    found.run()
    expected = before
    for i, weight in enumerate(steps, 1):
        decay = min(0.9, (1 + i) / (10 + i))
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(kept.detach(), expected)
    with pytest.raises(AssertionError):
        torch.testing.assert_close(kept.detach(), steps[-1])


def test_token_states_are_learnt_first() -> None:
    teacher = EncoderModule(tiny_weights(), Pooling.MEAN, normalize=True)
    found = aligner(replace(SETTINGS, steps=60, states=1.0), teacher=teacher)
    ids = torch.tensor(found.texts.ids[0])[None]

    def error() -> float:
        with torch.no_grad():
            return float(
                states_loss(found.module.states(ids, None), teacher.states(ids, None), None)
            )

    before = error()
    found.run()
    assert error() < 0.5 * before
    assert states_loss(teacher.states(ids, None), teacher.states(ids, None), None) == 0


def test_the_error_of_states_by_hand() -> None:
    student = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]])
    teacher = torch.tensor([[[2.0, 0.0], [0.0, 4.0], [7.0, 7.0]]])
    mask = torch.tensor([[True, True, False]])
    # errors 1 and 9; around the mean (1, 2) the teacher's states are at squared distances of 5
    assert float(states_loss(student, teacher, mask)) == pytest.approx(5 / 5)


def test_rounded_weights_are_those_that_are_stored() -> None:
    module = student()
    with torch.no_grad():
        module.up.normal_()  # type: ignore[union-attr]
    kept = rounded_parameters(module, Quantization())
    weight = module.stack[0].query.weight
    stored = quantize_matrix(to_array(weight.T)).read_back()
    np.testing.assert_allclose(to_array(kept["layers.0.query.weight"].T), stored, atol=1e-7)
    assert len(np.unique(to_array(kept["up"][0]))) <= 15  # 4 bits, symmetric
    assert set(kept) >= {"up", "positions", "layers.0.output.weight"}
    assert not any(name.endswith("bias") or "norm" in name or name == "down" for name in kept)
    torch.autograd.backward(kept["layers.0.query.weight"].sum())
    torch.testing.assert_close(weight.grad, torch.ones_like(weight))  # passed straight on


def test_at_the_end_the_student_runs_with_rounded_weights() -> None:
    found = aligner(replace(SETTINGS, steps=10, rounding=0.5))
    ids, mask = padded(found.texts.ids[:8])
    found.elapsed_before, found.started = 0.0, 0.0
    found.step = 4
    assert torch.equal(found.student_vectors(ids, mask)[0], found.module(ids, mask))
    found.step = 5
    rounded = found.student_vectors(ids, mask)[0]
    assert not torch.equal(rounded, found.module(ids, mask))
    trained = dict(found.module.named_parameters())
    fill(trained, trained | rounded_parameters(found.module, Quantization()))
    torch.testing.assert_close(rounded, found.module(ids, mask))


def test_few_bits_are_trained_through_and_kept() -> None:
    quantization = Quantization(Precision.TERNARY)
    found = aligner(replace(SETTINGS, steps=150, validate_every=1), quantization=quantization)
    found.validate(0)
    first, *_, last = found.run()
    assert 1 - last.cosine < 0.7 * (1 - first.cosine)
    weight = to_array(found.module.stack[0].output.weight.T)
    stored = code_matrix(weight, LEVELS[Precision.TERNARY]).read_back()
    np.testing.assert_allclose(stored, weight, rtol=1e-5)
    cosine, *_ = found.agreement.measure(lambda ids: encode(found.module, ids, "cpu"))
    assert cosine == pytest.approx(last.cosine, abs=1e-5)  # as it was validated


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
