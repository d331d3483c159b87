"""Alignment: train a small encoder so that its vectors are the full encoder's, without labels.

The loss of a text with the teacher's vector t and the student's s is

    (1 - cos(s, t)) + weight * KL(softmax(c . t / tau) || softmax(c . s / tau))

over candidates c, the teacher's vectors of passages near the texts of the batch: distillation of
embeddings as in Reimers & Gurevych 2020, with the ranking term of KALE (Wang et al. 2023).
"""

import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from encoders.batches import token_batches
from encoders.shrink.calibration import Ids, padded
from encoders.shrink.module import EncoderModule
from encoders.weights import FloatArray
from trimseek.atomic import atomic_file
from trimseek.errors import EncoderError

PATIENCE = 6  # validations without a better one until training ends
OVERLAP = 10
TOKENS = 8192  # of a validation batch
PROBES = 8
SEARCHED = 16_384
ITSELF = 0.9999  # cosine


@dataclass(frozen=True)
class AlignmentSettings:
    """How long and how fast.

    ``minutes``: wall-clock budget, or instead ``steps``, which can be repeated exactly. Over it
    the learning rate falls along a half cosine from ``learning_rate`` to nothing, after
    ``warm_up`` of it. ``ranking``: weight of the ranking term,
    with ``temperature`` tau and ``neighbours`` candidates for each text.
    """

    minutes: float
    steps: int | None = None
    batch: int = 256
    learning_rate: float = 1e-3
    warm_up: float = 0.02
    weight_decay: float = 0.01
    clip: float = 1.0
    ranking: float = 1.0
    temperature: float = 0.05
    neighbours: int = 4
    validate_every: float = 5.0
    seed: int = 0


class TrainingTexts(NamedTuple):
    """Token ids of each text, and the teacher's vectors ``(n, dim)`` float16 or float32.

    ``bank``: the teacher's vectors of candidates; ``near``: positions in it ``(n, neighbours)``.
    """

    ids: Sequence[Ids]
    vectors: NDArray[np.floating]
    bank: NDArray[np.floating]
    near: NDArray[np.int32]


def length_batches(
    lengths: Sequence[int], size: int, chosen: np.random.Generator
) -> Iterator[NDArray[np.int64]]:
    """Positions in batches of equal length as far as possible, shuffled; endless."""
    known = np.asarray(lengths)
    while True:
        order = np.lexsort((chosen.random(len(known)), known))
        batches = [order[i : i + size] for i in range(0, len(order), size)]
        for i in chosen.permutation(len(batches)):
            yield batches[i]


class Validation(NamedTuple):
    """On held-out texts: mean cosine to the teacher, and overlap of the 10 nearest of the bank."""

    step: int
    seconds: float
    cosine: float
    overlap: float


class Aligner:
    """Trains ``module`` on ``texts``; ``run`` to the end of the budget.

    ``checkpoint``: a file that an interrupted training goes on from. ``half``: matrix products
    in bfloat16 (on a GPU, or a CPU that has them).
    """

    def __init__(
        self,
        module: EncoderModule,
        texts: TrainingTexts,
        held_out: TrainingTexts,
        settings: AlignmentSettings,
        *,
        checkpoint: Path | None = None,
        device: str = "cpu",
        half: bool = False,
        report: Callable[[Validation, float], None] = lambda _validation, _loss: None,
    ) -> None:
        torch.manual_seed(settings.seed)
        self.module = module.to(device).train()
        self.texts, self.held_out, self.settings = texts, held_out, settings
        self.checkpoint, self.device, self.half, self.report = checkpoint, device, half, report
        self.bank = torch.from_numpy(np.asarray(texts.bank)).to(device)
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
        batches = length_batches(
            lengths, settings.batch, np.random.default_rng([settings.seed, self.step])
        )
        next_validation = self.elapsed + settings.validate_every * 60
        loss = 0.0
        while self.progress() < 1:
            loss += 0.02 * (self.train_step(next(batches)) - loss)
            if self.elapsed >= next_validation:
                next_validation += settings.validate_every * 60
                self.validate(loss)
                if self.checkpoint is not None:
                    save_state(self, self.checkpoint)
                if self.stalled():
                    break
        self.validate(loss)
        return self.history

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
        teacher = np.asarray(self.held_out.vectors, np.float32)
        bank = np.asarray(self.held_out.bank, np.float32)
        theirs, ours = (top(each @ bank.T) for each in (teacher, vectors))
        shared = [len(set(a) & set(b)) / len(a) for a, b in zip(theirs, ours, strict=True)]
        cosine = (vectors * teacher).sum(1) / np.linalg.norm(vectors, axis=1)
        cosine /= np.linalg.norm(teacher, axis=1)
        found = Validation(self.step, self.elapsed, float(cosine.mean()), float(np.mean(shared)))
        self.history.append(found)
        self.report(found, loss)

    def stalled(self) -> bool:
        """Whether the last validations were no better than the best before them."""
        cosines = [each.cosine for each in self.history]
        return len(cosines) > PATIENCE and max(cosines[-PATIENCE:]) <= max(cosines[:-PATIENCE])


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


def neighbours(
    vectors: NDArray[np.floating], bank: NDArray[np.floating], k: int
) -> NDArray[np.int32]:
    """Positions in the bank of the ``k`` nearest of each vector, the vector itself left out."""
    import faiss

    dim = bank.shape[1]
    lists = max(1, int(len(bank) ** 0.5))
    index: Any = faiss.index_factory(dim, f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.nprobe = PROBES
    full = np.asarray(bank, np.float32)
    index.train(full[:: max(1, len(full) // (64 * lists))])
    index.add(full)
    found = np.empty((len(vectors), k), np.int32)
    for start in range(0, len(vectors), SEARCHED):
        scores, near = index.search(
            np.asarray(vectors[start : start + SEARCHED], np.float32), k + 1
        )
        own = scores[:, :1] > ITSELF
        found[start : start + SEARCHED] = np.where(own, near[:, 1:], near[:, :-1])
    return np.where(found < 0, 0, found)


def save_state(aligner: Aligner, path: Path) -> None:
    """Everything that training needs to go on, in one safetensors file, wholly or not at all."""
    tensors = {f"module.{name}": value for name, value in aligner.module.state_dict().items()}
    for i, moments in aligner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in moments.items()}
    progress = {
        "step": aligner.step,
        "elapsed": aligner.elapsed,
        "history": [each._asdict() for each in aligner.history],
        "settings": asdict(aligner.settings),
    }
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, {"progress": json.dumps(progress)})


def load_state(aligner: Aligner, path: Path) -> bool:
    """Go on from what ``save_state`` wrote; False if there is nothing or it was another training.

    EncoderError if the file is damaged.
    """
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if progress["settings"] != asdict(aligner.settings):
            return False
        aligner.module.load_state_dict(under("module.", tensors))
        state = aligner.optimizer.state_dict()
        for name, value in under("optimizer.", tensors).items():
            i, _, moment = name.partition(".")
            state["state"].setdefault(int(i), {})[moment] = value
        aligner.optimizer.load_state_dict(state)
    except (SafetensorError, OSError, KeyError, RuntimeError, ValueError) as error:
        raise EncoderError(
            f"{path}: cannot go on from it: {error}; remove it to begin anew"
        ) from error
    aligner.step, aligner.elapsed = progress["step"], progress["elapsed"]
    aligner.history = [Validation(**each) for each in progress["history"]]
    return True


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, without the prefix."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
