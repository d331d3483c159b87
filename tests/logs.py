"""A small event log whose users walk through groups of items."""

import random
from collections.abc import Iterable
from pathlib import Path

GROUPS, IN_GROUP, USERS = 12, 15, 400


def walks(seed: int = 1) -> list[tuple[str, str, int]]:
    """Events in a random order: user, item, time."""
    chosen = random.Random(seed)
    events = []
    for user in range(USERS):
        group, seen = chosen.randrange(GROUPS), set()
        for time in range(chosen.randrange(1, 14)):
            if chosen.random() < 0.15:
                group = chosen.randrange(GROUPS)
            first = group * IN_GROUP
            left = [item for item in range(first, first + IN_GROUP) if item not in seen][:6]
            item = chosen.choice(left)
            seen.add(item)
            events.append((f"u{user}", f"item {item}", time))
    chosen.shuffle(events)
    return events


def write_log(path: Path, events: Iterable[tuple[object, object, object]]) -> Path:
    """A CSV file of events."""
    lines = [f"{user},{item},{time}\n" for user, item, time in events]
    path.write_text("user,item,time\n" + "".join(lines), "utf-8")
    return path
