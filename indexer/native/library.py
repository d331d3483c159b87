"""The compiled builder of graphs, and the structures that it takes, by the names of its headers."""

from ctypes import POINTER, Structure, c_float, c_int32, c_void_p
from functools import cache
from typing import Any

from trimseek.compiled import load

MODULE = "trimseek.indexer.native.compiled"


class SketchTable(Structure):
    """Sketches in sketch.h."""

    _fields_ = (("rows", c_void_p), ("mean", c_void_p), ("flips", c_void_p), ("spread", c_float))


class GraphSpec(Structure):
    """In build.h."""

    _fields_ = (
        *((name, c_int32) for name in ("count", "dim", "effort", "threads")),
        *((name, c_int32) for name in ("most", "most_above")),
        *((name, c_void_p) for name in ("vectors", "scales", "shares", "depths", "order")),
        ("sketches", SketchTable),
    )


@cache
def functions() -> Any | None:
    """The compiled functions; None where they could not be compiled when trimseek was installed."""
    library = load(MODULE, "graph_builder_struct_size", (GraphSpec, SketchTable))
    if library is not None:
        library.graph_builder_new.argtypes = (POINTER(GraphSpec),)
        library.graph_builder_new.restype = c_void_p
        library.graph_builder_free.argtypes = (c_void_p,)
        library.graph_builder_free.restype = None
        library.graph_builder_add.argtypes = (c_void_p,)
        library.graph_builder_write.argtypes = (c_void_p, c_void_p, c_void_p)
    return library
