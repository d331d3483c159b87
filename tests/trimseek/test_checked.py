"""What is noted of files that were checked, and when it does not hold any more."""

import os
from pathlib import Path

import pytest

from trimseek import checked
from trimseek.checked import CheckedFile


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRIMSEEK_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def is_checked(path: Path, sha256: str) -> bool:
    return CheckedFile(path, sha256).known


def note_checked(path: Path, sha256: str) -> None:
    CheckedFile(path, sha256).note()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "file"
    found.write_bytes(b"content")
    note_checked(found, "abc")
    return found


def test_a_file_that_stays_as_it_is(path: Path) -> None:
    assert is_checked(path, "abc")
    assert not is_checked(path, "abd")
    assert not is_checked(path.with_name("other"), "abc")


def test_one_that_is_written_to(path: Path) -> None:
    status = path.stat()
    path.write_bytes(b"CONTENT")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # whoever changes it hides it
    assert not is_checked(path, "abc")


def test_one_that_is_replaced(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(b"content")
    other.replace(path)
    assert not is_checked(path, "abc")


def test_one_that_changes_while_it_is_checked(path: Path) -> None:
    checking = CheckedFile(path, "new")
    path.write_bytes(b"other")
    checking.note()
    assert not is_checked(path, "new")


def test_checking_it_anew(path: Path) -> None:
    assert not CheckedFile(path, "abc", anew=True).known


def test_a_name_that_leads_to_it(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    assert is_checked(link, "abc")


def test_notes_that_are_damaged(path: Path, home: Path) -> None:
    for content in ("", "[]", "{", '{"x": 1}', "\0"):
        (home / checked.FILE).write_text(content)
        assert not is_checked(path, "abc")
    note_checked(path, "abc")
    assert is_checked(path, "abc")


def test_the_latest_are_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checked, "MOST", 3)
    others = [path.with_name(f"f{i}") for i in range(4)]
    for other in others:
        other.touch()
        note_checked(other, "0")
    assert [is_checked(other, "0") for other in others] == [False, True, True, True]
    assert not is_checked(path, "abc")


def test_a_home_that_cannot_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMSEEK_HOME", "/proc/nowhere")
    note_checked(path, "abc")
    assert not is_checked(path, "abc")
