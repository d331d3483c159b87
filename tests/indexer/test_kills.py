"""What is acknowledged survives kills at random moments; more of them: python -m tests.kills."""

from pathlib import Path

import pytest

from tests.kills import JOBS, kill_writers


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.slow)])
def test_nothing_is_lost_or_half_there(
    rounds: int, tmp_path: Path, tiny_encoder: Path, other_encoder: Path
) -> None:
    kill_writers(rounds * len(JOBS), tmp_path, 5, (str(tiny_encoder), str(other_encoder)))
