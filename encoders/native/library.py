"""The compiled encoder: its functions and structures as C has them (``encoder.h``)."""

import ctypes
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, Structure, c_char_p, c_double, c_float, c_int, c_int32, c_void_p
from functools import cache
from typing import Any

from trimseek.compiled import load

MODULE = "encoders.native.compiled"
# Instructions that there are kernels for, the best first.
KERNELS = ("avx512_vnni", "avx_vnni", "avx2")
# What a call's time is told apart by, as encoder.h numbers it.
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
    """int8 ``(rows, columns)``, and of each column its scale and bias."""

    _fields_ = (
        ("rows", c_int32),
        ("columns", c_int32),
        ("values", c_void_p),
        ("scale", c_void_p),
        ("bias", c_void_p),
    )


class Norm(Structure):
    """Scale and shift."""

    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class LayerParts(Structure):
    """One layer."""

    _fields_ = (
        ("qkv", Matrix),
        ("attention_output", Matrix),
        ("intermediate", Matrix),
        ("output", Matrix),
        ("attention_norm", Norm),
        ("output_norm", Norm),
    )


class Parts(Structure):
    """An encoder; what the numbers of table, activation and pooling mean stands in the header."""

    _fields_ = (
        *((name, c_int32) for name in ("vocabulary", "embedding_dim", "positions", "dim")),
        *((name, c_int32) for name in ("head_dim", "layers", "table", "activation")),
        *((name, c_int32) for name in ("pooling", "normalize")),
        ("epsilon", c_float),
        ("tokens", c_void_p),
        ("token_scale", c_void_p),
        ("position", c_void_p),
        ("embedding_norm", Norm),
        ("projection", Matrix),
        ("layer", POINTER(LayerParts)),
    )


@cache
def library() -> Any | None:
    """The compiled functions; None where they could not be compiled when trimseek was installed."""
    functions = load(MODULE)
    return None if functions is None else with_types(functions)


def with_types(functions: ctypes.CDLL) -> Any:
    """The library, with the types of what its functions take and give."""
    functions.encoder_new.argtypes = (POINTER(Parts), c_char_p, c_int)
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
    """The best instructions of this CPU that there are kernels for; None if there are none."""
    functions = library()
    if functions is None:
        return None
    return next((name for name in KERNELS if functions.encoder_supports(name.encode())), None)


def product_rate(rows: int, inner: int, columns: int, threads: int, seconds: float) -> float:
    """Multiply-accumulates a second of int8 products on so many threads; 0 without kernels."""
    functions, name = library(), kernels()
    if functions is None or name is None:
        return 0.0
    shape = (name.encode(), rows, inner, columns, seconds)
    with ThreadPoolExecutor(threads) as pool:
        return float(sum(pool.map(lambda _: functions.product_rate(*shape), range(threads))))
