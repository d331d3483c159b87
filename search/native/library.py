"""The compiled search, and the structures that it takes, by the names that its headers give."""

from ctypes import POINTER, Structure, c_double, c_float, c_int, c_int32, c_int64, c_void_p
from functools import cache
from typing import Any

import numpy as np

from trimseek.compiled import load
from trimseek.indexer.native.library import SketchTable

MODULE = "trimseek.search.native.compiled"


class HnswGraph(Structure):
    """In hnsw.h."""

    _fields_ = (
        *((name, c_int32) for name in ("count", "dim", "entry_point", "max_level")),
        *((name, c_void_p) for name in ("codes", "lowest", "step")),
        *((name, c_void_p) for name in ("neighbors", "offsets", "levels")),
        ("sketches", SketchTable),
    )


class WordBlock(Structure):
    """In bm25.h."""

    _fields_ = (
        ("documents", c_int32),
        *((name, c_void_p) for name in ("chunks", "starts", "places", "counts")),
        *((name, c_void_p) for name in ("norms", "counted", "impacts")),
    )


class WordQuery(Structure):
    """In bm25.h."""

    _fields_ = (
        ("blocks", c_int32),
        ("terms", c_int32),
        ("title_weight", c_float),
        *((name, c_void_p) for name in ("block", "at", "bitmaps", "weights", "text_counts")),
    )


class Part(Structure):
    """In retrieve.h."""

    _fields_ = (
        ("count", c_int64),
        ("counting", c_int64),
        *((name, c_void_p) for name in ("keys", "documents", "vectors", "counted", "graph")),
    )


class Query(Structure):
    """In retrieve.h."""

    _fields_ = (
        *((name, c_int32) for name in ("parts", "dim", "effort", "refine", "least")),
        *((name, c_int32) for name in ("block", "block_growth", "hybrid")),
        ("weight", c_double),
        *((name, c_void_p) for name in ("part", "vector", "words")),
    )


class FoundRow(Structure):
    """Found in retrieve.h."""

    _fields_ = (
        ("document", c_int64),
        ("chunk", c_int64),
        ("score", c_double),
        ("cosine", c_float),
        ("bm25", c_float),
        ("dense_rank", c_int32),
        ("lexical_rank", c_int32),
    )


FOUND = np.dtype(FoundRow)
STRUCTURES = (Part, Query, FoundRow, HnswGraph, WordBlock, WordQuery)


@cache
def functions() -> Any | None:
    """The compiled functions; None where they could not be compiled when trimseek was installed."""
    library = load(MODULE, "retrieve_struct_size", STRUCTURES)
    if library is not None:
        library.hnsw_search.argtypes = (POINTER(HnswGraph), c_void_p, c_int, c_void_p, c_void_p)
        library.bm25_top.argtypes = (POINTER(WordQuery), c_int, c_void_p, c_void_p)
        library.bm25_scores.argtypes = (POINTER(WordQuery), c_int, c_void_p, c_void_p)
        library.bm25_scores.restype = None
        library.retrieve.argtypes = (POINTER(Query), c_int, c_void_p)
        library.retrieve_chunks.argtypes = (POINTER(Query), c_int, c_void_p, c_void_p)
    return library
