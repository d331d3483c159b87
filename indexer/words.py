"""How often each word comes in each document: as the database keeps it, and as a file for search.

``counts`` of a document are kept as its term ids, two bytes each where they fit, and a byte for how
often each term comes in the text (``TEXT_COUNTS``) and in the title. Search reads postings: for
each term the documents that have it, in blocks of at most 65,536 documents, so that a document's
place in its block takes two bytes.
"""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimseek.atomic import sha256_of, sync_file
from trimseek.checked import CheckedFile
from trimseek.errors import IndexFolderError
from trimseek.indexer.mapped import mapped
from trimseek.indexer.rows import SnapshotRecord

BLOCK = 2**16  # documents
SMALL_IDS = 2**16
MOST_SMALL = SMALL_IDS - 1
# What the lower five bits of a count say: how often a term comes in a text. Beyond 16 in steps of
# an eighth to a quarter, by which a score changes by less than a fiftieth.
TEXT_COUNTS = (
    *range(17), 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224
)  # fmt: skip
TEXT_CODES = bytes(
    max(code for code, least in enumerate(TEXT_COUNTS) if least <= count)
    for count in range(TEXT_COUNTS[-1] + 1)
)
TEXT_BITS = 5
MOST_IN_TITLE = 7  # the upper three bits
MAGIC = b"trimwrd1"
ALIGNMENT = 8


class TermCounts(NamedTuple):
    """A document's term ids ``(n,) uint32``, and how often each comes ``(n,) uint8``."""

    ids: NDArray[np.uint32]
    counts: NDArray[np.uint8]


def pack_counts(text: Mapping[int, int], title: Mapping[int, int]) -> bytes:
    """A document's counts by term id as the database keeps them."""
    ids = sorted({**text, **title})
    small = sum(id_ < SMALL_IDS for id_ in ids[:MOST_SMALL])
    counts = [
        TEXT_CODES[min(text.get(id_, 0), TEXT_COUNTS[-1])]
        | min(title.get(id_, 0), MOST_IN_TITLE) << TEXT_BITS
        for id_ in ids
    ]
    return struct.pack(f"<H{small}H{len(ids) - small}I", small, *ids) + bytes(counts)


def unpack_counts(packed: bytes) -> TermCounts:
    """What ``pack_counts`` made; ValueError for anything else."""
    small = int.from_bytes(packed[:2], "little")
    large, rest = divmod(len(packed) - 2 - 3 * small, 5)
    if rest or large < 0:
        raise ValueError("the words of a document are cut off")
    ids = np.empty(small + large, np.uint32)
    ids[:small] = np.frombuffer(packed, "<u2", small, 2)
    ids[small:] = np.frombuffer(packed, "<u4", large, 2 + 2 * small)
    return TermCounts(
        ids, np.frombuffer(packed, np.uint8, small + large, 2 + 2 * small + 4 * large)
    )


@dataclass(frozen=True)
class WordBlock:
    """Postings of at most ``BLOCK`` documents.

    ``chunks``: each document's first chunk, ascending, by which it is known. ``text_lengths``,
    ``title_lengths``: words in it. ``terms``: ids, ascending; the documents of ``terms[i]`` are
    ``places[starts[i]:starts[i + 1]]``, places in ``chunks``, and ``counts`` says how often it
    comes in each, in the text and in the title.
    """

    chunks: NDArray[np.int64]
    text_lengths: NDArray[np.uint32]
    title_lengths: NDArray[np.uint32]
    terms: NDArray[np.uint32]
    starts: NDArray[np.uint32]
    places: NDArray[np.uint16]
    counts: NDArray[np.uint8]


def blocks_of(rows: Iterable[tuple[int, bytes]]) -> Iterator[WordBlock]:
    """Blocks of the documents of some rows: a chunk key, ascending, and packed counts."""
    some: list[tuple[int, bytes]] = []
    for row in rows:
        some.append(row)
        if len(some) == BLOCK:
            yield block_of(some)
            some = []
    if some:
        yield block_of(some)


def block_of(rows: Sequence[tuple[int, bytes]]) -> WordBlock:
    """One block of at most ``BLOCK`` rows; ValueError for counts that are damaged."""
    documents = [unpack_counts(packed) for _, packed in rows]
    sizes = np.fromiter((len(document.ids) for document in documents), np.int64, len(rows))
    ids = joined((document.ids for document in documents), np.uint32)
    counts = joined((document.counts for document in documents), np.uint8)
    places = np.repeat(np.arange(len(rows), dtype=np.uint16), sizes)
    order = np.argsort(ids, kind="stable")
    terms, starts = np.unique(ids[order], return_index=True)

    def lengths(words: NDArray[np.int64]) -> NDArray[np.uint32]:
        return np.bincount(places, words, minlength=len(rows)).astype(np.uint32)

    return WordBlock(
        np.fromiter((chunk for chunk, _ in rows), np.int64, len(rows)),
        lengths(np.array(TEXT_COUNTS)[counts & (2**TEXT_BITS - 1)]),
        lengths(counts.astype(np.int64) >> TEXT_BITS),
        terms,
        np.append(starts, len(ids)).astype(np.uint32),
        places[order],
        counts[order],
    )


