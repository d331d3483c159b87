"""Which files were checked before, so that they need not be read as a whole each time.

A large index takes seconds to check, and is opened often. What is noted is the file as the system
describes it: one that was written to or replaced since has another time of change, which nobody
can set. It is noted in the user's own folder, where it does not travel with the index.
"""

import json
import os
import time
from contextlib import suppress
from pathlib import Path

from trimseek.atomic import sha256_of, write_text
from trimseek.errors import TrimseekError
from trimseek.settings import load_settings

FILE = "checked-files.json"
MOST = 500  # files that are noted
TICK = 20_000_000  # nanoseconds: the clock of some file systems takes steps of up to 10 ms


class CheckedFile:
    """A file that is about to be read; ``known``: it was found sound before, as it is now.

    ``sha256``: what its checksum is to be. ``anew``: whatever is noted.
    """

    def __init__(self, path: Path, sha256: str, *, anew: bool = False) -> None:
        self.path, self._sha256 = path, sha256
        self._name = os.path.realpath(path)
        self._state = description(path, sha256)
        self.known = not anew and self._state is not None and noted().get(self._name) == self._state

    def has_checksum(self) -> bool:
        """Whether its checksum is that one: it is not read again where it is known. OSError."""
        return self.known or sha256_of(self.path) == self._sha256

    def note(self) -> None:
        """Note that it was found sound, unless it has changed since; nothing where it cannot be."""
        if self._state is None:
            return
        # a change within the tick of the last one could not be told
        changed = int(self._state[-2])
        time.sleep(min(max(0, changed + TICK - time.time_ns()), TICK) / 1e9)
        if description(self.path, self._sha256) != self._state:
            return
        known = noted()
        known.pop(self._name, None)
        known[self._name] = self._state
        latest = dict(list(known.items())[-MOST:])
        with suppress(OSError, TrimseekError):
            load_settings().home.mkdir(parents=True, exist_ok=True)
            write_text(load_settings().home / FILE, json.dumps(latest))


def noted() -> dict[str, object]:
    """What is noted, the latest last."""
    try:
        known = json.loads((load_settings().home / FILE).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def description(path: Path, sha256: str) -> list[int | str] | None:
    """What changes with a file, its time of change and the checksum last; None without a file."""
    try:
        status = path.stat()
    except OSError:
        return None
    which = status.st_dev, status.st_ino, status.st_size
    return [*which, status.st_mtime_ns, status.st_ctime_ns, sha256]
