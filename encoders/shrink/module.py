"""An encoder as a torch module of any shape: what trains, and what calibration runs through."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trimseek.encoders.pooling import Pooling
from trimseek.encoders.transforms import EPSILON as TRANSFORM_EPSILON
from trimseek.encoders.weights import (
    LAYER_PARTS,
    Dense,
    EncoderWeights,
    FloatArray,
    LayerNorm,
    LayerWeights,
    Linear,
    bucket_of,
    rotary_tables,
)

SMALLEST_NORM = 1e-12
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {  # of ``transforms``
    "identity": lambda x: x,
    "tanh": torch.tanh,
    "relu": functional.relu,
    "gelu": functional.gelu,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
}
Affine = TypeVar("Affine", nn.Linear, nn.LayerNorm)


class LayerModule(nn.Module):
    """One transformer layer; its submodules are called as in ``LayerWeights``.

    ``weights``: the encoder that the layer is of, or is to be of. ``dropout``: in training, the
    share of what attention weighs, and of what it and the FFN add, that is left out.
    """

    def __init__(
        self, layer: LayerWeights, weights: EncoderWeights, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        head_dim, eps = weights.head_dim, weights.layer_norm_eps
        self.heads, self.head_dim = layer.query.weight.shape[1] // head_dim, head_dim
        self.activation, self.origin = weights.activation, layer
        self.pre_norm, self.gated, self.reach = weights.pre_norm, weights.gated, weights.reach
        self.causal = weights.causal
        self.query = linear_module(layer.query)
        self.key = linear_module(layer.key)
        self.value = linear_module(layer.value)
        self.attention_output = linear_module(layer.attention_output)
        norm = layer.attention_norm
        self.attention_norm = nn.Identity() if norm is None else norm_module(norm, eps)
        self.intermediate = linear_module(layer.intermediate)
        self.output = linear_module(layer.output)
        self.output_norm = norm_module(layer.output_norm, eps)
        self.distances = (
            None
            if layer.distances is None
            else nn.Parameter(torch.from_numpy(layer.distances.copy()))
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """``x (batch, tokens, dim)``; ``mask (batch, tokens) bool``, None without padding."""
        attended = self.attention_output(self.context(x, mask))
        x = self.behind("attention_norm", x + self.dropout(attended))
        return self.behind("output_norm", x + self.dropout(self.output(self.hidden(x))))

    def behind(self, norm: str, x: Tensor) -> Tensor:
        """A sum as the layer goes on with it: normalized, unless the norms stand before."""
        return x if self.pre_norm else cast(Tensor, getattr(self, norm)(x))

    def before(self, norm: str, x: Tensor) -> Tensor:
        """What attention or FFN reads: normalized, if the norms stand before."""
        return cast(Tensor, getattr(self, norm)(x)) if self.pre_norm else x

    def context(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The heads' outputs ``(batch, tokens, heads * head_dim)``, before their projection."""
        x = self.before("attention_norm", x)
        projected = self.project(x)
        batch, tokens, _ = projected.shape
        split = projected.view(batch, tokens, 3, self.heads, self.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = split.unbind(0)
        if self.origin.rotary:
            query, key = turned(query, key, self.origin.rotary)
        attended = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=self.added_to_scores(mask, x),
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        return attended.transpose(1, 2).reshape(batch, tokens, -1)

    def project(self, x: Tensor) -> Tensor:
        """Queries, keys and values ``(batch, tokens, 3 * heads * head_dim)``, by one product."""
        return functional.linear(
            x,
            torch.cat([self.query.weight, self.key.weight, self.value.weight]),
            torch.cat([self.query.bias, self.key.bias, self.value.bias]),
        )

    def added_to_scores(self, mask: Tensor | None, x: Tensor) -> Tensor | None:
        """A mask (bool) or what is added to scores, for ``(batch, heads, tokens, tokens)``."""
        seen = None if mask is None else mask[:, None, None, :]
        if self.distances is None and not self.origin.window and not self.causal:
            return seen
        places = np.arange(x.shape[1])
        distances = places[None, :] - places[:, None]
        if self.origin.window:
            near = torch.from_numpy(np.abs(distances) <= self.origin.window).to(x.device)
            seen = near if seen is None else seen & near
        if self.causal:
            before = torch.from_numpy(distances <= 0).to(x.device)
            seen = before if seen is None else seen & before
        if self.distances is None:
            return seen
        buckets = bucket_of(distances, len(self.distances), self.reach)
        added = self.distances[torch.from_numpy(buckets).to(x.device)].permute(2, 0, 1)[None]
        added = added.to(x.dtype)
        return added if seen is None else added.masked_fill(~seen, -torch.inf)

    def hidden(self, x: Tensor) -> Tensor:
        """FFN neurons after their activation, ``(batch, tokens, neurons)``."""
        x = self.intermediate(self.before("output_norm", x))
        if not self.gated:
            return self.activate(x)
        x, gate = x.chunk(2, -1)
        return self.activate(x) * gate

    def activate(self, x: Tensor) -> Tensor:
        """The activation of FFN neurons."""
        if self.activation == "relu":
            return functional.relu(x)
        if self.activation == "silu":
            return functional.silu(x)
        return functional.gelu(x, approximate="none" if self.activation == "gelu" else "tanh")

    def weights(self) -> LayerWeights:
        """The layer's weights as plain arrays."""
        fields: dict[str, Any] = {}
        for name in LAYER_PARTS:
            submodule = getattr(self, name)
            if isinstance(submodule, nn.Identity):
                continue
            kind = LayerNorm if isinstance(submodule, nn.LayerNorm) else Linear
            fields[name] = kind(*to_arrays(submodule))
        if self.distances is not None:
            fields["distances"] = to_array(self.distances)
        return replace(self.origin, **fields)


class EncoderModule(nn.Module):
    """Token ids to one vector for each text.

    With a ``rank``, the token table is ``E + U V`` with E frozen, U ``(vocabulary, rank)`` and V
    ``(rank, embedding_dim)``, so that its change by training is small enough to ship (LoRA, Hu et
    al. 2022). U begins at zero, so that nothing changes before the first step. With
    ``trains_table`` E is trained itself. ``dropout``: as in ``LayerModule``, and of what the first
    layer reads.
    """

    tokens: Tensor

    def __init__(
        self,
        weights: EncoderWeights,
        pooling: Pooling,
        *,
        normalize: bool,
        rank: int = 0,
        trains_table: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.origin, self.pooling, self.normalize = weights, pooling, normalize
        eps = weights.layer_norm_eps
        positions, types = weights.position_embeddings, weights.token_type_embeddings
        if positions is not None and types is not None:
            positions = positions + types[0]
        second = None
        if weights.separator is not None and types is not None and len(types) > 1:
            second = nn.Parameter(torch.from_numpy(types[1] - types[0]))
        self.second_type = second
        table = torch.from_numpy(weights.token_embeddings.copy())
        if trains_table:
            self.tokens = nn.Parameter(table)
        else:
            self.register_buffer("tokens", table)
        self.positions = (
            None if positions is None else nn.Parameter(torch.from_numpy(positions.copy()))
        )
        norm = weights.embedding_norm
        self.embedding_norm = nn.Identity() if norm is None else norm_module(norm, eps)
        self.projection = (
            None
            if weights.embedding_projection is None
            else linear_module(weights.embedding_projection)
        )
        self.layers = nn.ModuleList(
            LayerModule(layer, weights, dropout=dropout) for layer in weights.layers
        )
        self.transforms = nn.ModuleList(
            norm_module(each, TRANSFORM_EPSILON)
            if isinstance(each, LayerNorm)
            else linear_module(Linear(each.weight, each.bias))
            for each in weights.transforms
        )
        self.activations = [
            each.activation if isinstance(each, Dense) else "identity"
            for each in weights.transforms
        ]
        final = weights.final_norm
        self.final_norm = nn.Identity() if final is None else norm_module(final, eps)
        vocabulary, dim = weights.token_embeddings.shape
        self.up = nn.Parameter(torch.zeros(vocabulary, rank)) if rank else None
        self.down = nn.Parameter(torch.randn(rank, dim) * dim**-0.5) if rank else None

    def set_change(self, up: FloatArray, down: FloatArray) -> None:
        """Set U and V of the token table's change."""
        self.up = nn.Parameter(torch.from_numpy(up.copy()))
        self.down = nn.Parameter(torch.from_numpy(down.copy()))

    @torch.no_grad()
    def mix(self, weights: EncoderWeights, up: FloatArray, down: FloatArray, share: float) -> None:
        """Take this share of another encoder of the same shape into the weights."""
        other = EncoderModule(weights, self.pooling, normalize=self.normalize)
        other.set_change(up, down)
        theirs = dict(other.named_parameters())
        for name, parameter in self.named_parameters():
            parameter.lerp_(theirs[name].to(parameter.device), share)

    @property
    def stack(self) -> list[LayerModule]:
        """The layers, from the first to the last."""
        return cast("list[LayerModule]", list(self.layers))

    def embed(self, ids: Tensor) -> Tensor:
        """``ids (batch, tokens)`` to the first layer's input."""
        x = functional.embedding(ids, self.tokens)
        if self.up is not None and self.down is not None:
            x = x + functional.embedding(ids, self.up) @ self.down
        if self.positions is not None:
            x = x + self.positions[: ids.shape[1]]
        separator = self.origin.separator
        if self.second_type is not None and separator is not None:
            is_separator = torch.eq(ids, separator)
            behind = is_separator.cumsum(1) > is_separator.long()
            x = x + behind[..., None] * self.second_type
        x = self.dropout(self.embedding_norm(x))
        return x if self.projection is None else cast(Tensor, self.projection(x))

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(batch, dim)`` float32, of unit length if ``normalize``."""
        return self.onwards(self.embed(ids), mask, self.stack)

    def onwards(self, x: Tensor, mask: Tensor | None, layers: Iterable[LayerModule]) -> Tensor:
        """As ``forward``, from the input of the first of these layers."""
        return self.pool(self.final_norm(through(layers, x, mask)), mask)

    def states(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """The last layer's output ``(batch, tokens, dim)`` float32, which ``pool`` pools."""
        return cast(Tensor, self.final_norm(through(self.stack, self.embed(ids), mask)))

    def pool(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """The last layer's output to vectors ``(batch, dim)``."""
        pooled = pool(x, mask, self.pooling)
        for module, activation in zip(self.transforms, self.activations, strict=True):
            pooled = ACTIVATIONS[activation](module(pooled))
        if not self.normalize:
            return pooled
        return functional.normalize(pooled, dim=1, eps=SMALLEST_NORM)

    def parts(self) -> tuple[EncoderWeights, FloatArray, FloatArray]:
        """The weights, and U and V of the token table's change; ValueError without a rank."""
        if self.up is None or self.down is None:
            raise ValueError("a module without a rank has no change of its token table")
        return self.weights(), to_array(self.up), to_array(self.down)

    def _types(self) -> FloatArray | None:
        """Those of tokens: type 0 is in the positions."""
        if self.second_type is None:
            return None
        second = to_array(self.second_type)
        return np.stack([np.zeros_like(second), second])

    def weights(self) -> EncoderWeights:
        """The weights as plain arrays again."""
        table = self.tokens
        if self.up is not None and self.down is not None:
            table = table + self.up @ self.down
        projection = self.projection
        return replace(
            self.origin,
            token_embeddings=to_array(table),
            position_embeddings=None if self.positions is None else to_array(self.positions),
            token_type_embeddings=self._types(),
            embedding_norm=layer_norm(self.embedding_norm),
            embedding_projection=None if projection is None else Linear(*to_arrays(projection)),
            layers=tuple(layer.weights() for layer in self.stack),
            transforms=tuple(
                LayerNorm(*to_arrays(module))
                if isinstance(module, nn.LayerNorm)
                else Dense(*to_arrays(cast("nn.Linear", module)), activation)
                for module, activation in zip(self.transforms, self.activations, strict=True)
            ),
            final_norm=layer_norm(self.final_norm),
        )


def joined(layer: LayerModule, parts: Sequence[str]) -> Linear:
    """Parts of a layer as one matrix, side by side."""
    arrays = [to_arrays(getattr(layer, part)) for part in parts]
    weights, biases = zip(*arrays, strict=True)
    return Linear(np.concatenate(weights, 1), np.concatenate(biases))


def joined_outputs(layer: LayerModule, parts: Sequence[str], x: Tensor) -> Tensor:
    """What the matrix that ``joined`` gives makes of ``x``."""
    return torch.cat([getattr(layer, part)(x) for part in parts], -1)


def taken_apart(layer: LayerModule, parts: Sequence[str], linear: Linear) -> dict[str, Linear]:
    """The parts of a matrix like the one that ``joined`` gives, by their names."""
    widths = [len(getattr(layer, part).bias) for part in parts]
    ends = np.cumsum(widths)[:-1]
    pieces = zip(np.split(linear.weight, ends, 1), np.split(linear.bias, ends), strict=True)
    return dict(zip(parts, (Linear(*map(np.ascontiguousarray, p)) for p in pieces), strict=True))


def through(layers: Iterable[LayerModule], x: Tensor, mask: Tensor | None) -> Tensor:
    """The output ``(batch, tokens, dim)`` float32 of the last of these layers."""
    for layer in layers:
        x = layer(x, mask)
    return x.float()


def turned(query: Tensor, key: Tensor, theta: float) -> tuple[Tensor, Tensor]:
    """Queries and keys ``(batch, heads, tokens, head_dim)`` turned by their positions' angles."""
    tables = rotary_tables(theta, query.shape[-1], query.shape[-2])
    cosines, sines = (torch.from_numpy(table).to(query.device, query.dtype) for table in tables)

    def turn(x: Tensor) -> Tensor:
        first, second = x.chunk(2, -1)
        return torch.cat([first * cosines - second * sines, second * cosines + first * sines], -1)

    return turn(query), turn(key)


def pool(x: Tensor, mask: Tensor | None, pooling: Pooling) -> Tensor:
    """``(batch, tokens, dim) -> (batch, dim)``, without the padding."""
    if pooling is Pooling.CLS:
        return x[:, 0]
    if mask is None:
        mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
    if pooling is Pooling.MAX:
        return x.masked_fill(~mask[..., None], -torch.inf).amax(1)
    weights = mask.to(x.dtype)
    count = weights.sum(1, keepdim=True)
    if pooling is Pooling.MEAN_SQRT:
        count = count.sqrt()
    elif pooling is Pooling.WEIGHTED:
        weights = weights * weights.cumsum(1)
        count = weights.sum(1, keepdim=True)
    elif pooling is Pooling.LAST:
        weights = weights * (weights.cumsum(1) == count)
        count = torch.ones_like(count)
    return (x * (weights / count)[..., None]).sum(1)


def linear_module(linear: Linear) -> nn.Linear:
    """A module with a copy of the arrays; torch stores the weight as ``(out, in)``."""
    module = nn.Linear(*linear.weight.shape)
    return filled(module, linear.weight.T, linear.bias)


def norm_module(norm: LayerNorm, eps: float) -> nn.LayerNorm:
    """A module with a copy of the arrays."""
    return filled(nn.LayerNorm(len(norm.weight), eps), norm.weight, norm.bias)


def filled(module: Affine, weight: FloatArray, bias: FloatArray) -> Affine:
    """The module with these numbers copied into it."""
    with torch.no_grad():
        module.weight.copy_(torch.from_numpy(np.ascontiguousarray(weight)))
        module.bias.copy_(torch.from_numpy(bias))
    return module


def layer_norm(module: nn.Module) -> LayerNorm | None:
    """The norm of a module; None for one that does nothing."""
    return LayerNorm(*to_arrays(module)) if isinstance(module, nn.LayerNorm) else None


def to_arrays(module: nn.Linear | nn.LayerNorm) -> tuple[FloatArray, FloatArray]:
    """Weight and bias; a matrix is turned to ``(in, out)``."""
    weight: Tensor = module.weight
    return to_array(weight.T if weight.ndim == 2 else weight), to_array(module.bias)


def to_array(tensor: Tensor) -> FloatArray:
    """A contiguous float32 array on the CPU."""
    array: FloatArray = tensor.detach().float().cpu().numpy()
    return np.ascontiguousarray(array)
