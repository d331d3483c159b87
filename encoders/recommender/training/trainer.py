"""Train a recommender on histories: each item is to be told from those before it.

SASRec's loss is the cross-entropy of the next item at every place of a history; BERT4Rec's that of
items that are masked (Cloze). Of all items where they are few enough, else of a sample of them with
the same expectation of the normalizer: full and sampled softmax, with which SASRec is no worse than
BERT4Rec (Klenitskiy & Vasilev 2023). A moving average of the weights is validated after each
epoch, and the one that does best is kept.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from trimseek.console import note
from trimseek.encoders.pooling import Pooling
from trimseek.encoders.recommender.histories import Found, HeldOut, History, measures, ranks
from trimseek.encoders.recommender.towers import Shape
from trimseek.encoders.shrink.agreement import encode
from trimseek.encoders.shrink.align import parameter_groups
from trimseek.encoders.shrink.averaging import WeightAverage
from trimseek.encoders.shrink.calibration import padded
from trimseek.encoders.shrink.lessons import length_batches
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.training_state import TrainingState, load_state, save_state
from trimseek.encoders.weights import EncoderWeights, FloatArray

MOST_IN_SOFTMAX = 50_000  # items; of more, as many are drawn for each batch as NEGATIVES says
NEGATIVES = 8_192
MASKED = 0.2  # share of a history's items
LAST_MASKED = 0.5  # share of histories of which only the last item is masked, as when asked
MOST_VALIDATED = 20_000  # users
WARM_UP = 100  # steps
BATCHES = (128, 1024)  # histories, at least and at most
STEPS = 200  # in an epoch, where batches between these allow it
LOSS_DECAY = 0.02  # weight of a step's loss in the moving mean that is reported


@dataclass(frozen=True)
class RecommenderSettings:
    """How long and how fast: ``minutes`` of wall clock at most, and ``patience`` epochs.

    So many epochs without improvement on validation end the training. ``batch``: histories; by
    default by how many there are (``batch_of``).
    ``decay``: of the moving average of the weights.
    """

    minutes: float = 60.0
    batch: int | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    dropout: float = 0.5
    patience: int = 10
    decay: float = 0.995
    clip: float = 5.0
    seed: int = 0


class Epoch(NamedTuple):
    """Measured on validation after so many steps and seconds; ``loss``: of training."""

    step: int
    seconds: float
    loss: float
    hit_rate: float
    ndcg: float


Report = Callable[[Epoch], None]


def note_epoch(epoch: Epoch) -> None:
    """Say on stderr how training goes."""
    note(
        f"  step {epoch.step:,}, {epoch.seconds / 60:.1f} min: loss {epoch.loss:.3f}; validation: "
        f"HR@10 {epoch.hit_rate:.4f}, NDCG@10 {epoch.ndcg:.4f}"
    )


def batch_of(histories: int) -> int:
    """Histories in a batch: more of a large log, whose steps are dear, as its items are many."""
    smallest, largest = BATCHES
    return min(largest, max(smallest, histories // STEPS))


class RecommenderTrainer:
    """Trains weights of a ``shape`` on histories; see ``run``.

    ``items``: how many there are; numbers of others are special tokens. ``state``: a file that an
    interrupted training is resumed from.
    """

    def __init__(
        self,
        weights: EncoderWeights,
        shape: Shape,
        items: int,
        histories: Sequence[History],
        validation: HeldOut,
        settings: RecommenderSettings,
        *,
        state: Path | None = None,
        device: str = "cpu",
        report: Report = note_epoch,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.shape, self.items, self.settings = shape, items, settings
        self.histories = [history.tolist() for history in histories]
        step = -(-len(validation.users) // MOST_VALIDATED) or 1
        self.validation = HeldOut(
            validation.users[::step],
            validation.histories[::step],
            validation.targets[::step],
            validation.again,
        )
        self.module = EncoderModule(
            weights, Pooling.LAST, normalize=False, trains_table=True, dropout=settings.dropout
        ).to(device)
        self.average = WeightAverage(self.module, settings.decay)
        self.best = WeightAverage(self.module, 0.0)
        groups = parameter_groups(self.module, settings.weight_decay)
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
        self.state, self.device, self.report = state, device, report
        self.generator = torch.Generator()
        self.step, self.elapsed = 0, 0.0
        self.epochs: list[Epoch] = []

    def run(self) -> EncoderWeights:
        """Train until the time is over or nothing improves; the weights that did best.

        EncoderError if the file to resume from is damaged.
        """
        if self.state is not None:
            self.resume(self.state)
        before, started = self.elapsed, time.monotonic()
        lengths = [len(history) for history in self.histories]
        batch = self.settings.batch or batch_of(len(lengths))
        each = -(-len(lengths) // batch)  # batches in an epoch
        batches = length_batches(lengths, batch, self.settings.seed, self.step)
        loss = 0.0
        while not self.is_over():
            share = 1 if not self.step else LOSS_DECAY
            loss += share * (self.train_step(next(batches)) - loss)
            self.elapsed = before + time.monotonic() - started
            if self.step % each == 0 or self.elapsed >= 60 * self.settings.minutes:
                self.validate(loss)
                self.save()
        self.best.take()
        return self.module.eval().weights()

    def is_over(self) -> bool:
        """Whether the time is over, or validation has not improved for long."""
        scores = [epoch.ndcg for epoch in self.epochs]
        patience = self.settings.patience
        stalled = len(scores) > patience and max(scores[-patience:]) <= max(scores[:-patience])
        return stalled or self.elapsed >= 60 * self.settings.minutes

    def train_step(self, batch: NDArray[np.int64]) -> float:
        """One step of AdamW on these histories; the loss."""
        self.module.train()
        warm = min(1.0, (self.step + 1) / WARM_UP)
        for group in self.optimizer.param_groups:
            group["lr"] = warm * self.settings.learning_rate
        self.generator.manual_seed(self.step)
        histories = [self.histories[i] for i in batch]
        states, targets = self.masked(histories) if self.shape.masked else self.following(histories)
        loss = self.loss(states, targets)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.settings.clip)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.step)
        return float(loss.detach())

    def following(self, histories: list[list[int]]) -> tuple[Tensor, Tensor]:
        """States of all places but the last ``(n, dim)``, and the items that follow ``(n,)``."""
        ids, mask = padded(histories, self.device)
        inputs = None if mask is None else mask[:, 1:]
        states = self.module.states(ids[:, :-1], inputs)
        if inputs is None:
            return states.flatten(0, 1), ids[:, 1:].flatten()
        return states[inputs], ids[:, 1:][inputs]

    def masked(self, histories: list[list[int]]) -> tuple[Tensor, Tensor]:
        """States of masked places ``(n, dim)``, and the items that were there ``(n,)``."""
        ids, mask = padded(histories, self.device)
        real = torch.ones_like(ids, dtype=torch.bool) if mask is None else mask
        last = real.sum(1) - 1
        hidden = torch.rand(ids.shape, generator=self.generator).to(self.device) < MASKED
        asked = torch.rand(len(ids), generator=self.generator).to(self.device) < LAST_MASKED
        hidden = (hidden & ~asked[:, None]) & real
        none = ~hidden.any(1)
        hidden[none, last[none]] = True
        states = self.module.states(ids.masked_fill(hidden, self.items + 1), mask)
        return states[hidden], ids[hidden]

    def loss(self, states: Tensor, targets: Tensor) -> Tensor:
        """Cross-entropy of the targets ``(n,)``, of all items or of a sample of them."""
        table = self.module.tokens[: self.items]
        if self.items <= MOST_IN_SOFTMAX:
            return functional.cross_entropy(states @ table.T, targets)
        drawn = torch.randint(self.items, (NEGATIVES,), generator=self.generator).to(self.device)
        own = (states * functional.embedding(targets, table)).sum(1, keepdim=True)
        # a drawn one stands for many, so that the sum is that of all on average
        others = states @ functional.embedding(drawn, table).T
        others = others + math.log((self.items - 1) / NEGATIVES)
        others = others.masked_fill(drawn[None, :] == targets[:, None], -torch.inf)
        scores = torch.cat([own, others], 1)
        return functional.cross_entropy(scores, torch.zeros_like(targets))

    def validate(self, loss: float) -> None:
        """Measure the average on validation, report that, and keep it if it is the best."""
        with self.average.in_place():
            found = self.measure(self.validation)
            if found.ndcg > max((epoch.ndcg for epoch in self.epochs), default=-1.0):
                self.best.update(self.step)
        self.epochs.append(Epoch(self.step, self.elapsed, loss, *found))
        self.report(self.epochs[-1])

    def measure(self, held_out: HeldOut) -> Found:
        """Hit rate and nDCG of what is held out."""
        vectors = self.vectors(held_out.histories)
        items = self.module.tokens[: self.items].detach().cpu().numpy()
        return measures(ranks(vectors, items, held_out.targets, held_out.histories))

    def vectors(self, histories: Sequence[History]) -> FloatArray:
        """Vectors ``(n, dim)`` of histories, of their latest items."""
        after = [self.items + 1] if self.shape.masked else []
        ids = [[*history[-self.shape.length :].tolist(), *after] for history in histories]
        return encode(self.module, ids, self.device)

    def save(self) -> None:
        """Write the file that ``resume`` reads, if there is to be one."""
        if self.state is not None:
            history = [epoch._asdict() for epoch in self.epochs]
            progress = TrainingState(self.step, self.elapsed, history, asdict(self.settings))
            save_state(progress, self.module, self.optimizer, self.state, self.averages)

    @property
    def averages(self) -> dict[str, WeightAverage]:
        """What is saved beside the weights."""
        return {"average": self.average, "best": self.best}

    def resume(self, path: Path) -> None:
        """Go on from a file that ``save`` wrote, if it was written with the same settings."""
        settings = asdict(self.settings)
        state = load_state(path, self.module, self.optimizer, settings, self.averages)
        if state is not None:
            self.step, self.elapsed = state.step, state.elapsed
            self.epochs = [Epoch(**fields) for fields in state.history]
            note(f"going on after {self.elapsed / 60:.1f} minutes")
