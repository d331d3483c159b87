from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(autouse=True)
def hardly_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between the encoders that are timed: no test looks at how fast they are."""
    monkeypatch.setattr("trimseek.compression.latency.PAUSE", 0.0)


@pytest.fixture(autouse=True)
def searches_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test goes on with a search that another one left."""
    monkeypatch.setattr(
        "trimseek.compression.search_state.load_settings",
        lambda: SimpleNamespace(home=tmp_path / "home"),
    )
