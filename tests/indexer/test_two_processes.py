"""Two processes on one index hold what a dictionary holds; more: python -m tests.two_processes."""

from pathlib import Path

import pytest

from tests.two_processes import KINDS, Place, drive
from trimseek.indexer.kinds import SnapshotKind

SECONDS = 15.0


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes(
    kind: SnapshotKind, tmp_path: Path, tiny_encoder: Path, other_encoder: Path
) -> None:
    place = Place(tmp_path, kind, (str(tiny_encoder), str(other_encoder)))
    assert drive(place, seed=5, steps=10**6, seconds=SECONDS) > 0


def test_a_few_steps(tmp_path: Path, tiny_encoder: Path, other_encoder: Path) -> None:
    place = Place(tmp_path, SnapshotKind.HNSW, (str(tiny_encoder), str(other_encoder)))
    assert drive(place, seed=3, steps=25) == 25
