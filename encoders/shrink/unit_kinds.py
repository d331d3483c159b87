"""The two kinds of units that a layer can lose: attention's heads, and the FFN's neurons."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from trimseek.encoders.shrink.calibration import States
from trimseek.encoders.shrink.cut import Kept, keep_heads, keep_neurons
from trimseek.encoders.shrink.module import LayerModule
from trimseek.encoders.weights import LayerWeights, Linear


@dataclass(frozen=True)
class UnitKind:
    """A kind of units, and the matrix through which they reach the rest of the layer.

    ``name`` is that of the count in ``LayerShape``; ``projection``, ``norm`` and ``readers``, the
    matrices that the units read with, are names in ``LayerWeights``. ``outputs(layer, states)``:
    what the units put out, ``(batch, tokens, units * unit size)``.
    ``keep(layer, units, head_dim)``: the layer with these units alone.
    """

    name: str
    projection: str
    norm: str
    readers: tuple[str, ...]
    outputs: Callable[[LayerModule, States], Tensor]
    keep: Callable[[LayerWeights, Kept, int], LayerWeights]

    def inputs(self, layer: LayerModule, states: States) -> Tensor:
        """What the units read, ``(batch, tokens, dim)``."""
        return layer.before(self.norm, states.x)

    def unit_size(self, head_dim: int) -> int:
        """Rows of the projection that belong to one unit."""
        return head_dim if self.name == "heads" else 1

    def linear(self, layer: LayerWeights) -> Linear:
        """The projection ``(units * unit size, dim)``."""
        projection: Linear = getattr(layer, self.projection)
        return projection

    def count(self, layer: LayerWeights, head_dim: int) -> int:
        """Units of this kind in the layer."""
        return len(self.linear(layer).weight) // self.unit_size(head_dim)

    def cut(
        self, layer: LayerWeights, units: Kept, projection: Linear, head_dim: int
    ) -> LayerWeights:
        """The layer with these units and a new projection of their outputs."""
        changes: dict[str, Any] = {self.projection: projection}
        return replace(self.keep(layer, units, head_dim), **changes)

    def project(self, layer: LayerModule, outputs: Tensor) -> Tensor:
        """The units' outputs after the projection; the residual connection adds its input."""
        projected: Tensor = getattr(layer, self.projection)(outputs)
        return projected

    def normalize(self, layer: LayerModule, x: Tensor) -> Tensor:
        """The sum of the residual connection as the layer goes on with it."""
        return layer.behind(self.norm, x)

    def forward(
        self, layer: LayerModule, states: Sequence[States]
    ) -> tuple[list[Tensor], list[Tensor], list[States]]:
        """Take batches through these units of the layer.

        Returns the units' outputs, the sums that the residual connection gives, and the states
        behind the layer normalization.
        """
        outputs = [self.outputs(layer, batch) for batch in states]
        sums = [
            batch.x + self.project(layer, output)
            for batch, output in zip(states, outputs, strict=True)
        ]
        after = [
            States(self.normalize(layer, x), batch.mask)
            for x, batch in zip(sums, states, strict=True)
        ]
        return outputs, sums, after


HEADS = UnitKind(
    "heads",
    "attention_output",
    "attention_norm",
    ("query", "key", "value"),
    lambda layer, states: layer.context(states.x, states.mask),
    keep_heads,
)
NEURONS = UnitKind(
    "neurons",
    "output",
    "output_norm",
    ("intermediate",),
    lambda layer, states: layer.hidden(states.x),
    lambda layer, units, _head_dim: keep_neurons(layer, units),
)
UNIT_KINDS = (HEADS, NEURONS)
