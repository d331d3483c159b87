"""The two parts of a layer that lose units: attention its heads, the FFN its neurons."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from encoders.shrink.calibration import States
from encoders.shrink.cut import Kept, keep_heads, keep_neurons
from encoders.shrink.module import LayerModule
from encoders.weights import LayerWeights, Linear


@dataclass(frozen=True)
class Part:
    """Units, what they give (``inside``), and the matrix that takes it further.

    ``name`` is that of the count in ``LayerShape``; ``projection`` and ``norm`` are names in
    ``LayerWeights``. ``inside(layer, states)``: ``(batch, tokens, units * unit size)``;
    ``keep(layer, units, head_dim)``: the layer with these units alone.
    """

    name: str
    projection: str
    norm: str
    inside: Callable[[LayerModule, States], Tensor]
    keep: Callable[[LayerWeights, Kept, int], LayerWeights]

    def unit_size(self, head_dim: int) -> int:
        """Rows of the projection that belong to one unit."""
        return head_dim if self.name == "heads" else 1

    def linear(self, layer: LayerWeights) -> Linear:
        found: Linear = getattr(layer, self.projection)
        return found

    def count(self, layer: LayerWeights, head_dim: int) -> int:
        return len(self.linear(layer).weight) // self.unit_size(head_dim)

    def cut(
        self, layer: LayerWeights, units: Kept, projection: Linear, head_dim: int
    ) -> LayerWeights:
        """The layer with these units and a new projection behind them."""
        changed: dict[str, Any] = {self.projection: projection}
        return replace(self.keep(layer, units, head_dim), **changed)

    def added(self, layer: LayerModule, inside: Tensor) -> Tensor:
        """What the units add to the layer's input."""
        out: Tensor = getattr(layer, self.projection)(inside)
        return out

    def normalized(self, layer: LayerModule, x: Tensor) -> Tensor:
        out: Tensor = getattr(layer, self.norm)(x)
        return out


HEADS = Part(
    "heads",
    "attention_output",
    "attention_norm",
    lambda layer, states: layer.context(states.x, states.mask),
    keep_heads,
)
NEURONS = Part(
    "neurons",
    "output",
    "output_norm",
    lambda layer, states: layer.hidden(states.x),
    lambda layer, units, _head_dim: keep_neurons(layer, units),
)
PARTS = (HEADS, NEURONS)
