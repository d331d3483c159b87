"""Alignment: train a small encoder so that its vectors are the full encoder's, without labels.

The loss of a text with the teacher's vector t and the student's s is

    (1 - cos(s, t)) + weight * KL(softmax(c . t / tau) || softmax(c . s / tau))

over candidates c, the teacher's vectors of passages near the texts of the batch: distillation of
embeddings as in Reimers & Gurevych 2020, with the ranking term of KALE (Wang et al. 2023).
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from encoders.aligned import TokenChange
from encoders.batches import token_batches
from encoders.checkpoint import Checkpoint
from encoders.cpu import cpu_flags
from encoders.shrink.calibration import Ids, padded
from encoders.shrink.lessons import Lessons, TrainingTexts, length_batches
from encoders.shrink.module import EncoderModule
from encoders.shrink.scalars import Report
from encoders.shrink.training_state import Validation, load_state, save_state
from encoders.weights import EncoderWeights, FloatArray

PATIENCE = 6  # validations without a better one until training ends
OVERLAP = 10
LOSS_DECAY = 0.02  # of the moving mean that is reported
TOKENS = 8192  # of a validation batch
BATCH_TOKENS = 16_384  # of a training batch: fewer texts where they are long
SHARES = (0.3, 0.5, 0.7, 0.85, 1.0)  # of the trained weights, in means with those before


def silent(_validation: Validation, _loss: float) -> None:
    """Reports nothing."""


@dataclass(frozen=True)
class AlignmentSettings:
    """How long and how fast.

    ``minutes``: wall-clock budget, or instead ``steps``, which can be repeated exactly. Over it
    the learning rate falls along a half cosine from ``learning_rate`` to nothing, after
    ``warm_up`` of it. ``ranking``: weight of the ranking term, with ``temperature`` tau and
    ``neighbours`` candidates for each text. ``table_rank``: of the change to the token table
    (``EncoderModule``). ``validate_every``: minutes.
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
    table_rank: int = 64
    validate_every: float = 3.0
    seed: int = 0


class Aligner:
    """Trains ``module`` on ``lessons``; ``run`` to the end of the budget.

    ``checkpoint``: a file that an interrupted training goes on from. ``half``: matrix products
    in bfloat16 (on a GPU, or a CPU that has them).
    """

    def __init__(
        self,
        module: EncoderModule,
        lessons: Lessons,
        settings: AlignmentSettings,
        *,
        checkpoint: Path | None = None,
        device: str = "cpu",
        half: bool = False,
        report: Report = silent,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.module = module.to(device).train()
        self.texts, self.held_out, self.settings = *lessons, settings
        self.checkpoint, self.device, self.half, self.report = checkpoint, device, half, report
        self.bank = torch.from_numpy(self.texts.bank).to(device)
        self.optimizer = torch.optim.AdamW(
            parameter_groups(module, settings.weight_decay), lr=settings.learning_rate, fused=True
        )
        self.step, self.elapsed = 0, 0.0
        self.history: list[Validation] = []

    def run(self) -> list[Validation]:
        """Train until the budget is spent or nothing improves; what was validated."""
        settings = self.settings
        if self.checkpoint is not None:
            load_state(self, self.checkpoint)
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
        self.validate(loss)
        return self.history

    def save(self) -> None:
        if self.checkpoint is not None:
            save_state(self, self.checkpoint)

    def progress(self) -> float:
        """How much of the budget is spent, 0 to 1."""
        self.elapsed = self.elapsed_before + time.monotonic() - self.started
        if self.settings.steps is not None:
            return self.step / self.settings.steps
        return self.elapsed / (60 * self.settings.minutes)

    def train_step(self, batch: NDArray[np.int64]) -> float:
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * schedule(self.progress(), settings.warm_up)
        ids, mask = padded([self.texts.ids[i] for i in batch], self.device)
        teacher = torch.from_numpy(self.texts.vectors[batch]).to(self.device).float()
        near = torch.from_numpy(self.texts.near[batch, : settings.neighbours].ravel())
        with torch.autocast(self.device, torch.bfloat16, enabled=self.half):
            student = self.module(ids, mask)
        candidates = self.bank[near.to(self.device).long()].float()
        loss = alignment_loss(student, teacher, candidates, settings)
        self.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self.module.parameters(), settings.clip)
        self.optimizer.step()
        self.step += 1
        return float(loss.detach())

    def validate(self, loss: float) -> None:
        vectors = encode(self.module, self.held_out.ids, self.device)
        found = Validation(self.step, self.elapsed, *agreement(vectors, self.held_out))
        self.history.append(found)
        self.report(found, loss)

    def stalled(self) -> bool:
        """Whether nothing got better for long, though the learning rate has been falling."""
        cosines = [each.cosine for each in self.history]
        late = self.progress() > 0.5 and len(cosines) > PATIENCE
        return late and max(cosines[-PATIENCE:]) <= max(cosines[:-PATIENCE])