def joined(arrays: Iterable[NDArray[Any]], dtype: Any) -> NDArray[Any]:
    """Arrays behind one another."""
    return np.concatenate([np.empty(0, dtype), *arrays])


def layout(shape: Mapping[str, int]) -> list[tuple[str, Any, int]]:
    """Name, type and length of each array of a block in the file, in their order."""
    documents, terms, postings = shape["documents"], shape["terms"], shape["postings"]
    return [
        ("chunks", "<i8", documents),
        ("text_lengths", "<u4", documents),
        ("title_lengths", "<u4", documents),
        ("terms", "<u4", terms),
        ("starts", "<u4", terms + 1),
        ("places", "<u2", postings),
        ("counts", "u1", postings),
    ]


def padded(size: int) -> int:
    """The next multiple of ``ALIGNMENT``."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def write_words(blocks: Iterable[WordBlock], path: Path) -> str:
    """Write blocks to a file, which is on the disk then; its sha256.

    The magic, the length of a JSON list of the blocks' sizes, that list, and the arrays of
    ``layout``, each beginning at a multiple of 8 bytes.
    """
    blocks = list(blocks)
    shapes = [
        {
            "documents": len(block.chunks),
            "terms": len(block.terms),
            "postings": len(block.places),
        }
        for block in blocks
    ]
    head = json.dumps(shapes).encode()
    with path.open("wb") as file:
        file.write(MAGIC + len(head).to_bytes(8, "little"))
        file.write(head.ljust(padded(len(head)), b" "))
        for block, shape in zip(blocks, shapes, strict=True):
            for name, dtype, _ in layout(shape):
                content = np.asarray(getattr(block, name), dtype).tobytes()
                file.write(content.ljust(padded(len(content)), b"\0"))
    sync_file(path)
    return sha256_of(path)


def read_words(record: SnapshotRecord, path: Path, *, anew: bool = False) -> list[WordBlock]:
    """The blocks of a file, mapped; IndexFolderError if it is missing or damaged.

    ``anew``: its content is checked though it was checked before (``trimseek.checked``).
    """
    checked = CheckedFile(path, record.words, anew=anew)
    content = mapped(checked)
    try:
        blocks = read_blocks(content)
        if checked.known:
            return blocks
        last = 0
        for block in blocks:
            check_block(block, last)
            last = int(block.chunks[-1])
        if last > record.last_chunk:
            raise ValueError(f"chunk {last}, after the snapshot's last, {record.last_chunk}")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise IndexFolderError(f"{path}: damaged: {error}") from error
    checked.note()
    return blocks


def read_blocks(content: NDArray[np.uint8]) -> list[WordBlock]:
    """Blocks out of a file's bytes; ValueError where their sizes do not fit."""
    if content[: len(MAGIC)].tobytes() != MAGIC:
        raise ValueError("not a file of words")
    length = int.from_bytes(content[8:16].tobytes(), "little")
    if length > len(content):
        raise ValueError("its head is longer than the file")
    start = 16 + padded(length)
    blocks = []
    for shape in json.loads(content[16 : 16 + length].tobytes()):
        sizes = [shape[name] for name in ("documents", "terms", "postings")]
        if not all(type(size) is int and 0 <= size < 2**32 for size in sizes):
            raise ValueError("sizes that no block has")
        arrays: dict[str, Any] = {}
        for name, dtype, count in layout(shape):
            end = start + count * np.dtype(dtype).itemsize
            if end > len(content):
                raise ValueError("it ends within a block")
            arrays[name] = content[start:end].view(dtype)
            start = padded(end)
        blocks.append(WordBlock(**arrays))
    if start != len(content):
        raise ValueError("it goes on behind its last block")
    return blocks


def check_block(block: WordBlock, after: int) -> None:
    """ValueError unless every number of a block is in its bounds.

    ``after``: the last chunk of the block before.
    """
    documents, postings = len(block.chunks), len(block.places)
    ascending = np.diff(block.chunks, prepend=after).min(initial=1) > 0
    if not 0 < documents <= BLOCK or not ascending:
        raise ValueError("its chunks are not in order")
    if len(block.terms) and np.diff(block.terms.astype(np.int64)).min(initial=1) <= 0:
        raise ValueError("its terms are not in order")
    starts = block.starts.astype(np.int64)
    if starts[0] or starts[-1] != postings or np.diff(starts).min(initial=1) <= 0:
        raise ValueError("its postings are not in order")
    if postings and int(block.places.max()) >= documents:
        raise ValueError("a posting of a document that it does not have")
