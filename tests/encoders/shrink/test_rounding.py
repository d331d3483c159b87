import numpy as np
import pytest
import torch
from torch import nn

from trimseek.encoders.block_codes import LEVELS, Levels, code_matrix
from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.quantize import LOW_BITS, Precision, Quantization
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.rounding import (
    coded,
    round_in_place,
    rounded_in_place,
    rounded_parameters,
    run_rounded,
)


def module_of(tiny: Checkpoint) -> EncoderModule:
    return EncoderModule(tiny.weights, tiny.pooling, normalize=True, rank=4).eval()


@pytest.mark.parametrize("levels", LEVELS.values(), ids=[each.value for each in LEVELS])
def test_what_training_rounds_to_is_what_is_stored(levels: Levels) -> None:
    weight = torch.randn(24, 96, generator=torch.Generator().manual_seed(1))
    trained = coded(weight, levels).numpy().T
    np.testing.assert_allclose(code_matrix(trained, levels).read_back(), trained, rtol=1e-5)
    best = code_matrix(weight.numpy().T, levels).read_back()
    errors = [float(np.square(made - weight.numpy().T).sum()) for made in (trained, best)]
    assert errors[0] < 1.3 * errors[1]  # scales that are quick to find are nearly the best


def test_the_gradient_goes_straight_through() -> None:
    weight = nn.Parameter(torch.randn(8, 64, generator=torch.Generator().manual_seed(2)))
    coded(weight, LEVELS[Precision.TERNARY]).sum().backward()  # type: ignore[no-untyped-call]
    assert weight.grad is not None
    assert torch.equal(weight.grad, torch.ones_like(weight))


@pytest.mark.parametrize("precision", [*LOW_BITS, Precision.INT8])
def test_matrices_of_layers_are_rounded_as_they_are_stored(
    precision: Precision, tiny: Checkpoint
) -> None:
    module = module_of(tiny)
    quantization = Quantization(precision, finer=("layers.1.output",))
    values = rounded_parameters(module, quantization)
    few = values["layers.0.query.weight"]
    many = values["layers.1.output.weight"]
    if precision in LOW_BITS:
        levels = LEVELS[precision]
        stored = code_matrix(few.detach().numpy().T, levels).read_back().T
        np.testing.assert_allclose(stored, few.detach().numpy(), rtol=1e-5)
    assert len(np.unique(many[0].detach().numpy())) > 8
    assert {"up", "positions"} <= values.keys()
    assert "embedding_norm.weight" not in values


def test_in_place_and_back_again(tiny: Checkpoint) -> None:
    module, quantization = module_of(tiny), Quantization(Precision.TERNARY)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        exact = module(ids)
        rounded = run_rounded(module, ids, None, quantization)
        with rounded_in_place(module, quantization):
            inside = module(ids)
        torch.testing.assert_close(inside, rounded)
        torch.testing.assert_close(module(ids), exact)
        assert not torch.allclose(exact, rounded)
        round_in_place(module, quantization)
        torch.testing.assert_close(module(ids), rounded)
