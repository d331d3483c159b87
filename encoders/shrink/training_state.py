"""What an interrupted training goes on from: weights, moments and progress, in one file."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from trimseek.atomic import atomic_file
from trimseek.errors import EncoderError

if TYPE_CHECKING:
    from encoders.shrink.align import Aligner


class Validation(NamedTuple):
    """On held-out texts: mean cosine to the teacher, and overlap of the 10 nearest of the bank.

    ``share``: of the trained weights, where they were averaged with those before.
    """

    step: int
    seconds: float
    cosine: float
    overlap: float
    share: float = 1.0


def save_state(aligner: "Aligner", path: Path) -> None:
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


def load_state(aligner: "Aligner", path: Path) -> bool:
    """Go on from what ``save_state`` wrote; False if there is nothing or it was another training.

    EncoderError if the file is damaged.
    """
    if not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if comparable(progress["settings"]) != comparable(asdict(aligner.settings)):
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


def comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings that must be the same to go on: all but how long there is."""
    return {name: value for name, value in settings.items() if name != "minutes"}


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Those whose names begin so, without the prefix."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
