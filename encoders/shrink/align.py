"""Alignment: train a small encoder so that its vectors are the full encoder's, without labels.

The loss of a text with the teacher's vector t and the student's s is

    (1 - cos(s, t)) + weight * KL(softmax(c . t / tau) || softmax(c . s / tau))

over candidates c, the teacher's vectors of texts near those of the batch: distillation of
embeddings (Reimers & Gurevych 2020), with a listwise ranking term (Cao et al. 2007). In the first
part of a training the student may also learn the teacher's states of each token, the last layer's
output, whose error is a share of their variance:

    mean over tokens |x_s - x_t|^2 / mean over tokens |x_t - mean of x_t|^2
"""

import math
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trimseek.encoders.checkpoint import Checkpoint
from trimseek.encoders.cpu import cpu_flags
from trimseek.encoders.quantize import Quantization
from trimseek.encoders.shrink.agreement import Agreement, encode
from trimseek.encoders.shrink.averaging import WeightAverage
from trimseek.encoders.shrink.calibration import padded
from trimseek.encoders.shrink.lessons import Lessons, length_batches
from trimseek.encoders.shrink.module import EncoderModule
from trimseek.encoders.shrink.rounding import round_in_place, rounded_in_place, run_rounded
from trimseek.encoders.shrink.training_state import TrainingState, load_state, save_state
from trimseek.encoders.shrink.validation import Report, Validation
from trimseek.encoders.weights import FloatArray

PATIENCE = 6  # validations without improvement until training ends
LOSS_DECAY = 0.02  # weight of a step's loss in the moving mean that is reported
SMALLEST = 1e-12
BATCH_TOKENS = 16_384  # at most, in a training batch; long texts then come in smaller batches


def silent(_validation: Validation, _loss: float) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class AlignmentSettings:
    """How long and how fast.

    ``minutes``: wall-clock budget, or instead ``steps``, which can be repeated exactly. Over it
    the learning rate falls along a half cosine from ``learning_rate`` to nothing, after
    ``warm_up`` of it. ``ranking``: weight of the ranking term, with ``temperature`` tau and
    ``neighbours`` candidates for each text. ``states``: the share of the budget, from its
    beginning, in which the teacher's token states are learnt too. ``decay``: of the moving average
    of the weights, which is what is measured and kept. ``rounding``: the share of the budget, at
    its end, in which weights are rounded as they will be stored. ``table_rank``: of the change to
    the token table (``EncoderModule``). ``validate_every``: minutes.
    """

    minutes: float
    steps: int | None = None
    batch: int = 256
    learning_rate: float = 1e-3
    warm_up: float = 0.02
    weight_decay: float = 0.01
    clip: float = 1.0
    ranking: float = 0.02
    temperature: float = 0.05
    neighbours: int = 4
    states: float = 0.0
    decay: float = 0.0
    rounding: float = 0.0
    table_rank: int = 64
    validate_every: float = 3.0
    seed: int = 0


