"""The two kinds of units that a layer can lose: attention's heads, and the FFN's neurons."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from trimseek.encoders.shrink.calibration import States
from trimseek.encoders.shrink.dependencies import Kept, Units, find_units, keep_units
from trimseek.encoders.shrink.module import LayerModule
from trimseek.encoders.weights import EncoderWeights, LayerWeights, Linear


@dataclass(frozen=True)
class UnitKind:
    """A kind of units, and the matrix through which they reach the rest of the layer.

    ``name`` is that of the count in ``LayerShape``; ``projection`` and ``norm`` are names in
    ``LayerWeights``. ``outputs(layer, states)``: what the units put out,
    ``(batch, tokens, units * unit size)``.
    """

    name: str
    projection: str
    norm: str
    outputs: Callable[[LayerModule, States], Tensor]

    def inputs(self, layer: LayerModule, states: States) -> Tensor:
        """What the units read, ``(batch, tokens, dim)``."""
        return layer.before(self.norm, states.x)

    def work(self, weights: EncoderWeights) -> int:
        """Multiply-accumulates of a unit for each token."""
        rows = 4 * weights.head_dim if self.name == "heads" else 3 if weights.gated else 2
        return rows * weights.dim

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

    def units(self, layer: LayerWeights, weights: EncoderWeights) -> Units:
        """Where the layer, which is of an encoder like this, has its units' numbers."""
        form = form_of(layer, weights)
        if form not in UNITS_BY_FORM:
            UNITS_BY_FORM[form] = find_units(layer, weights)
        return UNITS_BY_FORM[form][self.projection]

    def keep(self, layer: LayerWeights, kept: Kept, weights: EncoderWeights) -> LayerWeights:
        """The layer with these units alone, in this order."""
        return keep_units(layer, self.units(layer, weights), kept)

    def cut(
        self, layer: LayerWeights, kept: Kept, projection: Linear, weights: EncoderWeights
    ) -> LayerWeights:
        """The layer with these units and a new projection of their outputs."""
        changes: dict[str, Any] = {self.projection: projection}
        return replace(self.keep(layer, kept, weights), **changes)

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
    lambda layer, states: layer.context(states.x, states.mask),
)
NEURONS = UnitKind(
    "neurons",
    "output",
    "output_norm",
    lambda layer, states: layer.hidden(states.x),
)
UNIT_KINDS = (HEADS, NEURONS)
UNITS_BY_FORM: dict[Hashable, dict[str, Units]] = {}  # see ``form_of``


def form_of(layer: LayerWeights, weights: EncoderWeights) -> Hashable:
    """All that the units of a layer depend on."""
    distances = None if layer.distances is None else layer.distances.shape
    sizes = layer.query.weight.shape, layer.intermediate.weight.shape, layer.output.weight.shape
    return sizes, distances, weights.head_dim, weights.gated, layer.rotary > 0
