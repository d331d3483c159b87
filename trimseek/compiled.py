"""Code that was compiled when trimseek was installed, where there was a compiler."""

import ctypes
import importlib.util
from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from trimseek.console import note


def load(
    module: str, size_function: str, structures: Sequence[type[ctypes.Structure]]
) -> ctypes.CDLL | None:
    """The functions of an extension module; None where it is missing or of another machine.

    ``size_function`` is the name of its function that gives the bytes of structure number i. If
    they are not those of ``structures``, the code was compiled from other sources, and calling it
    would damage memory: None, with a note on stderr.
    """
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        return None
    try:
        functions = ctypes.CDLL(spec.origin)
    except OSError:
        return None
    if not sizes_match(functions, size_function, structures):
        note(f"{spec.origin}: compiled from another version, so not used; install trimseek anew")
        return None
    return functions


def sizes_match(
    functions: ctypes.CDLL, size_function: str, structures: Sequence[type[ctypes.Structure]]
) -> bool:
    """Whether C structures are as large as those that Python declares for them."""
    try:
        size_of = functions[size_function]
    except AttributeError:
        return False
    size_of.restype = ctypes.c_size_t
    return all(size_of(i) == ctypes.sizeof(structure) for i, structure in enumerate(structures))


def address(array: NDArray[Any]) -> int:
    """Where an array begins; the caller keeps the array."""
    return int(array.__array_interface__["data"][0])
