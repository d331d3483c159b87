"""How large a process is."""

from pathlib import Path


def resident_bytes(process: int) -> int:
    """Resident memory of a process; OSError where it, or the system, does not say."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"process {process} does not say how large it is")


def shared_bytes(process: int) -> int:
    """Memory of a process, of what n processes share an n-th (PSS); OSError as above."""
    for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"process {process} does not say how large it is")


def family_bytes(process: int) -> int:
    """Memory of a process and of those that it has started, what they share counted once.

    Of the process alone where none is left. OSError as above.
    """
    return sum(map(shared_bytes, [process, *children(process)]))


def children(process: int) -> list[int]:
    """The processes that a process has started; OSError where the system does not say."""
    listed = Path(f"/proc/{process}/task/{process}/children").read_text()
    return [int(number) for number in listed.split()]
