"""Code that was compiled when trimseek was installed, where there was a compiler."""

import ctypes
import importlib.util
from typing import Any

from numpy.typing import NDArray


def load(module: str) -> ctypes.CDLL | None:
    """The functions of an extension module; None where it is not there or of another machine."""
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return None
    try:
        return ctypes.CDLL(found.origin)
    except OSError:
        return None


def address(array: NDArray[Any]) -> int:
    """Where an array begins; the caller keeps the array."""
    return int(array.__array_interface__["data"][0])
