"""What is acknowledged survives kills at random moments; more of them: python -m tests.kills."""

from pathlib import Path

from tests.kills import JOBS, kill_writers


def test_nothing_is_lost_or_half_there(
    tmp_path: Path, tiny_encoder: Path, other_encoder: Path
) -> None:
    kill_writers(3 * len(JOBS), tmp_path, 5, (str(tiny_encoder), str(other_encoder)))