class Aligner:
    """Trains ``module`` on ``lessons``; see ``run``.

    ``teacher``: whose token states are learnt, if the settings say so. ``quantization``: how the
    weights will be stored; of fewer than 8 bits they are rounded from the first step, and at last.
    ``checkpoint``: a file that an interrupted training is resumed from. ``half``: matrix products
    in bfloat16, which is faster on a GPU, or on a CPU that has such instructions.
    """

    def __init__(
        self,
        module: EncoderModule,
        lessons: Lessons,
        settings: AlignmentSettings,
        *,
        teacher: EncoderModule | None = None,
        quantization: Quantization | None = None,
        checkpoint: Path | None = None,
        device: str = "cpu",
        half: bool = False,
        report: Report = silent,
    ) -> None:
        self.quantization = quantization or Quantization()
        torch.manual_seed(settings.seed)
        self.module = module.to(device).train()
        self.texts, self.held_out, self.settings = *lessons, settings
        self.agreement = Agreement(self.held_out)
        self.checkpoint, self.device, self.half, self.report = checkpoint, device, half, report
        self.bank = torch.from_numpy(self.texts.bank).to(device)
        self.teacher = None if teacher is None else teacher.to(device).eval()
        self.average = WeightAverage(module, settings.decay)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(module, settings.weight_decay), lr=settings.learning_rate, fused=True
        )
        self.step, self.elapsed = 0, 0.0
        self.history: list[Validation] = []

    def run(self) -> list[Validation]:
        """Train until the budget is spent or nothing improves; returns all validations.

        EncoderError if the file to resume from is damaged.
        """
        settings = self.settings
        if self.checkpoint is not None:
            self.resume(self.checkpoint)
        self.elapsed_before, self.started = self.elapsed, time.monotonic()
        lengths = [len(ids) for ids in self.texts.ids]
        batches = length_batches(lengths, settings.batch, settings.seed, self.step, BATCH_TOKENS)
        next_validation = self.elapsed + settings.validate_every * 60
        loss = 0.0
        try:
            while self.progress() < 1:
                loss += LOSS_DECAY * (self.train_step(next(batches)) - loss)
                if self.elapsed >= next_validation:
                    next_validation += settings.validate_every * 60
                    self.validate(loss)
                    self.save()
                    if self.stalled():
                        break
        except KeyboardInterrupt:
            self.save()
            raise
        self.average.take()
        self.validate(loss)
        if self.quantization.codes:
            round_in_place(self.module, self.quantization)
        return self.history

    def save(self) -> None:
        """Write the file that ``resume`` reads, if there is to be one."""
        if self.checkpoint is not None:
            history = [validation._asdict() for validation in self.history]
            progress = TrainingState(self.step, self.elapsed, history, asdict(self.settings))
            save_state(
                progress, self.module, self.optimizer, self.checkpoint, {"average": self.average}
            )

    def resume(self, checkpoint: Path) -> None:
        """Go on from a file that ``save`` wrote, if it was written with the same settings."""
        settings = asdict(self.settings)
        averages = {"average": self.average}
        state = load_state(checkpoint, self.module, self.optimizer, settings, averages)
        if state is not None:
            self.step, self.elapsed = state.step, state.elapsed
            self.history = [Validation(**fields) for fields in state.history]

    def progress(self) -> float:
        """The share of the budget that is spent, from 0 to 1; also updates ``elapsed``."""
        self.elapsed = self.elapsed_before + time.monotonic() - self.started
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        return self.elapsed / (60 * self.settings.minutes)

    def train_step(self, batch: NDArray[np.int64]) -> float:
        """One step of AdamW on the texts at these positions; returns the loss."""
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(self.progress(), settings.warm_up)
        ids, mask = padded([self.texts.ids[i] for i in batch], self.device)
        teacher = torch.from_numpy(self.texts.vectors[batch]).to(self.device).float()
        near = torch.from_numpy(self.texts.near[batch, : settings.neighbours].ravel())
        student, states_loss = self.student_vectors(ids, mask)
        candidates = self.bank[near.to(self.device).long()].float()
        loss = alignment_loss(student, teacher, candidates, settings) + states_loss
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), settings.clip)
        self.optimizer.step()
        self.step += 1
        self.average.update(self.step)
        return float(loss.detach())

    def student_vectors(self, ids: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The module's vectors ``(batch, dim)``, and the error of its token states or 0."""
        none = torch.zeros((), device=self.device)
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            if self.teacher is not None and self.progress() < self.settings.states:
                states = self.module.states(ids, mask)
                with torch.no_grad():
                    theirs = self.teacher.states(ids, mask)
                return self.module.pool(states, mask), states_loss(states, theirs, mask)
            if self.rounds():
                return run_rounded(self.module, ids, mask, self.quantization), none
            return self.module(ids, mask), none

    def rounds(self) -> bool:
        """Whether weights are rounded at this step."""
        return self.quantization.codes or self.progress() >= 1 - self.settings.rounding

    def validate(self, loss: float) -> None:
        """Measure the average of the weights on the held-out texts, and report that.

        As it will be stored, where it is trained so from the beginning.
        """
        codes = self.quantization.codes
        stored = rounded_in_place(self.module, self.quantization) if codes else nullcontext()
        with self.average.in_place(), stored:
            found = self.agreement.measure(lambda ids: encode(self.module, ids, self.device))
        validation = Validation(self.step, self.elapsed, *found)
        self.history.append(validation)
        self.report(validation, loss)

    def stalled(self) -> bool:
        """Whether, past half of the budget, ``PATIENCE`` validations brought no better cosine."""
        cosines = [validation.cosine for validation in self.history]
        late = self.progress() > 0.5 and len(cosines) > PATIENCE
        return late and max(cosines[-PATIENCE:]) <= max(cosines[:-PATIENCE])


def alignment_loss(
    student: Tensor, teacher: Tensor, candidates: Tensor, settings: AlignmentSettings
) -> Tensor:
    """The formula at the top of this file, as the mean over a batch.

    ``student`` and ``teacher (batch, dim)``; ``candidates (candidates, dim)``.
    """
    loss = 1 - functional.cosine_similarity(student, teacher).mean()
    if not settings.ranking:
        return loss
    teacher_scores = teacher @ candidates.T / settings.temperature
    student_scores = student @ candidates.T / settings.temperature
    divergence = functional.kl_div(
        student_scores.log_softmax(1),
        teacher_scores.log_softmax(1),
        reduction="batchmean",
        log_target=True,
    )
    return loss + settings.ranking * divergence


def states_loss(student: Tensor, teacher: Tensor, mask: Tensor | None) -> Tensor:
    """The second formula at the top of this file; states ``(batch, tokens, dim)``."""
    if mask is not None:
        student, teacher = student[mask], teacher[mask]
    student, teacher = student.flatten(0, -2), teacher.flatten(0, -2)
    error = (student - teacher).square().sum(1).mean()
    return error / (teacher - teacher.mean(0)).square().sum(1).mean().clamp_min(SMALLEST)


def schedule(progress: float, warm_up: float) -> float:
    """Share of the learning rate: a linear warm-up, then a half cosine to 0."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Groups for the optimizer: matrices have weight decay, biases and norms have none."""
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    matrices = [parameter for parameter in trained if parameter.ndim > 1]
    vectors = [parameter for parameter in trained if parameter.ndim <= 1]
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]


