"""What a training measures now and then, and the function that it reports to."""

from collections.abc import Callable
from typing import NamedTuple


class Validation(NamedTuple):
    """Measured on held-out texts after ``step`` steps and ``seconds`` of training.

    ``cosine``: mean cosine to the teacher's vectors. ``overlap``: the mean share of the 10 nearest
    of the bank that student and teacher have in common. ``share``: of the trained weights, in a
    mean with those before training.
    """

    step: int
    seconds: float
    cosine: float
    overlap: float
    share: float = 1.0


Report = Callable[[Validation, float], None]  # gets a validation and the training loss
