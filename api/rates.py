"""How many requests each key may make, counted over all processes that serve one socket.

Each key has a token bucket: ``rate`` tokens a second flow in, and at most as many lie there. The
buckets lie in a file without a name, which the workers inherit; a lock on a key's bytes keeps two
processes from taking the same token. The clock is the system's own, the same for all processes.
"""

import fcntl
import os
import struct
import tempfile
import time

BUCKET = struct.Struct("dd")  # tokens, and when they were counted (s of time.monotonic)


def bucket_file(keys: int) -> int:
    """The descriptor of a new file of empty records, which child processes may inherit."""
    with tempfile.TemporaryFile() as file:
        descriptor = os.dup(file.fileno())
    os.set_inheritable(descriptor, True)
    os.ftruncate(descriptor, keys * BUCKET.size)
    return descriptor


class RateLimit:
    """``rate``: requests a second of each key; ``descriptor``: of ``bucket_file``."""

    def __init__(self, rate: float, descriptor: int) -> None:
        self.rate, self.size = rate, max(1.0, rate)
        self._descriptor = descriptor

    def take(self, key: int) -> bool:
        """Take a token of the key of that number; false where there is none."""
        start = key * BUCKET.size
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX, BUCKET.size, start)
        try:
            now = time.monotonic()
            tokens, counted = BUCKET.unpack(os.pread(self._descriptor, BUCKET.size, start))
            if not counted:  # its first request
                tokens, counted = self.size, now
            tokens = min(self.size, tokens + (now - counted) * self.rate)
            left = tokens - 1 if tokens >= 1 else tokens
            os.pwrite(self._descriptor, BUCKET.pack(left, now), start)
            return bool(tokens >= 1)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, BUCKET.size, start)
