"""How a training goes, for TensorBoard."""

from collections.abc import Callable
from pathlib import Path

from encoders.shrink.training_state import Validation
from trimseek.errors import MissingExtraError

Report = Callable[[Validation, float], None]  # what was validated, and the training loss


def scalars_into(folder: Path) -> Report:
    """Writes each validation to event files in a folder; against steps and wall clock."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError("--tensorboard", "tensorboard") from None
    writer = SummaryWriter(str(folder))

    def report(found: Validation, loss: float) -> None:
        values = {"loss": loss, "cosine": found.cosine, "overlap@10": found.overlap}
        for name, value in values.items():
            writer.add_scalar(name, value, found.step)
        writer.flush()

    return report


def both(first: Report, second: Report) -> Report:
    def report(found: Validation, loss: float) -> None:
        first(found, loss)
        second(found, loss)

    return report
