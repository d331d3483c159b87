"""A time limit for work of many steps, which looks at the clock between them.

    with time_limit(time.monotonic() + 60):
        ...  # calls check_time(), however deep

Steps in progress are never broken off but for SQL, whose transactions are whole or not at all.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from trimseek.errors import OutOfTimeError

_ends: ContextVar[float] = ContextVar("ends", default=float("inf"))


@contextmanager
def time_limit(ends: float) -> Iterator[None]:
    """Work inside ends by then, in seconds of ``time.monotonic``, or by an earlier limit around."""
    token = _ends.set(min(ends, _ends.get()))
    try:
        yield
    finally:
        _ends.reset(token)


def time_left() -> float:
    """Seconds until the time limit around; inf if there is none."""
    return _ends.get() - time.monotonic()


def is_out_of_time() -> bool:
    """Whether the time limit around, if any, is past."""
    return time_left() < 0


def check_time() -> None:
    """OutOfTimeError when the time limit around, if any, is past."""
    if is_out_of_time():
        raise OutOfTimeError("the time that was given is over")
