"""Sums scores over postings with the compiled code beside this file, or with numpy, to the bit."""

import ctypes
from ctypes import POINTER, Structure, c_float, c_int, c_void_p
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trimseek.compiled import address, load
from trimseek.indexer.words import TEXT_BITS, TEXT_COUNTS, WordBlock

MODULE = "trimseek.search.native.compiled"
K1_PLUS_1 = np.float32(2.2)
COUNTS = np.array(TEXT_COUNTS, np.float32)


class Postings(Structure):
    """The structure of this name in bm25.h."""

    _fields_ = (
        *((name, c_void_p) for name in ("places", "counts", "text_counts", "norms")),
        ("title_weight", c_float),
    )


@cache
def functions() -> Any | None:
    """The compiled functions; None where they could not be compiled when trimseek was installed."""
    library = load(MODULE, "bm25_struct_size", (Postings,))
    if library is not None:
        library.bm25_add.argtypes = (POINTER(Postings), c_int, *[c_void_p] * 4)
        library.bm25_add.restype = None
        library.bm25_top.argtypes = (c_void_p, c_void_p, c_int, c_int, c_void_p)
    return library


def add_scores(
    block: WordBlock,
    starts: NDArray[np.uint32],
    ends: NDArray[np.uint32],
    weights: NDArray[np.float32],
    title_weight: float,
    norms: NDArray[np.float32],
    scores: NDArray[np.float32],
) -> None:
    """Add what some terms give to the scores of the block's documents, ``(documents,)``.

    ``starts``, ``ends``, ``weights`` ``(terms,)``: the postings of each term, and its weight.
    """
    library = functions()
    if library is None:
        add_with_numpy(block, starts, ends, weights, title_weight, norms, scores)
        return
    postings = Postings(
        *(address(array) for array in (block.places, block.counts, COUNTS, norms)),
        title_weight,
    )
    library.bm25_add(
        ctypes.byref(postings),
        len(weights),
        *(address(array) for array in (starts, ends, weights, scores)),
    )


def add_with_numpy(
    block: WordBlock,
    starts: NDArray[np.uint32],
    ends: NDArray[np.uint32],
    weights: NDArray[np.float32],
    title_weight: float,
    norms: NDArray[np.float32],
    scores: NDArray[np.float32],
) -> None:
    """As ``add_scores``, where there is no compiled code."""
    for start, end, weight in zip(starts.tolist(), ends.tolist(), weights, strict=True):
        places = block.places[start:end]
        coded = block.counts[start:end]
        in_title = (coded >> TEXT_BITS).astype(np.float32)
        counts = COUNTS[coded & (2**TEXT_BITS - 1)] + np.float32(title_weight) * in_title
        scores[places] += weight * (counts * K1_PLUS_1) / (counts + norms[places])


def best_places(
    scores: NDArray[np.float32], allowed: NDArray[np.bool_] | None, k: int
) -> NDArray[np.int32]:
    """The places of the k best scores above 0, best first, of equal scores the first.

    ``allowed``: those that count, None for all.
    """
    k = min(k, len(scores))
    library = functions()
    if library is None:
        counted = scores > 0 if allowed is None else (scores > 0) & allowed
        places = np.flatnonzero(counted).astype(np.int32)
        return places[np.lexsort((places, -scores[places]))[:k]]
    found = np.empty(k, np.int32)
    mask = None if allowed is None else address(allowed)
    count = library.bm25_top(address(scores), mask, len(scores), k, address(found))
    return found[:count]
