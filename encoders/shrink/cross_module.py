"""A cross-encoder as a torch module: what trains, and what gives scores while it is shrunk."""

from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from trimseek.encoders.checkpoint import Checkpoint, separator_between
from trimseek.encoders.families import FAMILIES
from trimseek.encoders.head import ScoreHead
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.shrink.module import EncoderModule, linear_module, to_arrays
from trimseek.encoders.weights import Linear

INITIAL_DEVIATION = 0.02  # of a new head's weights, as BERT's


class CrossEncoderModule(nn.Module):
    """Token ids of pairs to one score each; ValueError for a checkpoint without a head."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        if checkpoint.head is None:
            raise ValueError(f"{checkpoint.name} has no head")
        self.origin = checkpoint
        self.encoder = EncoderModule(checkpoint.weights, Pooling.CLS, normalize=False)
        self.dense = linear_module(checkpoint.head.dense)
        self.out = linear_module(checkpoint.head.out)
        self.activation = checkpoint.head.activation

    def forward(self, ids: Tensor, mask: Tensor | None = None) -> Tensor:
        """``(batch, tokens)`` to scores ``(batch,)`` float32."""
        hidden = self.dense(self.encoder(ids, mask))
        if self.activation == "tanh":
            hidden = torch.tanh(hidden)
        elif self.activation == "relu":
            hidden = functional.relu(hidden)
        else:
            hidden = functional.gelu(hidden)
        return cast(Tensor, self.out(hidden)[:, 0])

    def checkpoint(self) -> Checkpoint:
        """The checkpoint that it came from, with the weights as they are now."""
        dense, out = (Linear(*to_arrays(module)) for module in (self.dense, self.out))
        head = ScoreHead(dense, self.activation, out)
        return replace(self.origin, weights=self.encoder.weights(), head=head)


def with_new_head(checkpoint: Checkpoint, seed: int) -> Checkpoint:
    """A cross-encoder of an encoder of single texts, with a random head, to be trained."""
    generator = torch.Generator().manual_seed(seed)
    dim, separator = checkpoint.weights.dim, None
    if FAMILIES[checkpoint.architecture][0].pair_types:
        separator = separator_between(checkpoint.tokenizer, checkpoint.weights)

    def random(rows: int, columns: int) -> Linear:
        weight = INITIAL_DEVIATION * torch.randn(rows, columns, generator=generator)
        return Linear(weight.numpy(), torch.zeros(columns).numpy())

    return replace(
        checkpoint,
        weights=replace(checkpoint.weights, separator=separator),
        pooling=Pooling.CLS,
        normalize=False,
        prompts={},
        truncate_dim=None,
        head=ScoreHead(random(dim, dim), "tanh", random(dim, 1)),
    )
