from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from trimseek.encoders import cached
from trimseek.encoders.cached import cache_folder, embed, text_hash
from trimseek.encoders.weights import FloatArray


class Counting:
    """An encoder that counts what it is asked, and stops when it has had enough."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.calls: list[int] = []
        self.stop_after = stop_after

    def __call__(self, texts: Sequence[str]) -> FloatArray:
        if self.stop_after is not None and len(self.calls) == self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(len(texts))
        return np.array([[len(text), 1] for text in texts], np.float32)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMSEEK_HOME", str(tmp_path))
    monkeypatch.setattr(cached, "PART", 4)


TEXTS = ["x" * n for n in range(10)]


def test_a_second_run_encodes_nothing() -> None:
    first, second = Counting(), Counting()
    vectors = embed(TEXTS, first, fingerprint="e", dim=2, label="")
    assert first.calls == [4, 4, 2]
    assert vectors[:, 0].tolist() == list(range(10))
    np.testing.assert_array_equal(embed(TEXTS, second, fingerprint="e", dim=2, label=""), vectors)
    assert second.calls == []


def test_another_encoder_and_other_texts_are_encoded() -> None:
    embed(TEXTS, Counting(), fingerprint="e", dim=2, label="")
    for fingerprint, texts in (("f", TEXTS), ("e", TEXTS[::-1])):
        again = Counting()
        embed(texts, again, fingerprint=fingerprint, dim=2, label="")
        assert again.calls == [4, 4, 2]


def test_an_interrupted_run_goes_on() -> None:
    with pytest.raises(KeyboardInterrupt):
        embed(TEXTS, Counting(stop_after=2), fingerprint="e", dim=2, label="")
    again = Counting()
    embed(TEXTS, again, fingerprint="e", dim=2, label="")
    assert again.calls == [2]


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01", b"nonsense", b"PK\x03\x04"])
def test_a_damaged_part_is_encoded_again(
    content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    embed(TEXTS, Counting(), fingerprint="e", dim=2, label="")
    (folder,) = cache_folder().iterdir()
    (folder / "1.npy").write_bytes(content)
    again = Counting()
    vectors = embed(TEXTS, again, fingerprint="e", dim=2, label="")
    assert again.calls == [4]
    assert vectors[:, 0].tolist() == list(range(10))
    assert "1.npy: damaged" in capsys.readouterr().err


def test_vectors_that_are_no_numbers_are_encoded_again() -> None:
    embed(TEXTS, Counting(), fingerprint="e", dim=2, label="")
    (folder,) = cache_folder().iterdir()
    np.save(folder / "0.npy", np.full((4, 2), np.nan, np.float32))
    again = Counting()
    embed(TEXTS, again, fingerprint="e", dim=2, label="")
    assert again.calls == [4]


def test_without_the_cache_nothing_is_written() -> None:
    embed(TEXTS, Counting(), fingerprint="e", dim=2, label="", cached=False)
    assert not cache_folder().exists()


def test_texts_are_told_apart_by_their_borders() -> None:
    assert text_hash(["ab", "c"]) != text_hash(["a", "bc"])
    assert text_hash(["\udc80"]) != text_hash([""])  # a lone surrogate can be hashed


def test_vectors_of_another_width_are_encoded_again() -> None:
    embed(TEXTS, Counting(), fingerprint="e", dim=2, label="")
    (folder,) = cache_folder().iterdir()
    np.save(folder / "0.npy", np.ones((4, 3), np.float32))
    again = Counting()
    embed(TEXTS, again, fingerprint="e", dim=2, label="")
    assert again.calls == [4]
