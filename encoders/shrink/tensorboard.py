"""Validations, and the candidates of a search, as TensorBoard event files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trimseek.encoders.shrink.validation import Report, Validation
from trimseek.errors import MissingExtraError


def tensorboard_report(folder: Path) -> Report:
    """A report that writes each validation to event files in a folder, by its step.

    MissingExtraError without the extra ``tensorboard``.
    """
    writer = summary_writer(folder)

    def report(validation: Validation, loss: float) -> None:
        scalars = {"loss": loss, "cosine": validation.cosine, "overlap@10": validation.overlap}
        for name, value in scalars.items():
            writer.add_scalar(name, value, validation.step)
        writer.flush()

    return report


def tensorboard_candidates(folder: Path) -> Callable[[int, str, Mapping[str, float]], None]:
    """A report that writes each candidate's number, name and figures; as ``tensorboard_report``."""
    writer = summary_writer(folder)

    def report(number: int, name: str, figures: Mapping[str, float]) -> None:
        for figure, value in figures.items():
            writer.add_scalar(f"candidates/{figure}", value, number)
        writer.add_text("candidates", name, number)
        writer.flush()

    return report


def summary_writer(folder: Path) -> Any:
    """Writes event files; MissingExtraError without the extra ``tensorboard``."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("--tensorboard", "tensorboard") from None
    return SummaryWriter(str(folder))


def both(first: Report, second: Report) -> Report:
    """A report that calls both, in this order."""

    def report(validation: Validation, loss: float) -> None:
        first(validation, loss)
        second(validation, loss)

    return report
