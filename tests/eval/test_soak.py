"""A short soak: the long ones are python -m eval.soak."""

import pytest

from eval.soak import GROWTH, soak


def test_a_short_soak() -> None:
    found = soak(0.1, "minilm-swift")
    assert found.errors == []
    assert found.reads > 20
    assert found.writes > 5
    assert len(found.expected) > 3


@pytest.mark.slow
def test_a_soak_of_two_minutes() -> None:
    found = soak(2, "minilm-swift")
    assert found.errors == []
    assert found.growth() <= GROWTH
    assert found.reads > 1000
