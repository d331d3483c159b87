"""What this CPU can do for int8 matrix products."""

import platform
from enum import Enum
from functools import cache
from pathlib import Path


class Int8Path(str, Enum):
    """Instructions for int8 products, by their CPU flags in Linux, from fastest to slowest."""

    AMX = "amx_int8"
    AVX512_VNNI = "avx512_vnni"
    AVX_VNNI = "avx_vnni"
    AVX512 = "avx512bw"
    AVX2 = "avx2"
    ARM_I8MM = "i8mm"
    ARM_DOTPROD = "asimddp"
    GENERIC = "generic"


MEANING = {
    Int8Path.AMX: "tile products: the fastest int8",
    Int8Path.AVX512_VNNI: "dot products in 32 bits: fast and exact int8",
    Int8Path.AVX_VNNI: "dot products in 32 bits: fast and exact int8",
    Int8Path.AVX512: "no VNNI: int8 sums saturate at 16 bits, so 7 bits are used",
    Int8Path.AVX2: "no VNNI: int8 sums saturate at 16 bits, so 7 bits are used",
    Int8Path.ARM_I8MM: "matrix products in 32 bits: fast and exact int8",
    Int8Path.ARM_DOTPROD: "dot products in 32 bits: fast and exact int8",
    Int8Path.GENERIC: "no int8 instructions known: int8 saves memory, hardly time",
}
SATURATING = (Int8Path.AVX512, Int8Path.AVX2)


@cache
def cpu_flags() -> frozenset[str]:
    """The CPU's feature flags as Linux names them; empty on other systems."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return frozenset()
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


@cache
def cpu_name() -> str:
    """The CPU's model name, or where that is unknown its architecture."""
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def int8_flags() -> list[str]:
    """The values of ``Int8Path`` that this CPU has, fastest first."""
    return [path.value for path in Int8Path if path.value in cpu_flags()]


def int8_path() -> Int8Path:
    """The fastest int8 instructions that this CPU has."""
    return next((Int8Path(flag) for flag in int8_flags()), Int8Path.GENERIC)
