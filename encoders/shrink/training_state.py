"""The file of an interrupted training: weights and their averages, AdamW's moments, progress."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn, optim

from trimseek.atomic import atomic_file
from trimseek.encoders.shrink.averaging import WeightAverage
from trimseek.errors import EncoderError


class TrainingState(NamedTuple):
    """The progress of a training.

    ``elapsed``: seconds. ``history``: the fields of each validation. ``settings``: their fields.
    """

    step: int
    elapsed: float
    history: list[dict[str, Any]]
    settings: dict[str, Any]


def save_state(
    state: TrainingState,
    module: nn.Module,
    optimizer: optim.Optimizer,
    path: Path,
    averages: Mapping[str, WeightAverage],
) -> None:
    """Write all that resuming needs to one safetensors file, wholly or not at all."""
    tensors = {f"module.{name}": value for name, value in module.state_dict().items()}
    for kind, average in averages.items():
        tensors |= {f"{kind}.{name}": value for name, value in average.average.items()}
    for i, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{name}": value for name, value in moments.items()}
    progress = state._asdict()
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_file(path) as temporary:
        save_file(tensors, temporary, {"progress": json.dumps(progress)})


def load_state(
    path: Path,
    module: nn.Module,
    optimizer: optim.Optimizer,
    settings: dict[str, Any],
    averages: Mapping[str, WeightAverage],
) -> TrainingState | None:
    """Restore module, averages and optimizer from a file of ``save_state``; returns the progress.

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
        for kind, average in averages.items():
            average.average.update(without_prefix(f"{kind}.", tensors))
        state = optimizer.state_dict()
        for name, value in without_prefix("optimizer.", tensors).items():
            i, _, moment = name.partition(".")
            state["state"].setdefault(int(i), {})[moment] = value
        optimizer.load_state_dict(state)
        return TrainingState(**progress)
    except (SafetensorError, OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
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
