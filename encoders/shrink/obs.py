"""Optimal brain surgeon for heads and neurons, with the output projection refitted exactly.

A head or a neuron reaches the rest of the encoder only through rows of one matrix W: of
``attention_output`` or of ``output``. With the inputs X of calibration tokens (one row a token,
and a column of ones for the bias), wanted outputs T and the weights W0 that there were,

    E(W) = |X W - T|^2 + r |W - W0|^2      has its least at      W = H^-1 (X'T + r W0),

H = X'X + r I. Taking the rows B of W out and refitting the others raises E by exactly

    tr(W_B' (H^-1_BB)^-1 W_B)

and moves the others by -H^-1_:B (H^-1_BB)^-1 W_B (Hassibi & Stork 1993, equations 5 and 6, for a
block in place of a single weight). Units are taken out one after another, the cheapest first.

Layers are pruned in order, each on what the pruned layers before it give, towards what the
original encoder gives after it, so that later layers make up for the errors of earlier ones.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from encoders.card import LayerShape
from encoders.pooling import Pooling
from encoders.shrink.calibration import Ids, States, check_enough, first_states
from encoders.shrink.module import EncoderModule, LayerModule
from encoders.shrink.parts import PARTS, Part
from encoders.weights import EncoderWeights, LayerWeights, Linear
from trimseek.errors import EncoderError
from trimseek.time_limit import check_time

RIDGE = 1e-4  # r, as a share of X'X's mean diagonal
PENDING = 64  # eliminations until H^-1 itself is brought up to date


class Pair(NamedTuple):
    """A batch as it is in the original encoder and in the pruned one."""

    original: States
    pruned: States


@torch.inference_mode()
def prune(
    weights: EncoderWeights, shapes: Sequence[LayerShape], texts: Sequence[Ids]
) -> EncoderWeights:
    """The encoder with as many heads and neurons in each layer as ``shapes`` say.

    ``texts``: token ids of calibration texts. What loses nothing and sees what it saw before
    stays as it is. EncoderError if there is too little text or a shape is out of range.
    """
    check_enough(texts)
    check_shapes(weights, shapes)
    module = EncoderModule(weights, Pooling.MEAN, normalize=False).eval()
    states = [Pair(each, each) for each in first_states(module, texts)]
    layers = []
    for original, layer, shape in zip(module.stack, weights.layers, shapes, strict=True):
        for part in PARTS:
            count = getattr(shape, part.name)
            layer, states = prune_part(part, original, layer, states, count)
        layers.append(layer)
    return replace(weights, layers=tuple(layers))


def check_shapes(weights: EncoderWeights, shapes: Sequence[LayerShape]) -> None:
    """EncoderError for a shape that cannot be cut out of the encoder."""
    if len(shapes) != len(weights.layers):
        raise EncoderError(f"{len(shapes)} shapes for {len(weights.layers)} layers")
    for i, (layer, shape) in enumerate(zip(weights.layers, shapes, strict=True)):
        for part in PARTS:
            wanted, most = getattr(shape, part.name), part.count(layer, weights.head_dim)
            if not 1 <= wanted <= most:
                raise EncoderError(
                    f"layer {i}: cannot keep {wanted} {part.name}; it has {most}, so keep 1 to "
                    f"{most}"
                )


def prune_part(
    part: Part, original: LayerModule, layer: LayerWeights, states: Sequence[Pair], count: int
) -> tuple[LayerWeights, list[Pair]]:
    """The layer with ``count`` units of the part, and the states behind that part."""
    insides = [part.inside(original, each.original) for each in states]
    sums = [
        each.original.x + part.added(original, inside)
        for each, inside in zip(states, insides, strict=True)
    ]
    originals = [
        States(part.normalized(original, x), each.original.mask)
        for x, each in zip(sums, states, strict=True)
    ]
    intact = all(each.original is each.pruned for each in states)
    if intact and count == part.count(layer, original.head_dim):
        return layer, [Pair(each, each) for each in originals]
    if not intact:
        insides = [part.inside(original, each.pruned) for each in states]
    pruned = [each.pruned for each in states]
    size = part.unit_size(original.head_dim)
    problem = pose(inputs_and_targets(pruned, insides, sums), part.linear(layer), size)
    kept = eliminate(problem, count).kept(count)
    projection = refit(problem, kept)
    rows = rows_of_units(problem, kept)[:-1]
    weight, bias = map(torch.from_numpy, projection)
    after = []
    for each, inside, before in zip(pruned, insides, originals, strict=True):
        x = part.normalized(original, each.x + inside[..., rows] @ weight + bias)
        after.append(Pair(before, States(x, each.mask)))
    return part.cut(layer, kept, projection, original.head_dim), after


def inputs_and_targets(
    states: Sequence[States], insides: Sequence[Tensor], sums: Sequence[Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """What the units give, and what the state lacks of the wanted sum; real tokens only."""
    for each, inside, wanted in zip(states, insides, sums, strict=True):
        yield each.real(inside), each.real(wanted - each.x)


class Problem(NamedTuple):
    """A least squares problem: H ``(n, n)``, X'T + r W0 ``(n, out)``, float64.

    The last row is the bias's; the n - 1 others belong to units of ``size`` rows each.
    ``energy``: |T|^2 + r |W0|^2, so that E(W) can be told.
    """

    hessian: Tensor
    target: Tensor
    energy: float
    size: int

    @property
    def units(self) -> int:
        return (len(self.hessian) - 1) // self.size


class Elimination(NamedTuple):
    """Units in the order in which they go, E after each relative to |T|^2, units at first."""

    order: list[int]
    errors: list[float]
    units: int

    def kept(self, count: int) -> list[int]:
        """The ``count`` units that stay longest, in the order in which they lie."""
        gone = set(self.order[: self.units - count])
        return [unit for unit in range(self.units) if unit not in gone]


def pose(
    pairs: Iterable[tuple[Tensor, Tensor]], before: Linear, size: int, ridge: float = RIDGE
) -> Problem:
    """The problem of inputs ``(tokens, n)`` and wanted outputs ``(tokens, out)``, in batches."""
    rows, columns = before.weight.shape
    hessian = torch.zeros(rows + 1, rows + 1, dtype=torch.float64)
    target = torch.zeros(rows + 1, columns, dtype=torch.float64)
    energy = 0.0
    for inputs, wanted in pairs:
        check_time()
        ones = torch.cat([inputs, torch.ones(len(inputs), 1)], 1)
        hessian += ones.T @ ones
        target += ones.T @ wanted
        energy += float(wanted.double().square().sum())
    first = torch.from_numpy(np.vstack([before.weight, before.bias])).double()
    r = ridge * float(hessian.diagonal().mean())
    hessian += r * torch.eye(rows + 1, dtype=torch.float64)
    return Problem(hessian, target + r * first, energy + r * float(first.square().sum()), size)


def refit(problem: Problem, kept: Sequence[int]) -> Linear:
    """The best output projection of these units alone, and E of it relative to |T|^2."""
    rows = rows_of_units(problem, kept)
    part = torch.linalg.cholesky(problem.hessian[rows][:, rows])
    found = torch.cholesky_solve(problem.target[rows], part).float().numpy()
    return Linear(np.ascontiguousarray(found[:-1]), found[-1].copy())


def rows_of_units(problem: Problem, units: Sequence[int]) -> Tensor:
    """Rows of the units, and the bias's."""
    first = torch.tensor(list(units), dtype=torch.long) * problem.size
    rows = (first[:, None] + torch.arange(problem.size)).ravel()
    return torch.cat([rows, torch.tensor([len(problem.hessian) - 1])])