def agreement(vectors: FloatArray, texts: TrainingTexts) -> tuple[float, float]:
    """Mean cosine of ``(n, dim)`` vectors to the teacher's, and share of the nearest that agree."""
    teacher = np.asarray(texts.vectors, np.float32)
    bank = np.asarray(texts.bank, np.float32)
    theirs, ours = (top(each @ bank.T) for each in (teacher, vectors))
    shared = [len(set(a) & set(b)) / len(a) for a, b in zip(theirs, ours, strict=True)]
    cosine = (vectors * teacher).sum(1) / np.linalg.norm(vectors, axis=1)
    cosine /= np.linalg.norm(teacher, axis=1)
    return float(cosine.mean()), float(np.mean(shared))


def take_best_mean(
    module: EncoderModule, before: Mapping[str, Tensor], held_out: TrainingTexts
) -> tuple[float, float, float]:
    """Set a trained module to its best mean with the weights ``before`` training.

    Best by the cosine on held-out texts. Weights trained further lie in one valley with those they
    began from, and what is between them often generalizes better than either (Wortsman et al. 2022,
    WiSE-FT). Returns the share of the trained weights, and ``agreement``.
    """
    device = next(module.parameters()).device
    after = {name: value.clone() for name, value in module.state_dict().items()}

    def take(share: float) -> None:
        module.load_state_dict(
            {name: torch.lerp(before[name].to(device), after[name], share) for name in after}
        )

    found = []
    for share in SHARES:
        take(share)
        found.append((share, *agreement(encode(module, held_out.ids, str(device)), held_out)))
    best = max(found, key=lambda each: each[1])
    take(best[0])
    return best


def alignment_loss(
    student: Tensor, teacher: Tensor, candidates: Tensor, settings: AlignmentSettings
) -> Tensor:
    """The module's formula: ``(batch, dim)`` twice and ``(candidates, dim)`` to a scalar."""
    loss = 1 - functional.cosine_similarity(student, teacher).mean()
    if not settings.ranking:
        return loss
    theirs = teacher @ candidates.T / settings.temperature
    ours = student @ candidates.T / settings.temperature
    divergence = functional.kl_div(
        ours.log_softmax(1), theirs.log_softmax(1), reduction="batchmean", log_target=True
    )
    return loss + settings.ranking * divergence


def schedule(progress: float, warm_up: float) -> float:
    """Share of the learning rate: a linear warm-up, then a half cosine to 0."""
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - warm_up) / (1 - warm_up))))


def parameter_groups(module: EncoderModule, weight_decay: float) -> list[dict[str, object]]:
    """Matrices decay, biases and norms do not."""
    known = [each for each in module.parameters() if each.requires_grad]
    return [
        {"params": [each for each in known if each.ndim > 1], "weight_decay": weight_decay},
        {"params": [each for each in known if each.ndim <= 1], "weight_decay": 0.0},
    ]


def encode(module: EncoderModule, texts: Sequence[Ids], device: str = "cpu") -> FloatArray:
    """Vectors ``(n, dim) float32`` of tokenized texts, in batches of similar length."""
    vectors: FloatArray = np.empty((len(texts), module.origin.dim), np.float32)
    was_training = module.training
    module.eval()
    with torch.inference_mode():
        for batch in token_batches([len(each) for each in texts], TOKENS):
            ids, mask = padded([texts[i] for i in batch], device)
            vectors[batch] = module(ids, mask).float().cpu().numpy()
    module.train(was_training)
    return vectors


def top(scores: FloatArray) -> NDArray[np.int64]:
    return np.argpartition(-scores, OVERLAP, axis=1)[:, :OVERLAP]


def align(
    student: Checkpoint,
    lessons: Lessons,
    settings: AlignmentSettings,
    *,
    state: Path | None = None,
    report: Report = silent,
) -> EncoderWeights:
    """The student's weights after training; as ``train``."""
    return train(student, lessons, settings, state=state, report=report)[0].weights()


def train(
    student: Checkpoint,
    lessons: Lessons,
    settings: AlignmentSettings,
    *,
    change: TokenChange | None = None,
    averaged: bool = False,
    state: Path | None = None,
    report: Report = silent,
) -> tuple[EncoderModule, list[Validation]]:
    """The trained student, and how it went; on a GPU if there is one.

    ``change``: of the token table, to begin from. ``averaged``: end with ``take_best_mean``.
    ``state``: a file that an interrupted training goes on from, removed at its end.
    """
    torch.manual_seed(settings.seed)
    module = EncoderModule(
        student.weights, student.pooling, normalize=student.normalize, rank=settings.table_rank
    )
    if change is not None:
        module.change_tokens(change)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    before = None
    if averaged:
        before = {name: value.clone() for name, value in module.state_dict().items()}
    half = device == "cuda" or bool({"avx512_bf16", "amx_bf16"} & set(cpu_flags()))
    aligner = Aligner(
        module, lessons, settings, checkpoint=state, device=device, half=half, report=report
    )
    history = aligner.run()
    if before is not None:
        share, cosine, overlap = take_best_mean(module, before, lessons.held_out)
        mean = history[-1]._replace(cosine=cosine, overlap=overlap, share=share)
        history.append(mean)
    if state is not None:
        state.unlink(missing_ok=True)
    return module, history
