import pytest


@pytest.fixture(autouse=True)
def hardly_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """No pauses between the encoders that are timed: no test looks at how fast they are."""
    monkeypatch.setattr("trimseek.compression.latency.PAUSE", 0.0)