def train(
    student: Checkpoint,
    lessons: Lessons,
    settings: AlignmentSettings,
    *,
    change: tuple[FloatArray, FloatArray] | None = None,
    teacher: Checkpoint | None = None,
    quantization: Quantization | None = None,
    state: Path | None = None,
    report: Report = silent,
    trains_table: bool = False,
) -> tuple[EncoderModule, list[Validation]]:
    """Train the student, on a GPU if there is one; returns it and the validations.

    ``change``: U and V of its token table's change, to begin with (``EncoderModule``). ``teacher``:
    whose token states are learnt, if the settings say so. ``quantization``: as ``Aligner``.
    ``state``: a file that an interrupted
    training is resumed from; it is removed at the end. ``trains_table``: the table itself, which is
    all that a static encoder has.
    """
    torch.manual_seed(settings.seed)
    module = EncoderModule(
        student.weights,
        student.pooling,
        normalize=student.normalize,
        rank=0 if trains_table else settings.table_rank,
        trains_table=trains_table,
    )
    if change is not None:
        module.set_change(*change)
    full = None
    if teacher is not None:
        full = EncoderModule(teacher.weights, teacher.pooling, normalize=teacher.normalize)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    half = device == "cuda" or bool({"avx512_bf16", "amx_bf16"} & set(cpu_flags()))
    aligner = Aligner(
        module,
        lessons,
        settings,
        teacher=full,
        quantization=quantization,
        checkpoint=state,
        device=device,
        half=half,
        report=report,
    )
    history = aligner.run()
    if state is not None:
        state.unlink(missing_ok=True)
    return module, history
