"""What a training measures now and then, and the function that it reports to."""

from collections.abc import Callable
from typing import NamedTuple


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


Report = Callable[[Validation, float], None]  # gets a validation and the training loss
