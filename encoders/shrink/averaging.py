"""The exponential moving average of weights in training (Polyak & Juditsky 1992)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

RAMP = 10  # the decay is (1 + n) / (RAMP + n) after n steps, until it reaches its limit


class WeightAverage:
    """A moving average of a module's trained parameters, by their names.

    ``decay``: the share that stays in a step; 0: the average is the weights themselves.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self.trained = dict(module.named_parameters())
        self.average = {name: value.detach().clone() for name, value in self.trained.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the weights after so many steps into the average."""
        decay = min(self.decay, (1 + step) / (RAMP + step))
        torch._foreach_lerp_(
            list(self.average.values()), [p.detach() for p in self.trained.values()], 1 - decay
        )

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The module has the average as its weights inside this context."""
        with filled_with(self.trained, self.average):
            yield

    def take(self) -> None:
        """Set the module's weights to the average."""
        fill(self.trained, self.average)


@contextmanager
def filled_with(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> Iterator[None]:
    """The parameters have other values inside this context."""
    own = {name: value.detach().clone() for name, value in parameters.items()}
    fill(parameters, values)
    try:
        yield
    finally:
        fill(parameters, own)


@torch.no_grad()
def fill(parameters: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    """Copy values into the parameters of the same names."""
    for name, parameter in parameters.items():
        parameter.copy_(values[name])
