"""What several figures are measured on, for a moment."""

from pathlib import Path

import pytest

from tests.conftest import ingest, write_jsonl


@pytest.fixture
def small_index(tmp_path: Path) -> Path:
    """An index of 50 short texts, by the real int8 encoder."""
    rows = [{"_id": str(i), "text": f"text {i}"} for i in range(50)]
    ingest(write_jsonl(tmp_path / "c.jsonl", rows), tmp_path / "index", "minilm-int8")
    return tmp_path / "index"
