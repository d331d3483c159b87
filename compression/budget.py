"""What a compressed encoder must keep to, and what was measured of one."""

from collections.abc import Callable
from dataclasses import dataclass

from trimseek.eval.quality.measures import parse_measure
from trimseek.eval.quality.significance import Interval

MEASURE = parse_measure("nDCG@10")  # whose loss is measured


@dataclass(frozen=True)
class Measurement:
    """Quality, speed and size of one encoder that was made.

    ``shape``: what it keeps of the base, in words. ``loss``: of nDCG@10, relative to float32;
    ``expected``, ``interval``, ``queries`` and ``judged`` as in ``Claim``. ``query_ms``: p50 of
    encoding one query; ``speedup``: float32's p50 divided by it. ``graph_bytes``: the size of the
    graph that runs. ``seconds``: to make and measure the encoder.
    """

    recipe: str
    shape: str
    graph_bytes: int
    query_ms: float
    speedup: float
    loss: float
    expected: Interval
    interval: Interval
    queries: int
    judged: bool
    seconds: float


CandidateReport = Callable[[int, Measurement], None]  # gets a number, from 1, and a measurement


def not_told(_number: int, _measurement: Measurement) -> None:
    """A report that tells nobody."""


@dataclass(frozen=True)
class Budget:
    """Limits, of which None is no limit; ``max_loss`` and ``speedup`` are relative to float32.

    ``max_ms``: p50 of encoding one query. ``max_mb``: of the graph that runs, 10^6 bytes. A loss
    keeps to its limit by the upper end of the interval that is expected.
    """

    max_loss: float | None = None
    speedup: float | None = None
    max_ms: float | None = None
    max_mb: float | None = None

    def met_by(self, measurement: Measurement) -> bool:
        """Whether the encoder is within every limit that is set."""
        return (
            (self.max_loss is None or measurement.expected.high <= self.max_loss)
            and (self.speedup is None or measurement.speedup >= self.speedup)
            and (self.max_ms is None or measurement.query_ms <= self.max_ms)
            and (self.max_mb is None or measurement.graph_bytes <= 1e6 * self.max_mb)
        )

    def __str__(self) -> str:
        limits = []
        if self.max_loss is not None:
            limits.append(f"a loss of at most {self.max_loss:.2%}")
        if self.speedup is not None:
            limits.append(f"{self.speedup:g} times the speed")
        if self.max_ms is not None:
            limits.append(f"{self.max_ms:g} ms a query")
        if self.max_mb is not None:
            limits.append(f"{self.max_mb:g} MB")
        return " and ".join(limits) or "no budget"
