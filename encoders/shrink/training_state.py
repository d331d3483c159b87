"""The file of an interrupted training: weights and their average, AdamW's moments, progress."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn, optim

from trimseek.atomic import atomic_file
from trimseek.encoders.shrink.averaging import WeightAverage
from trimseek.encoders.shrink.validation import Validation
from trimseek.errors import EncoderError


class TrainingState(NamedTuple):
    """The progress of a training; ``elapsed`` in seconds, ``settings`` as a dict of its fields."""

    step: int
    elapsed: float
    history: list[Validation]
    settings: dict[str, Any]


def save_state(
    state: TrainingState,
    module: nn.Module,
    optimizer: optim.Optimizer,
    path: Path,
    average: WeightAverage | None = None,
) -> None:
    """Write all that resuming needs to one safetensors file, wholly or not at all."""
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.average.items()}
    for i, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in moments.items()}
    history = [validation._asdict() for validation in state.history]
    progress = state._asdict() | {"history": history}
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, {"progress": json.dumps(progress)})


def load_state(
    path: Path,
    module: nn.Module,
    optimizer: optim.Optimizer,
    settings: dict[str, Any],
    average: WeightAverage | None = None,
) -> TrainingState | None:
    """Restore module, average and optimizer from a file of ``save_state``, and return the progress.

    Returns None and changes nothing if there is no file or the training had other settings.
    EncoderError if the file is damaged.
    """
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            progress = json.loads(file.metadata()["progress"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if comparable(progress["settings"]) != comparable(settings):
            return None
        module.load_state_dict(without_prefix("module.", tensors))
        if average is not None:
            average.average.update(without_prefix("average.", tensors))
        state = optimizer.state_dict()
        for name, value in without_prefix("optimizer.", tensors).items():
            i, _, moment = name.partition(".")
            state["state"].setdefault(int(i), {})[moment] = value
        optimizer.load_state_dict(state)
        history = [Validation(**fields) for fields in progress["history"]]
        return TrainingState(progress["step"], progress["elapsed"], history, progress["settings"])
    except (SafetensorError, OSError, KeyError, RuntimeError, ValueError) as error:
        raise EncoderError(
            f"{path}: cannot go on from it: {error}; remove it to begin anew"
        ) from error


def comparable(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that must be equal to resume: all but the time."""
    return {name: value for name, value in settings.items() if name != "minutes"}


def without_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with the prefix, which is removed."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
