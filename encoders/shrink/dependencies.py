"""Which numbers of a layer go together, found by running it instead of listed by hand.

A head or a neuron is not a row of one matrix: what some matrices put out for it, another reads, and
all of them lose it at once. As in DepGraph (Fang, Ma, Song, Mi & Wang 2023), groups follow from
what depends on what. Here that is seen in the values: each number that a matrix puts out, and each
index of an array beside the matrices, is NaN in turn, and what then reads or gives a NaN depends on
it. Norms pass everything on meanwhile, as DepGraph has them: they scale each number for itself.

What hangs together, directly or by others, is a group. A group that reaches what the layer itself
reads or puts out is a part of the width of the whole encoder, and cannot go from one layer alone.
The others are units. Another kind of layer needs no list of its own for this.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from trimseek.encoders.shrink.module import LayerModule
from trimseek.encoders.weights import LAYER_PARTS, EncoderWeights, LayerWeights, Linear

Kept = Sequence[int] | NDArray[np.int64]
Node = tuple[str, int]  # "query puts out", "output reads" or an array's axis; and an index
READS, PUTS_OUT = "reads", "puts out"
WHOLE = "the layer"


class Slices(NamedTuple):
    """Where units are in one array: ``indices (units, each)`` along an axis.

    ``part``: its name in ``LayerWeights``; a matrix's axis 1 has its bias, too.
    """

    part: str
    axis: int
    indices: NDArray[np.int64]


class Units(NamedTuple):
    """Units that one matrix reads, in the order in which it reads them.

    ``writers``: the matrices that put out what the units are made of.
    """

    writers: tuple[str, ...]
    slices: tuple[Slices, ...]


class Probe(nn.Module):
    """In the place of a matrix: notes where it reads NaN, and puts out ones, or what is spoilt."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.spoilt = False
        self.found = torch.zeros(0)

    def forward(self, x: Tensor) -> Tensor:
        """``(batch, 1, in)`` to ``(batch, 1, out)``, where example i is spoilt at number i."""
        self.found = x[:, 0].isnan()
        out = torch.ones(len(x), 1, self.out_features)
        return spoilt(out) if self.spoilt else out


class ProbedLayer(LayerModule):
    """A layer whose matrices are probes, and whose norms do nothing."""

    def __init__(self, layer: LayerWeights, weights: EncoderWeights) -> None:
        super().__init__(layer, weights)
        self.eval()
        self.probes: dict[str, Probe] = {}
        for name, child in list(self.named_children()):
            if isinstance(child, nn.Linear):
                self.probes[name] = Probe(child)
                setattr(self, name, self.probes[name])
            elif isinstance(child, nn.LayerNorm):
                setattr(self, name, nn.Identity())

    def project(self, x: Tensor) -> Tensor:
        """As the layer's, of one matrix after another."""
        return torch.cat([self.query(x), self.key(x), self.value(x)], -1)

    def edges(self) -> Iterator[tuple[Node, Node]]:
        """What depends on what."""
        dim = self.probes["query"].in_features
        yield from self.run(f"{WHOLE} {READS}", spoilt(torch.ones(dim, 1, dim)))
        for name, probe in self.probes.items():
            probe.spoilt = True
            yield from self.run(f"{name} {PUTS_OUT}", torch.ones(probe.out_features, 1, dim))
            probe.spoilt = False
        for name, array in self.named_parameters():
            for axis, size in enumerate(array.shape):
                yield from self.array_edges(name, array, axis, size, torch.ones(1, 1, dim))

    def run(self, source: str, x: Tensor) -> Iterator[tuple[Node, Node]]:
        """Edges to what reads or gives NaN in an example, whose number is the source's index."""
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            given = self(x, None)[:, 0].isnan()
        found = {f"{name} {READS}": probe.found for name, probe in self.probes.items()}
        for target, is_spoilt in {**found, f"{WHOLE} {PUTS_OUT}": given}.items():
            for example, index in is_spoilt.nonzero().tolist():
                yield (source, example), (target, index)

    def array_edges(
        self, name: str, array: Tensor, axis: int, size: int, x: Tensor
    ) -> Iterator[tuple[Node, Node]]:
        """Edges of an array beside the matrices, if every index along the axis has its own."""
        edges = []
        reached: list[frozenset[Node]] = []
        for index in range(size):
            before = array.data.clone()
            array.data.select(axis, index).fill_(torch.nan)
            found = [target for _, target in self.run(name, x)]
            array.data.copy_(before)
            edges += [((f"{name} {axis}", index), target) for target in found]
            reached.append(frozenset(found))
        if all(reached) and len(set(reached)) == size:
            yield from edges


def spoilt(numbers: Tensor) -> Tensor:
    """``(n, 1, at least n)`` with NaN at number i of example i."""
    numbers.diagonal(dim1=0, dim2=2).fill_(torch.nan)
    return numbers


def find_units(layer: LayerWeights, weights: EncoderWeights) -> dict[str, Units]:
    """The units of a layer of this encoder, by the matrix that reads them."""
    groups: dict[Node, set[Node]] = {}
    for ends in ProbedLayer(layer, weights).edges():
        first, second = (groups.setdefault(end, {end}) for end in ends)
        if first is not second:
            larger, smaller = sorted((first, second), key=len, reverse=True)
            larger |= smaller
            groups.update(dict.fromkeys(smaller, larger))
    by_reader: dict[str, list[dict[str, list[int]]]] = {}
    for group in {id(each): each for each in groups.values()}.values():
        indices: dict[str, list[int]] = {}
        for name, index in sorted(group):
            indices.setdefault(name, []).append(index)
        if not any(name.startswith(WHOLE) for name in indices):
            (reader,) = (name for name in indices if name.endswith(READS))
            by_reader.setdefault(reader, []).append(indices)
    return {
        reader.removesuffix(f" {READS}"): as_units(reader, groups_of_reader)
        for reader, groups_of_reader in by_reader.items()
    }


def as_units(reader: str, groups: list[dict[str, list[int]]]) -> Units:
    """Units in the order in which ``reader`` reads them."""
    ordered = sorted(groups, key=lambda group: group[reader][0])
    slices, writers = [], []
    for name in ordered[0]:
        part, what = name.split(" ", 1)
        if what == PUTS_OUT:
            writers.append(part)
        axis = {READS: 0, PUTS_OUT: 1}.get(what)
        indices = np.array([group[name] for group in ordered])
        slices.append(Slices(part, int(what) if axis is None else axis, indices))
    writers.sort(key=LAYER_PARTS.index)
    return Units(tuple(writers), tuple(slices))


def keep_units(layer: LayerWeights, units: Units, kept: Kept) -> LayerWeights:
    """The layer with these of the units alone, in this order."""
    parts: dict[str, Any] = {}
    for part, axis, indices in units.slices:
        chosen = indices[np.asarray(kept)]
        # numbers of a unit that lie apart belong to different parts of the output, as a gate's
        together = indices[0, -1] - indices[0, 0] < indices.shape[1]
        places = (chosen if together else chosen.T).ravel()
        array = parts.get(part, getattr(layer, part))
        if isinstance(array, Linear):
            bias = array.bias if axis == 0 else array.bias[places]
            parts[part] = Linear(array.weight.take(places, axis), bias)
        else:
            parts[part] = array.take(places, axis)
    return replace(layer, **parts)