def eliminate(problem: Problem, until: int = 1) -> Elimination:
    """Take out units one after another, each time the one that costs least.

    A unit's cost needs W_B W_B' alone, which is kept up to date without W itself: per unit taken
    out, W is read once, and written only when ``PENDING`` are brought in at once.
    """
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(problem.hessian))
    weights = inverse @ problem.target
    error = problem.energy - float((weights * problem.target).sum())
    size, count = problem.size, problem.units
    rows = count * size
    # H^-1 is `inverse` less U U', W is `weights` less U M: each pending block adds to U and M
    pending = torch.zeros(len(inverse), PENDING * size, dtype=torch.float64)
    moves = torch.zeros(PENDING * size, weights.shape[1], dtype=torch.float64)
    used = 0
    blocks, squares = diagonal_blocks(inverse, size), row_products(weights[:rows], size)
    alive = torch.ones(count, dtype=torch.bool)
    order, errors = [], []
    for _ in range(count - until):
        costs = unit_costs(blocks, squares)
        costs[~alive] = torch.inf
        unit = int(costs.argmin())
        here = slice(unit * size, (unit + 1) * size)
        columns = inverse[here].T - pending[:, :used] @ pending[here, :used].T
        factor = torch.linalg.cholesky(columns[here])
        added = torch.linalg.solve_triangular(factor, columns.T, upper=False).T
        own = weights[here] - pending[here, :used] @ moves[:used]
        moved = torch.linalg.solve_triangular(factor, own, upper=False)
        before = weights @ moved.T - pending[:, :used] @ (moves[:used] @ moved.T)
        split, meets = (each[:rows].view(count, size, size) for each in (added, before))
        crossed = split @ meets.transpose(1, 2)
        squares -= crossed + crossed.transpose(1, 2)
        squares += split @ (moved @ moved.T) @ split.transpose(1, 2)
        blocks -= split @ split.transpose(1, 2)
        fresh = slice(used, used + size)
        pending[:, fresh], moves[fresh] = added, moved
        used += size
        if used == pending.shape[1]:
            check_time()
            inverse -= pending @ pending.T
            weights -= pending @ moves
            squares = row_products(weights[:rows], size)
            used = 0
        alive[unit] = False
        error += float(costs[unit])
        order.append(unit)
        errors.append(error / problem.energy)
    return Elimination(order, errors, count)


def diagonal_blocks(matrix: Tensor, size: int) -> Tensor:
    """The blocks ``(units, size, size)`` of units along the diagonal, the bias left out."""
    count = (len(matrix) - 1) // size
    inner = matrix[: count * size, : count * size].view(count, size, count, size)
    return inner[torch.arange(count), :, torch.arange(count)].clone()


def row_products(weights: Tensor, size: int) -> Tensor:
    """W_B W_B' of each unit, ``(units, size, size)``."""
    own = weights.view(-1, size, weights.shape[1])
    return own @ own.transpose(1, 2)


def unit_costs(blocks: Tensor, squares: Tensor) -> Tensor:
    """tr((H^-1_BB)^-1 W_B W_B') of each unit; those that are gone give rubbish."""
    if blocks.shape[1] == 1:
        return squares[:, 0, 0] / blocks[:, 0, 0]
    factors, _ = torch.linalg.cholesky_ex(blocks)
    return torch.cholesky_solve(squares, factors).diagonal(dim1=1, dim2=2).sum(1)
