"""How large a process is."""

from pathlib import Path


def resident_bytes(process: int) -> int:
    """Resident memory of a process; OSError where it, or the system, does not say."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"process {process} does not say how large it is")
