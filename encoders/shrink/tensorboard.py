"""Validations as TensorBoard event files."""

from pathlib import Path

from trimseek.encoders.shrink.validation import Report, Validation
from trimseek.errors import MissingExtraError


def tensorboard_report(folder: Path) -> Report:
    """A report that writes each validation to event files in a folder, by its step.

    MissingExtraError without the extra ``tensorboard``.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("--tensorboard", "tensorboard") from None
    writer = SummaryWriter(str(folder))

    def report(validation: Validation, loss: float) -> None:
        scalars = {"loss": loss, "cosine": validation.cosine, "overlap@10": validation.overlap}
        for name, value in scalars.items():
            writer.add_scalar(name, value, validation.step)
        writer.flush()

    return report


def both(first: Report, second: Report) -> Report:
    """A report that calls both, in this order."""

    def report(validation: Validation, loss: float) -> None:
        first(validation, loss)
        second(validation, loss)

    return report
