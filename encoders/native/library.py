"""The compiled kernels: which there are, and the structures that they take.

Structures and fields have the names that they have in encoder.h.
"""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int, c_int32, c_void_p
from functools import cache
from typing import Any

from trimseek.compiled import load

MODULE = "trimseek.encoders.native.compiled"
# Instruction sets that there are kernels for, the fastest first.
KERNELS = ("avx512_vnni", "avx_vnni", "avx2")
DISTANCE_PADDING = 32  # as in encoder.h
# Stages whose time is measured, in the order of encoder.h.
STAGES = (
    "embedding",
    "quantizing activations",
    "query, key and value",
    "attention",
    "attention output",
    "intermediate and activation",
    "output",
    "layer norm",
    "pooling",
)


class Matrix(Structure):
    """int8 ``values (in_dim, out_dim)``; ``scale`` and ``bias (out_dim,)`` float32.

    ``factor (in_dim,)`` float32, or NULL: what is read is multiplied by it. ``least`` and ``most``:
    the range that is told apart of what is read, as it was calibrated; both 0: each row's own.
    """

    _fields_ = (
        ("in_dim", c_int32),
        ("out_dim", c_int32),
        ("values", c_void_p),
        ("scale", c_void_p),
        ("bias", c_void_p),
        ("factor", c_void_p),
        ("least", c_float),
        ("most", c_float),
    )


class Norm(Structure):
    """Scale and shift of a layer normalization, ``(dim,)`` float32."""

    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class LayerSpec(Structure):
    """One layer; ``qkv`` has the columns of query, key and value side by side.

    ``distances (heads, 2 positions - 1 + DISTANCE_PADDING)`` and ``rotary (positions, head_dim)``
    float32, or NULL; ``window``: tokens that attention reaches on each side, 0 for all.
    """

    _fields_ = (
        ("qkv", Matrix),
        ("attention_output", Matrix),
        ("intermediate", Matrix),
        ("output", Matrix),
        ("attention_norm", Norm),
        ("output_norm", Norm),
        ("distances", c_void_p),
        ("rotary", c_void_p),
        ("window", c_int32),
    )


class EncoderSpec(Structure):
    """An encoder. encoder.h numbers the kinds of ``table``, ``activation`` and ``pooling``."""

    _fields_ = (
        *((name, c_int32) for name in ("vocabulary", "embedding_dim", "positions", "dim")),
        *((name, c_int32) for name in ("head_dim", "layers", "table", "activation")),
        *((name, c_int32) for name in ("pooling", "normalize", "separator")),
        *((name, c_int32) for name in ("pre_norm", "gated", "causal")),
        ("epsilon", c_float),
        ("tokens", c_void_p),
        ("token_scale", c_void_p),
        ("position", c_void_p),
        ("second_type", c_void_p),
        ("embedding_norm", Norm),
        ("final_norm", Norm),
        ("projection", Matrix),
        ("layer", POINTER(LayerSpec)),
    )


# In the order of encoder_struct_size.
STRUCTURES: tuple[type[Structure], ...] = (EncoderSpec, LayerSpec, Matrix, Norm)


@cache
def library() -> Any | None:
    """The compiled functions; None where they could not be compiled when trimseek was installed."""
    functions = load(MODULE, "encoder_struct_size", STRUCTURES)
    return None if functions is None else with_types(functions)


def with_types(functions: ctypes.CDLL) -> Any:
    """The library, with the types of its functions' arguments and results declared."""
    functions.encoder_new.argtypes = (POINTER(EncoderSpec), c_char_p, c_int)
    functions.encoder_new.restype = c_void_p
    functions.encoder_free.argtypes = (c_void_p,)
    functions.encoder_free.restype = None
    functions.encoder_supports.argtypes = (c_char_p,)
    functions.encoder_run.argtypes = (*[c_void_p] * 3, c_int, c_void_p, c_void_p)
    functions.product_rate.argtypes = (c_char_p, c_int, c_int, c_int, c_double)
    functions.product_rate.restype = c_double
    return functions


@cache
def kernels() -> str | None:
    """The fastest instruction set of this CPU that there are kernels for; None if there is none."""
    functions = library()
    if functions is None:
        return None
    return next((name for name in KERNELS if functions.encoder_supports(name.encode())), None)


def product_rate(rows: int, in_dim: int, out_dim: int, threads: int, seconds: float) -> float:
    """Multiply-accumulates a second of int8 products on so many threads; 0 without kernels."""
    functions, name = library(), kernels()
    if functions is None or name is None:
        return 0.0
    shape = (name.encode(), rows, in_dim, out_dim, seconds)
    with ThreadPoolExecutor(threads) as pool:
        return float(sum(pool.map(lambda _: functions.product_rate(*shape), range(threads))))
