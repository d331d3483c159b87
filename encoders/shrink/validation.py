"""What a training measures now and then, and the function that it reports to."""

from collections.abc import Callable
from typing import NamedTuple

from trimseek.console import note


class Validation(NamedTuple):
    """Measured on held-out texts after ``step`` steps and ``seconds`` of training.

    ``cosine``: mean cosine to the teacher's vectors, the mean over the domains. ``overlap``: the
    mean share of the 10 nearest of the bank that student and teacher have in common. ``domains``:
    the mean cosine of each domain.
    """

    step: int
    seconds: float
    cosine: float
    overlap: float
    domains: dict[str, float]

    @property
    def worst(self) -> str:
        """The domain with the lowest cosine."""
        return min(self.domains, key=lambda domain: self.domains[domain])


def note_validation(validation: Validation, training_loss: float) -> None:
    """Say on stderr how training goes: a step's loss, and agreement on held-out texts."""
    cosines = [f"{domain} {cosine:.4f}" for domain, cosine in validation.domains.items()]
    note(
        f"  step {validation.step:,}, {validation.seconds / 60:.1f} min: loss {training_loss:.4f}; "
        f"held-out texts: cosine {validation.cosine:.4f}, overlap@10 {validation.overlap:.3f}"
        + (f" ({', '.join(cosines)})" if len(cosines) > 1 else "")
    )


Report = Callable[[Validation, float], None]  # gets a validation and the training loss
