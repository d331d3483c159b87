"""Keys, and a small index that a service has."""

from pathlib import Path

import pytest

from tests.api.serving import DOCUMENTS, Keys, make_keys
from tests.conftest import ingest, write_jsonl


@pytest.fixture(scope="module")
def keys() -> Keys:
    return make_keys()


@pytest.fixture(scope="module")
def pets(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Path:
    """An index folder called pets."""
    base = tmp_path_factory.mktemp("service")
    ingest(write_jsonl(base / "c.jsonl", DOCUMENTS), base / "pets", tiny_encoder)
    return base / "pets"
