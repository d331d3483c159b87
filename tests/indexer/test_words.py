"""Counts of words as the database packs them, and postings in blocks and in a file."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimseek.atomic import sha256_of
from trimseek.errors import IndexFolderError
from trimseek.indexer import words
from trimseek.indexer.rows import SnapshotRecord
from trimseek.indexer.words import (
    MOST_IN_TITLE,
    TEXT_BITS,
    TEXT_CODES,
    TEXT_COUNTS,
    blocks_of,
    pack_counts,
    read_words,
    unpack_counts,
    write_words,
)

IDS = st.one_of(st.integers(0, 300), st.integers(65_500, 65_600), st.integers(0, 2**32 - 1))
COUNTS = st.dictionaries(IDS, st.integers(1, 400), max_size=30)


def told(code: int) -> tuple[int, int]:
    """How often in the text and in the title, as a byte says."""
    return TEXT_COUNTS[code & (2**TEXT_BITS - 1)], code >> TEXT_BITS


@given(COUNTS, COUNTS)
def test_packed_counts(text: dict[int, int], title: dict[int, int]) -> None:
    unpacked = unpack_counts(pack_counts(text, title))
    assert unpacked.ids.tolist() == sorted(text | title)
    for id_, code in zip(unpacked.ids.tolist(), unpacked.counts.tolist(), strict=True):
        in_text, in_title = told(code)
        assert in_title == min(title.get(id_, 0), MOST_IN_TITLE)
        real = text.get(id_, 0)
        assert in_text == real if real <= 16 else in_text <= real
        assert in_text >= min(real, TEXT_COUNTS[-1]) * 0.79


def test_codes_of_counts() -> None:
    assert len(TEXT_COUNTS) == 2**TEXT_BITS
    assert [TEXT_COUNTS[code] for code in TEXT_CODES[:17]] == list(range(17))
    for low, high in pairwise(TEXT_COUNTS[16:]):
        norm = 1.2  # what a score changes by from one code to the next
        assert high * (low + norm) / ((high + norm) * low) < 1.02


@pytest.mark.parametrize("cut", [1, 2, 3, 4])
def test_counts_that_are_cut_off_are_refused(cut: int) -> None:
    packed = pack_counts({1: 1, 2: 3, 70_000: 1}, {2: 1})
    with pytest.raises(ValueError, match=r"cut off|buffer"):
        unpack_counts(packed[:-cut])


DOCUMENTS = [
    (chunk, pack_counts({chunk % 7: 1, 7 + chunk % 3: chunk % 20 + 1, 70_000: 2}, {chunk % 5: 1}))
    for chunk in range(3, 400, 3)
]


def written(folder: Path) -> tuple[SnapshotRecord, Path]:
    path = folder / "words.bin"
    sha256 = write_words(blocks_of(DOCUMENTS), path)
    return SnapshotRecord(1, "exact", "", 400, 400, sha256), path


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "BLOCK", 50)


def test_a_file_of_words_gives_back_its_blocks(tmp_path: Path) -> None:
    blocks = read_words(*written(tmp_path))
    assert [len(block.chunks) for block in blocks] == [50, 50, 33]
    found = {
        (int(block.chunks[place]), int(term)): told(int(code))
        for block in blocks
        for term, start, end in zip(block.terms, block.starts, block.starts[1:], strict=False)
        for place, code in zip(block.places[start:end], block.counts[start:end], strict=True)
    }
    expected = {
        (chunk, int(id_)): told(int(code))
        for chunk, packed in DOCUMENTS
        for id_, code in zip(*unpack_counts(packed), strict=True)
    }
    assert found == expected
    for block in blocks:
        for place, chunk in enumerate(block.chunks.tolist()):
            counts = [count for (of, _), count in expected.items() if of == chunk]
            assert block.text_lengths[place] == sum(text for text, _ in counts)
            assert block.title_lengths[place] == sum(title for _, title in counts)


def test_no_documents(tmp_path: Path) -> None:
    sha256 = write_words([], tmp_path / "w")
    record = SnapshotRecord(1, "exact", "", 0, 0, sha256)
    assert read_words(record, tmp_path / "w") == []


def test_a_missing_or_changed_file_is_refused(tmp_path: Path) -> None:
    record, path = written(tmp_path)
    with pytest.raises(IndexFolderError, match="missing"):
        read_words(record, tmp_path / "other.bin")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(IndexFolderError, match="checksum"):
        read_words(record, path)
    path.write_bytes(b"")
    with pytest.raises(IndexFolderError, match="checksum"):
        read_words(record, path)


def test_damage_with_a_matching_checksum_is_found_or_harmless(tmp_path: Path) -> None:
    """As somebody else's folder may have it: no number leads out of an array."""
    record, path = written(tmp_path)
    content = path.read_bytes()
    chosen = np.random.default_rng(5)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(content)
        for _ in range(chosen.integers(1, 4)):
            at = (
                chosen.integers(0, len(content))
                if chosen.random() < 0.7
                else chosen.integers(0, 99)
            )
            damaged[at] = chosen.integers(0, 256)
        if chosen.random() < 0.2:
            damaged = damaged[: chosen.integers(0, len(content))]
        path.write_bytes(damaged)
        try:
            blocks = read_words(record._replace(words=sha256_of(path)), path)
        except IndexFolderError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
            continue
        for block in blocks:
            assert block.starts[-1] == len(block.places) == len(block.counts)
            assert (np.diff(block.starts.astype(np.int64)) > 0).all()
            assert block.places.max() < len(block.chunks)
    assert refused > 500
