"""Copies of clusters' files on this machine, in a folder of the tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from trimseek.cluster import fetch


@pytest.fixture(scope="session", autouse=True)
def copies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """They would stay in TRIMSEEK_HOME, which has the models, too."""
    folder = tmp_path_factory.mktemp("copies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fetch, "copies_folder", lambda: folder)
        yield folder
