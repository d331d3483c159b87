import numpy as np
import pytest
import torch

from tests.tiny import tiny_weights
from trimseek.encoders.block_codes import LEVELS, code_matrix
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.quantize import LOW_BITS, Precision, Quantization
from trimseek.encoders.shrink.calibration import Ids, embeddings
from trimseek.encoders.shrink.error_feedback import (
    ToCodes,
    fed_back,
    replace_matrices,
    round_with_feedback,
)
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.obs import Problem, pose, refit
from trimseek.encoders.shrink.sensitivity import product_names
from trimseek.encoders.weights import EncoderWeights, Linear
from trimseek.errors import EncoderError


@pytest.fixture(scope="module")
def texts() -> list[Ids]:
    draw = np.random.default_rng(1)
    return [draw.integers(5, 90, size=draw.integers(20, 60)).tolist() for _ in range(80)]


def problem_and_linear() -> tuple[Problem, Linear, torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(4)
    mixed = torch.randn(64, 64, generator=draw) * torch.logspace(0, -2, 64)[:, None]
    inputs = torch.randn(4000, 64, generator=draw) @ mixed  # inputs that go with one another
    weight = torch.randn(64, 16, generator=draw)
    before = Linear(weight.numpy(), np.zeros(16, np.float32))
    targets = inputs @ weight
    return pose([(inputs, targets)], before, 1), before, inputs, targets


def error(linear: Linear, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    made = inputs.numpy() @ linear.weight + linear.bias
    return float(np.square(made - targets.numpy()).sum() / targets.square().sum())


@pytest.mark.parametrize("precision", LOW_BITS)
def test_feedback_loses_less_than_rounding_to_the_nearest(precision: Precision) -> None:
    problem, before, inputs, targets = problem_and_linear()
    levels = LEVELS[precision]
    nearest = Linear(code_matrix(before.weight, levels).read_back(), before.bias)
    made = fed_back(problem, ToCodes(levels))
    assert error(made, inputs, targets) < 0.8 * error(nearest, inputs, targets)
    np.testing.assert_allclose(code_matrix(made.weight, levels).read_back(), made.weight, rtol=1e-5)


class Nothing:
    """Replaces no row."""

    block = 32

    def begin(self, weight: object) -> None: ...

    def begin_block(self, rows: object, costs: object) -> None: ...

    def row(self, number: int, values: np.ndarray) -> np.ndarray:
        return values


def test_without_replacement_it_is_the_least_squares_solution() -> None:
    problem, _, _, _ = problem_and_linear()
    made, expected = fed_back(problem, Nothing()), refit(problem, range(64))
    np.testing.assert_allclose(made.weight, expected.weight, atol=1e-5)
    np.testing.assert_allclose(made.bias, expected.bias, atol=1e-5)


def vectors(weights: EncoderWeights, tiny: Checkpoint, texts: list[Ids]) -> torch.Tensor:
    return embeddings(EncoderModule(weights, tiny.pooling, normalize=True).eval(), texts)


def test_refitting_every_matrix_changes_nothing(tiny: Checkpoint, texts: list[Ids]) -> None:
    made = replace_matrices(
        tiny.weights, texts, lambda _, problem, __: refit(problem, range(problem.units))
    )
    before, after = (vectors(weights, tiny, texts) for weights in (tiny.weights, made))
    assert (before * after).sum(1).min() > 0.9999


@pytest.mark.parametrize("weights", [tiny_weights(), tiny_weights(heads=(3, 1), neurons=24)])
def test_encoders_keep_more_with_feedback(
    weights: EncoderWeights, tiny: Checkpoint, texts: list[Ids]
) -> None:
    exact = vectors(weights, tiny, texts)
    quantization = Quantization(Precision.INT4)
    fed = round_with_feedback(weights, texts, quantization)

    def plain(name: str, _problem: Problem, before: Linear) -> Linear:
        levels = LEVELS[quantization.precision_of(name)]
        return Linear(code_matrix(before.weight, levels).read_back(), before.bias)

    nearest = replace_matrices(weights, texts, plain)
    cosines = [(exact * vectors(made, tiny, texts)).sum(1).mean() for made in (fed, nearest)]
    assert cosines[0] > cosines[1]


def test_names_and_matrices_that_stay_finer(tiny: Checkpoint, texts: list[Ids]) -> None:
    names: list[str] = []

    def treatment(name: str, problem: Problem, before: Linear) -> Linear:
        names.append(name)
        assert problem.units == len(before.weight)
        return before

    made = replace_matrices(tiny.weights, texts, treatment)
    assert names == product_names(tiny.weights)
    np.testing.assert_array_equal(made.layers[1].key.weight, tiny.weights.layers[1].key.weight)
    finer = Quantization(Precision.BINARY, finer=("layers.0.output",))
    rounded = round_with_feedback(tiny.weights, texts, finer)
    assert len(np.unique(np.abs(rounded.layers[0].output.weight[:, 0]))) > 8
    assert len(np.unique(np.abs(rounded.layers[1].output.weight[:, 0]))) <= 8


def test_too_little_text(tiny: Checkpoint) -> None:
    with pytest.raises(EncoderError, match="calibration texts"):
        replace_matrices(tiny.weights, [[5, 6]], lambda _, __, before: before)
