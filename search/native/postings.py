"""BM25 over postings with the compiled code beside this file, or with numpy, to the bit."""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trimseek.compiled import address
from trimseek.indexer.words import BLOCK, TEXT_BITS, TEXT_COUNTS, WordBlock
from trimseek.search.native import library
from trimseek.search.native.library import functions

K1_PLUS_1 = np.float32(2.2)
COUNTS = np.array(TEXT_COUNTS, np.float32)


Bitmap = NDArray[np.void]  # one element of BITMAP
BITMAP = np.dtype([("bits", np.uint64, BLOCK // 64), ("before", np.uint16, BLOCK // 64)])


def bitmap_of(places: NDArray[np.uint16]) -> Bitmap:
    """Which documents of a block have a term; ``places``: theirs, ascending."""
    bitmap = np.zeros(1, BITMAP)
    flags = np.zeros(BLOCK, np.uint8)
    flags[places] = 1
    bitmap["bits"] = np.packbits(flags, bitorder="little").view(np.uint64)
    counts = flags.reshape(-1, 64).sum(axis=1)
    bitmap["before"] = np.cumsum(counts) - counts
    return bitmap


@dataclass(frozen=True)
class Terms:
    """The terms of a query, the heaviest first: the order in which their shares are summed.

    ``at (blocks, terms) int32``: the place of each term in a block, -1 where it lacks it.
    ``weights (terms,) float32``. ``bitmaps``: of each block, those of each term, None where it has
    none.
    """

    at: NDArray[np.int32]
    weights: NDArray[np.float32]
    title_weight: float
    bitmaps: Sequence[Sequence["Bitmap | None"]]


@dataclass(frozen=True)
class Lengths:
    """What a weight of titles makes of documents' lengths.

    ``norms``: of each block, what a document's length adds below the line, ``(documents,)``.
    ``impacts``: the most that a term gives in a block, less its weight, ``(terms,)``; 0 until
    compiled code has found out.
    """

    norms: Sequence[NDArray[np.float32]]
    impacts: Sequence[NDArray[np.float32]] = field(repr=False)


class PreparedBlocks:
    """Blocks as compiled code takes them.

    ``counted``: of each block, which documents count, ``(documents,) bool``; None where all do.
    """

    def __init__(
        self,
        blocks: Sequence[WordBlock],
        lengths: Lengths,
        counted: Sequence[NDArray[np.bool_] | None],
    ) -> None:
        self._kept = (blocks, lengths, counted)
        self.count = len(blocks)
        self.structures = (library.WordBlock * max(1, len(blocks)))(
            *(
                library.WordBlock(
                    len(block.chunks),
                    *(
                        address(array)
                        for array in (block.chunks, block.starts, block.places, block.counts)
                    ),
                    address(norms),
                    None if flags is None else address(flags),
                    address(impacts),
                )
                for block, norms, impacts, flags in zip(
                    blocks, lengths.norms, lengths.impacts, counted, strict=True
                )
            )
        )


class PreparedWords:
    """The words of a query as compiled code takes them."""

    def __init__(self, blocks: PreparedBlocks, terms: Terms) -> None:
        self._kept = (blocks, terms)
        self._bitmaps = np.array(
            [
                0 if bitmap is None else bitmap.ctypes.data
                for block in terms.bitmaps
                for bitmap in block
            ],
            np.uint64,
        )
        self.structure = library.WordQuery(
            blocks.count,
            len(terms.weights),
            terms.title_weight,
            ctypes.addressof(blocks.structures),
            *(address(array) for array in (terms.at, self._bitmaps, terms.weights, COUNTS)),
        )

    def best(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """First chunks and scores of the k best documents, best first; of equal ones the older."""
        compiled = functions()
        assert compiled is not None  # noqa: S101 - the caller has looked
        chunks, scores = np.empty(k, np.int64), np.empty(k, np.float32)
        count = compiled.bm25_top(ctypes.byref(self.structure), k, address(chunks), address(scores))
        if count < 0:
            raise MemoryError("no memory to search the words")
        return chunks[:count], scores[:count]

    def of(self, chunks: NDArray[np.int64]) -> NDArray[np.float32]:
        """The scores of documents by their first chunks."""
        compiled = functions()
        assert compiled is not None  # noqa: S101 - the caller has looked
        scores = np.empty(len(chunks), np.float32)
        compiled.bm25_scores(
            ctypes.byref(self.structure), len(chunks), address(chunks), address(scores)
        )
        return scores


def scores_in(
    block: WordBlock,
    at: NDArray[np.int32],
    terms: Terms,
    norms: NDArray[np.float32],
    counted: NDArray[np.bool_] | None,
) -> NDArray[np.float32]:
    """The score of every document of a block with numpy, ``(documents,)``; ``at``: its own."""
    scores = np.zeros(len(block.chunks), np.float32)
    for place, weight in zip(at.tolist(), terms.weights, strict=True):
        if place < 0:
            continue
        some = slice(int(block.starts[place]), int(block.starts[place + 1]))
        places, coded = block.places[some], block.counts[some]
        in_title = (coded >> TEXT_BITS).astype(np.float32)
        counts = COUNTS[coded & (2**TEXT_BITS - 1)] + np.float32(terms.title_weight) * in_title
        scores[places] += weight * (counts * K1_PLUS_1 / (counts + norms[places]))
    if counted is not None:
        scores[~counted] = 0
    return scores
