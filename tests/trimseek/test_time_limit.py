"""Time limits: the nearest one counts, and each ends with its block."""

import math
import time

import pytest

from trimseek.errors import OutOfTimeError
from trimseek.time_limit import check_time, time_left, time_limit


def test_the_earliest_limit_around_counts() -> None:
    assert time_left() == math.inf
    check_time()
    with time_limit(time.monotonic() + 60):
        assert 59 < time_left() <= 60
        with time_limit(time.monotonic() + 600):
            assert time_left() <= 60
        with time_limit(time.monotonic() - 1), pytest.raises(OutOfTimeError):
            check_time()
        check_time()
    assert time_left() == math.inf
