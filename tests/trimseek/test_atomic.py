import errno
from pathlib import Path

import pytest

from trimseek.atomic import atomic_file, atomic_folder
from trimseek.errors import StorageError


def test_a_file_is_replaced_only_when_all_went_well(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with atomic_file(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["f"]


def test_a_folder_is_replaced_only_when_all_went_well(tmp_path: Path) -> None:
    path = tmp_path / "d"
    for content in ("old", "new"):
        with atomic_folder(path) as temporary:
            (temporary / "f").write_text(content)
    with pytest.raises(RuntimeError), atomic_folder(path) as temporary:
        (temporary / "f").write_text("half")
        raise RuntimeError
    assert (path / "f").read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["d"]


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="f: cannot write: No space left on device"),
        atomic_file(tmp_path / "f") as temporary,
    ):
        temporary.touch()
        raise OSError(errno.ENOSPC, "No space left on device")
    assert not list(tmp_path.iterdir())
