"""Optimal brain surgeon for heads and neurons, with the output projection refitted exactly.

A head or a neuron reaches the rest of the encoder only through rows of one matrix W: of
``attention_output`` or of ``output``. With the inputs X of calibration tokens (a row for each
token, and a column of ones for the bias), target outputs T and the original weights W0,

    E(W) = |X W - T|^2 + r |W - W0|^2      is least at      W = H^-1 (X'T + r W0),

where H = X'X + r I. Taking out the rows B of W and refitting the others raises E by exactly

    tr(W_B' (H^-1_BB)^-1 W_B)

and changes W by -H^-1_:B (H^-1_BB)^-1 W_B, and H^-1 by -H^-1_:B (H^-1_BB)^-1 H^-1_B: (Hassibi &
Stork 1993, equations 5 and 6, for a block instead of a single weight). Units are taken out one
after another, the cheapest first. Then some of those that stay are exchanged for some of those that
went, as long as E falls (OSSCAR, Meng et al. 2024).

Layers are pruned in order. The inputs of a layer are the outputs of the pruned layers before it,
and its targets are the outputs of the original layer, so that later layers make up for the errors
of earlier ones. So do the matrices that the units read with (query, key and value; intermediate):
they are refitted alike, without taking anything out, before their units are chosen.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from trimseek.encoders.card import LayerShape
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.calibration import Ids, States, check_enough, first_states
from trimseek.encoders.shrink.module import (
    EncoderModule,
    LayerModule,
    joined,
    joined_outputs,
    taken_apart,
)
from trimseek.encoders.shrink.unit_kinds import UNIT_KINDS, UnitKind
from trimseek.encoders.weights import EncoderWeights, FloatArray, LayerWeights, Linear
from trimseek.errors import EncoderError
from trimseek.time_limit import check_time

RIDGE = 1e-4  # r, as a share of X'X's mean diagonal
PENDING = 64  # units that are taken out until H^-1 and W are brought up to date
EXCHANGES = 8  # at most, of several units each
EXCHANGED = 8  # at first, one of so many units that stay is exchanged
LEAST_FALL = 1e-3  # of E, for which an exchange is made


class StatesPair(NamedTuple):
    """The states of a batch in the original encoder and in the pruned one."""

    original: States
    pruned: States


@torch.inference_mode()
def prune(
    weights: EncoderWeights,
    shapes: Sequence[LayerShape],
    texts: Sequence[Ids],
    scores: Sequence[Mapping[str, FloatArray]] | None = None,
) -> EncoderWeights:
    """The encoder with as many heads and neurons in each layer as ``shapes`` say.

    ``texts``: token ids of calibration texts. ``scores``: of each layer, by the kind's name, how
    much its units ``(units,)`` matter; those that matter most then stay. Layers before the first
    that loses a unit stay as they are. EncoderError if there is too little text or a shape is out
    of range; OutOfTimeError when a ``time_limit`` passes.
    """
    check_enough(texts)
    check_shapes(weights, shapes)
    module = EncoderModule(weights, Pooling.MEAN, normalize=False).eval()
    states = [StatesPair(batch, batch) for batch in first_states(module, texts)]
    layers = []
    for i, (original, layer) in enumerate(zip(module.stack, weights.layers, strict=True)):
        for kind in UNIT_KINDS:
            count = getattr(shapes[i], kind.name)
            by = None if scores is None else scores[i][kind.name]
            layer, states = prune_units(kind, original, layer, states, count, weights, by)
        layers.append(layer)
    return replace(weights, layers=tuple(layers))


def check_shapes(weights: EncoderWeights, shapes: Sequence[LayerShape]) -> None:
    """EncoderError for a shape that cannot be cut out of the encoder."""
    if len(shapes) != len(weights.layers):
        raise EncoderError(f"{len(shapes)} shapes for {len(weights.layers)} layers")
    for i, (layer, shape) in enumerate(zip(weights.layers, shapes, strict=True)):
        for kind in UNIT_KINDS:
            kept, most = getattr(shape, kind.name), kind.count(layer, weights.head_dim)
            if not 1 <= kept <= most:
                raise EncoderError(
                    f"layer {i}: cannot keep {kept} {kind.name}; it has {most}, so keep 1 to {most}"
                )


def prune_units(
    kind: UnitKind,
    original: LayerModule,
    layer: LayerWeights,
    states: Sequence[StatesPair],
    count: int,
    weights: EncoderWeights,
    scores: FloatArray | None,
) -> tuple[LayerWeights, list[StatesPair]]:
    """The layer with ``count`` units of the kind, and the states behind those units.

    ``weights``: of the encoder that the layer is of. ``scores``: of the units, see ``prune``.
    """
    outputs, sums, originals = kind.forward(original, [pair.original for pair in states])
    is_unpruned = all(pair.original is pair.pruned for pair in states)
    if is_unpruned and count == kind.count(layer, original.head_dim):
        return layer, [StatesPair(batch, batch) for batch in originals]
    pruned = [pair.pruned for pair in states]
    if not is_unpruned:
        layer = refit_inputs(kind, original, layer, states, weights)
        current = LayerModule(layer, weights).eval()
        outputs = [kind.outputs(current, batch) for batch in pruned]
    size = kind.unit_size(original.head_dim)
    problem = pose(inputs_and_targets(pruned, outputs, sums), kind.linear(layer), size)
    if scores is None:
        kept = exchanged(problem, eliminate(problem, count).kept(count))
    else:
        kept = sorted(np.argsort(-scores, kind="stable")[:count].tolist())
    projection = refit(problem, kept)
    rows = rows_of_units(problem, kept)[:-1]
    weight, bias = map(torch.from_numpy, projection)
    pairs = []
    for batch, output, target in zip(pruned, outputs, originals, strict=True):
        x = kind.normalize(original, batch.x + output[..., rows] @ weight + bias)
        pairs.append(StatesPair(target, States(x, batch.mask)))
    return kind.cut(layer, kept, projection, weights), pairs


def refit_inputs(
    kind: UnitKind,
    original: LayerModule,
    layer: LayerWeights,
    states: Sequence[StatesPair],
    weights: EncoderWeights,
) -> LayerWeights:
    """The layer whose units read from the pruned states what they read from the original ones."""
    matrices = kind.units(layer, weights).writers
    pairs = (
        (
            pair.pruned.real(kind.inputs(original, pair.pruned)),
            joined_outputs(
                original, matrices, pair.original.real(kind.inputs(original, pair.original))
            ),
        )
        for pair in states
    )
    problem = pose(pairs, joined(original, matrices), 1)
    made = refit(problem, range(problem.units))
    parts: dict[str, Any] = dict(taken_apart(original, matrices, made))
    return replace(layer, **parts)


def inputs_and_targets(
    states: Sequence[States], outputs: Sequence[Tensor], sums: Sequence[Tensor]
) -> Iterator[tuple[Tensor, Tensor]]:
    """The projection's inputs, and its target outputs: what the states lack of the target sums.

    Padding is left out.
    """
    for batch, output, target in zip(states, outputs, sums, strict=True):
        yield batch.real(output), batch.real(target - batch.x)


class Problem(NamedTuple):
    """A least squares problem: H ``(n, n)``, X'T + r W0 ``(n, out)``, float64.

    The last row is the bias's; the n - 1 others belong to units of ``size`` rows each.
    ``energy``: |T|^2 + r |W0|^2, which is E(0).
    """

    hessian: Tensor
    target: Tensor
    energy: float
    size: int

    @property
    def units(self) -> int:
        """How many units there are."""
        return (len(self.hessian) - 1) // self.size


class Elimination(NamedTuple):
    """Units in the order in which they go, E / ``energy`` after each, and their count at first."""

    order: list[int]
    errors: list[float]
    units: int

    def kept(self, count: int) -> list[int]:
        """The ``count`` units that stay longest, in ascending order."""
        gone = set(self.order[: self.units - count])
        return [unit for unit in range(self.units) if unit not in gone]


def pose(
    pairs: Iterable[tuple[Tensor, Tensor]], before: Linear, size: int, ridge: float = RIDGE
) -> Problem:
    """The problem of batches of inputs ``(tokens, n - 1)`` and target outputs ``(tokens, out)``.

    ``before``: W0 and its bias. ``ridge``: r, as a share of X'X's mean diagonal.
    OutOfTimeError when a ``time_limit`` passes.
    """
    rows, columns = before.weight.shape
    hessian = torch.zeros(rows + 1, rows + 1, dtype=torch.float64)
    target = torch.zeros(rows + 1, columns, dtype=torch.float64)
    energy = 0.0
    for inputs, targets in pairs:
        check_time()
        x = torch.cat([inputs, torch.ones(len(inputs), 1)], 1)
        hessian += x.T @ x
        target += x.T @ targets
        energy += float(targets.double().square().sum())
    w0 = torch.from_numpy(np.vstack([before.weight, before.bias])).double()
    r = ridge * float(hessian.diagonal().mean())
    hessian += r * torch.eye(rows + 1, dtype=torch.float64)
    return Problem(hessian, target + r * w0, energy + r * float(w0.square().sum()), size)


class Fit(NamedTuple):
    """W of some units alone at its least E, the factor of their part of H, and that E."""

    rows: Tensor
    factor: Tensor
    weights: Tensor
    error: float


def fit(problem: Problem, units: Sequence[int]) -> Fit:
    """Of these units, and the bias."""
    rows = rows_of_units(problem, units)
    target = problem.target[rows]
    factor = torch.linalg.cholesky(problem.hessian[rows][:, rows])
    weights = torch.cholesky_solve(target, factor)
    return Fit(rows, factor, weights, problem.energy - float((weights * target).sum()))


def refit(problem: Problem, kept: Sequence[int]) -> Linear:
    """The output projection of these units alone that has the least E."""
    solution = fit(problem, kept).weights.float().numpy()
    return Linear(np.ascontiguousarray(solution[:-1]), solution[-1].copy())


def exchanged(problem: Problem, kept: Sequence[int]) -> list[int]:
    """As many units, with less E if there is an exchange that lowers it; ascending.

    Those of the kept that cost least go, all at once, and as many of the others come that then
    lower E most, each on its own. Where that does not lower E, half as many are tried.
    OutOfTimeError when a ``time_limit`` passes.
    """
    alive = sorted(kept)
    if len(alive) == problem.units:
        return alive
    several = min(len(alive), problem.units - len(alive)) // EXCHANGED
    best = fit(problem, alive)
    for _ in range(EXCHANGES):
        check_time()
        several = max(1, several)
        going = torch.topk(costs_of(problem, best), several, largest=False).indices.tolist()
        fewer = [unit for place, unit in enumerate(alive) if place not in going]
        without = fit(problem, fewer)
        others = sorted(set(range(problem.units)) - set(fewer))
        coming = torch.topk(gains_of(problem, without, others), several).indices.tolist()
        changed = sorted([*fewer, *(others[place] for place in coming)])
        found = fit(problem, changed)
        if found.error < best.error * (1 - LEAST_FALL):
            alive, best = changed, found
        elif several == 1:
            break
        else:
            several //= 2
    return alive


def costs_of(problem: Problem, found: Fit) -> Tensor:
    """By how much E rises when one of the units goes, and the others are refitted."""
    inverse = torch.cholesky_inverse(found.factor)
    products = row_products(found.weights[:-1], problem.size)
    return unit_costs(diagonal_blocks(inverse, problem.size), products)


def gains_of(problem: Problem, found: Fit, others: Sequence[int]) -> Tensor:
    """By how much E falls when one of the other units comes, and all are refitted.

    With the units' rows S and those of another one O, H's Schur complement H_OO - H_OS H_SS^-1 H_SO
    takes the place of (H^-1_BB)^-1, and X'T + r W0 less what the units' fit gives that of W_B.
    """
    rows, size = rows_of_units(problem, others)[:-1], problem.size
    between = problem.hessian[found.rows][:, rows]
    missing = problem.target[rows] - between.T @ found.weights
    solved = torch.linalg.solve_triangular(found.factor, between, upper=False)
    solved = solved.view(len(solved), len(others), size).transpose(0, 1)
    own = diagonal_blocks(problem.hessian, size)[list(others)]
    return unit_costs(own - solved.transpose(1, 2) @ solved, row_products(missing, size))


def rows_of_units(problem: Problem, units: Sequence[int]) -> Tensor:
    """Rows of the units, and at last the row of the bias."""
    first = torch.tensor(list(units), dtype=torch.long) * problem.size
    rows = (first[:, None] + torch.arange(problem.size)).ravel()
    return torch.cat([rows, torch.tensor([len(problem.hessian) - 1])])


def eliminate(problem: Problem, until: int = 1) -> Elimination:
    """Take out units one after another, each time the one that costs least.

    ``until``: how many units stay. OutOfTimeError when a ``time_limit`` passes.
    """
    downdate = Downdate(problem)
    error = downdate.error
    alive = torch.ones(problem.units, dtype=torch.bool)
    order, errors = [], []
    for _ in range(problem.units - until):
        costs = downdate.costs().masked_fill(~alive, torch.inf)
        unit = int(costs.argmin())
        downdate.take_out(unit)
        alive[unit] = False
        error += float(costs[unit])
        order.append(unit)
        errors.append(error / problem.energy)
    return Elimination(order, errors, problem.units)


class Downdate:
    """H^-1 and W while units are taken out.

    With the Cholesky factor L L' = H^-1_BB of the unit that goes, taking it out subtracts U U' from
    H^-1 and U M from W, where U = H^-1_:B L'^-1 and M = L^-1 W_B. Both matrices are large, so U and
    M of ``PENDING`` units are gathered before they are subtracted at once. Until then

        H^-1 = inverse - u u'        W = weights - u m

    A unit's cost needs only its blocks H^-1_BB and W_B W_B', which are always up to date.
    ``error``: E before any unit is taken out.
    """

    def __init__(self, problem: Problem) -> None:
        self.size, self.count = problem.size, problem.units
        self.rows = self.count * self.size
        self.inverse = torch.cholesky_inverse(torch.linalg.cholesky(problem.hessian))
        self.weights = self.inverse @ problem.target
        self.error = problem.energy - float((self.weights * problem.target).sum())
        self.u = torch.zeros(len(self.inverse), PENDING * self.size, dtype=torch.float64)
        self.m = torch.zeros(PENDING * self.size, self.weights.shape[1], dtype=torch.float64)
        self.used = 0  # columns of u, and rows of m
        self.inverse_blocks = diagonal_blocks(self.inverse, self.size)
        self.products = row_products(self.weights[: self.rows], self.size)

    def costs(self) -> Tensor:
        """The cost of each unit ``(units,)``; those of units that are gone mean nothing."""
        return unit_costs(self.inverse_blocks, self.products)

    def take_out(self, unit: int) -> None:
        """Update everything for the loss of one unit."""
        b = slice(unit * self.size, (unit + 1) * self.size)
        u, m = self.u[:, : self.used], self.m[: self.used]
        inverse_columns = self.inverse[b].T - u @ u[b].T  # H^-1_:B
        weight_rows = self.weights[b] - u[b] @ m  # W_B
        factor = torch.linalg.cholesky(inverse_columns[b])  # L
        new_u = torch.linalg.solve_triangular(factor, inverse_columns.T, upper=False).T
        new_m = torch.linalg.solve_triangular(factor, weight_rows, upper=False)
        self.update_blocks(new_u, new_m, self.weights @ new_m.T - u @ (m @ new_m.T))
        pending = slice(self.used, self.used + self.size)
        self.u[:, pending], self.m[pending] = new_u, new_m
        self.used += self.size
        if self.used == self.u.shape[1]:
            self.settle()

    def update_blocks(self, u: Tensor, m: Tensor, weights_m: Tensor) -> None:
        """Bring the blocks of all units C up to date; ``weights_m`` is W M'.

        (W_C - U_C M)(W_C - U_C M)' = W_C W_C' - U_C (W_C M')' - (W_C M') U_C' + U_C M M' U_C'.
        """
        u, weights_m = (x[: self.rows].view(self.count, self.size, -1) for x in (u, weights_m))
        cross = u @ weights_m.transpose(1, 2)
        self.products -= cross + cross.transpose(1, 2)
        self.products += u @ (m @ m.T) @ u.transpose(1, 2)
        self.inverse_blocks -= u @ u.transpose(1, 2)

    def settle(self) -> None:
        """Subtract what is pending from H^-1 and W."""
        check_time()
        self.inverse -= self.u @ self.u.T
        self.weights -= self.u @ self.m
        self.products = row_products(self.weights[: self.rows], self.size)
        self.used = 0


def diagonal_blocks(matrix: Tensor, size: int) -> Tensor:
    """The blocks ``(units, size, size)`` along the diagonal, without the bias."""
    count = (len(matrix) - 1) // size
    inner = matrix[: count * size, : count * size].view(count, size, count, size)
    return inner[torch.arange(count), :, torch.arange(count)].clone()


def row_products(weights: Tensor, size: int) -> Tensor:
    """W_B W_B' of each unit, ``(units, size, size)``."""
    blocks = weights.view(-1, size, weights.shape[1])
    return blocks @ blocks.transpose(1, 2)


def unit_costs(inverse_blocks: Tensor, products: Tensor) -> Tensor:
    """tr((H^-1_BB)^-1 W_B W_B') of each unit; the numbers of units that are gone mean nothing."""
    if inverse_blocks.shape[1] == 1:
        return products[:, 0, 0] / inverse_blocks[:, 0, 0]
    factors, _ = torch.linalg.cholesky_ex(inverse_blocks)
    return torch.cholesky_solve(products, factors).diagonal(dim1=1, dim2=2).sum(1)
