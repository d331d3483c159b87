"""Several processes on one socket: each has about as many connections as the others.

The system gives a connection to whichever process is quickest, and a client keeps it: of 16 from a
busy client, one process may have 12. So a process that has more than another hands over a
connection to it: a new one, or one whose request has just been answered. How many each has stands
in memory that all share.
"""

import asyncio
import mmap
import os
import socket
import struct
import tempfile
from collections.abc import Callable, Sequence
from typing import NamedTuple

COUNT = struct.Struct("=i")
STARTING = 2**30  # connections of a process that does not take any yet
MORE = 2  # connections than another process has, from which on one is handed over
RECEIVED = 64  # connections that are taken over in one go


class Descriptors(NamedTuple):
    """What the processes of one service inherit: shared memory, and a pair of sockets for each."""

    counts: int
    senders: tuple[int, ...]
    receivers: tuple[int, ...]

    def all(self) -> tuple[int, ...]:
        """Every descriptor."""
        return (self.counts, *self.senders, *self.receivers)


def new_descriptors(workers: int) -> Descriptors:
    """For so many processes; each is still starting."""
    with tempfile.TemporaryFile() as file:
        counts = os.dup(file.fileno())
    os.ftruncate(counts, workers * COUNT.size)
    os.pwrite(counts, COUNT.pack(STARTING) * workers, 0)
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(workers)]
    descriptors = Descriptors(
        counts,
        tuple(sender.detach() for sender, _ in pairs),
        tuple(receiver.detach() for _, receiver in pairs),
    )
    for descriptor in descriptors.all():
        os.set_inheritable(descriptor, True)
    return descriptors


class Balance:
    """One process's part; ``number``: which of them it is."""

    def __init__(self, descriptors: Descriptors, number: int) -> None:
        self._number = number
        self._counts = mmap.mmap(descriptors.counts, 0)
        self._own = 0
        self._senders = [socket.socket(fileno=os.dup(sender)) for sender in descriptors.senders]
        self._receiver = socket.socket(fileno=os.dup(descriptors.receivers[number]))
        for end in (*self._senders, self._receiver):
            end.setblocking(False)
        self._set(STARTING)

    def close(self) -> None:
        """Take no more, and hand none over."""
        self._set(STARTING)
        for end in (*self._senders, self._receiver):
            end.close()
        self._counts.close()

    def listen(
        self, loop: asyncio.AbstractEventLoop, protocol: Callable[[], asyncio.BaseProtocol]
    ) -> None:
        """Take over the connections that others hand over."""
        self._set(0)

        def take_over() -> None:
            for _ in range(RECEIVED):
                try:
                    _, descriptors, *_ = socket.recv_fds(self._receiver, 1, 1)
                except (BlockingIOError, InterruptedError):
                    return
                for descriptor in descriptors:
                    accepted = socket.socket(fileno=descriptor)
                    loop.create_task(loop.connect_accepted_socket(protocol, accepted))

        loop.add_reader(self._receiver.fileno(), take_over)

    def opened(self) -> None:
        """Count a connection."""
        self._own += 1
        self._set(self._own)

    def closed(self) -> None:
        """Count one less."""
        self._own -= 1
        self._set(self._own)

    def handed_over(self, connection: socket.socket, *, counted: bool) -> bool:
        """Hand a connection to the process that has fewest; ``counted``: whether it was here.

        False where none has so few that it is worth it, or it cannot take any.
        """
        counts = self._all()
        fewest = min(range(len(counts)), key=counts.__getitem__)
        own = self._own if counted else self._own + 1
        if own - counts[fewest] < MORE:
            return False
        try:
            socket.send_fds(self._senders[fewest], [b"c"], [connection.fileno()])
        except OSError:
            return False
        return True

    def _all(self) -> Sequence[int]:
        return [count for (count,) in COUNT.iter_unpack(self._counts[:])]

    def _set(self, count: int) -> None:
        COUNT.pack_into(self._counts, self._number * COUNT.size, count)
