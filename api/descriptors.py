"""How many connections a process has file descriptors for."""

import resource
from typing import NamedTuple

RESERVED = 64  # descriptors for indexes, logs and the rest
BACKLOG_SHARE = 4  # of descriptors, one in so many is for connections that wait to be accepted
LARGEST_BACKLOG = 2048  # connections
LARGEST_LIMIT = 65_536  # descriptors, where the system lets a process have more


class Room(NamedTuple):
    """For how many connections a process has descriptors: open ones, and ones that wait.

    All that wait are accepted at once, before any is closed to make room.
    """

    open: int
    waiting: int


def room_for_connections() -> Room:
    """What this process has room for; its limit of descriptors is raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = LARGEST_LIMIT if hard == resource.RLIM_INFINITY else min(hard, LARGEST_LIMIT)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    limit = LARGEST_LIMIT if soft == resource.RLIM_INFINITY else soft
    waiting = min(limit // BACKLOG_SHARE, LARGEST_BACKLOG)
    return Room(max(8, limit - RESERVED - waiting), waiting)
