"""A short soak: the long ones are python -m trimseek.eval.figures soak."""

import pytest

from trimseek.eval.figures.soak import GROWTH, soak


def test_a_short_soak() -> None:
    result = soak(0.04, "minilm-swift")
    assert result.errors == []
    assert result.reads > 0
    assert result.writes > 0
    assert len(result.expected) > 3


@pytest.mark.slow
def test_a_soak_of_two_minutes() -> None:
    result = soak(2, "minilm-swift")
    assert result.errors == []
    assert result.growth() <= GROWTH
    assert result.reads > 1000
