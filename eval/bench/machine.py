"""The machine that measurements are made on."""

import os
import platform

from trimseek.encoders.cpu import cpu_flags, cpu_name, int8_flags, int8_path
from trimseek.eval.bench.results import Machine, Rates
from trimseek.settings import load_settings
from trimseek.versions import installed_versions


def describe_machine(rates: Rates | None, peer_versions: dict[str, dict[str, str]]) -> Machine:
    """CPU, instruction sets, memory in bytes and installed versions."""
    return Machine(
        cpu=cpu_name(),
        flags=flags_told(),
        int8=int8_path().value,
        cores=os.cpu_count() or 1,
        threads=load_settings().threads,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        system=platform.platform(),
        rates=rates,
        versions=installed_versions(),
        peer_versions=peer_versions,
    )


def flags_told() -> list[str]:
    """The instruction sets that int8 and float32 products depend on."""
    others = [flag for flag in ("avx2", "fma") if flag in cpu_flags()]
    return list(dict.fromkeys([*int8_flags(), *others]))
