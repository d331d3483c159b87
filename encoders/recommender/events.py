"""Read an event log: JSON Lines or CSV of user, item and time.

Memory is 16 bytes an event and the ids, however long the file is.
"""

import csv
import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np
from numpy.typing import NDArray

from trimseek.encoders.unlabelled import object_of, open_text
from trimseek.errors import CorpusError
from trimseek.ids import check_id

USUAL_NAMES = {
    "user": ("user", "user_id", "userid", "customer_id", "visitor_id", "session_id"),
    "item": ("item", "item_id", "itemid", "product_id", "movie_id", "movieid", "parent_asin"),
    "time": ("time", "timestamp", "ts", "date", "datetime"),
}
SEPARATORS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
LARGEST_INTEGER = 2**63


@dataclass(frozen=True)
class EventLog:
    """Who took what, in the order of time.

    ``items``: ids, the one with the most events first, so that a small number is a popular item.
    ``users``: ids, in the order of their first events. ``taken (events,) int32``: numbers of items,
    those of user u from ``starts[u]`` to ``starts[u + 1]``, the earliest first. ``counts (items,)
    int64``: events of each item. ``repeated``: events that were left out since the same user took
    the same item at the same time.
    """

    name: str
    users: Sequence[str]
    items: Sequence[str]
    starts: NDArray[np.int64]
    taken: NDArray[np.int32]
    counts: NDArray[np.int64]
    repeated: int

    def history(self, user: int) -> NDArray[np.int32]:
        """The items of a user, by the number of the user, the latest last."""
        return self.taken[self.starts[user] : self.starts[user + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many events each user has."""
        return np.diff(self.starts)

    def __str__(self) -> str:
        repeated = f" ({self.repeated:,} repeated ones left out)" if self.repeated else ""
        return (
            f"{len(self.taken):,} events{repeated} of {len(self.users):,} users and "
            f"{len(self.items):,} items"
        )


class EventFields(NamedTuple):
    """Which fields of a log are the user, the item and the time; None for the usual names."""

    user: str | None = None
    item: str | None = None
    time: str | None = None


def is_event_log(path: Path) -> bool:
    """Whether a file is one: it begins with a row of a user, an item and a time."""
    if not path.is_file() or suffix_of(path) not in (*SEPARATORS, *JSON_LINES):
        return False
    try:
        with open_text(path) as lines:
            next(rows_of(path, lines, EventFields()), None)
    except (CorpusError, OSError, EOFError, UnicodeDecodeError):
        return False
    return True


def read_events(path: Path, fields: EventFields = EventFields()) -> EventLog:  # noqa: B008
    """Read a log; CorpusError with the line of what is wrong.

    Ids are texts or whole numbers; 7 and "7" are the same. Times are numbers or ISO 8601, one of
    the two throughout, in any order; events of the same time stay in the order of the file.
    """
    if suffix_of(path) not in (*SEPARATORS, *JSON_LINES):
        raise CorpusError(f"{path}: an event log is .jsonl, .csv or .tsv, perhaps with .gz behind")
    users, items = Numbers(), Numbers()
    of_user, of_item, times = array("i"), array("i"), array("d")
    is_date: bool | None = None
    try:
        with open_text(path) as lines:
            for number, row in rows_of(path, lines, fields):
                user, item, time = row
                of_user.append(users.of(user, path, number, "user"))
                of_item.append(items.of(item, path, number, "item"))
                seconds, dated = time_of(time, path, number)
                if is_date not in (None, dated):
                    kinds = ("a number", "a date")
                    raise CorpusError(
                        f"{path}:{number}: the time is {kinds[dated]}, and {kinds[not dated]} "
                        "before; give one kind"
                    )
                is_date = dated
                times.append(seconds)
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path}: cannot be read as text: {error}") from error
    if not times:
        raise CorpusError(f"{path}: no events")
    arrays = (np.frombuffer(of_user, np.int32), np.frombuffer(of_item, np.int32))
    return sorted_log(path.name, list(users), list(items), *arrays, np.frombuffer(times))


class Numbers(dict[str, int]):
    """Ids, numbered from 0 in the order in which they come."""

    def of(self, value: object, path: Path, line: int, name: str) -> int:
        """The number of an id, which is checked when it is new; CorpusError."""
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise CorpusError(
                f"{path}:{line}: the {name} is {value!r:.40}; give a text or a whole number"
            )
        number = self.get(value)
        if number is None:
            check_id(value, f"{path}:{line}", name)
            number = self[value] = len(self)
        return number


def sorted_log(
    name: str,
    users: Sequence[str],
    items: Sequence[str],
    of_user: NDArray[np.int32],
    of_item: NDArray[np.int32],
    times: NDArray[np.float64],
) -> EventLog:
    """The log of events ``(events,)`` in any order: numbers of users and items, and times."""
    order = np.lexsort((of_item, times, of_user))  # equal ones side by side, in their order
    repeats = np.zeros(len(order), bool)
    before, after = order[:-1], order[1:]
    repeats[after] = (
        (of_user[before] == of_user[after])
        & (of_item[before] == of_item[after])
        & (times[before] == times[after])
    )
    order = np.lexsort((times, of_user))  # stable: those of one time in the order of the file
    order = order[~repeats[order]]
    counts = np.bincount(of_item[order], minlength=len(items))
    by_count = np.argsort(-counts, kind="stable")
    place = np.empty(len(items), np.int32)
    place[by_count] = np.arange(len(items), dtype=np.int32)
    events_of_users = np.bincount(of_user[order], minlength=len(users))
    return EventLog(
        name=name,
        users=users,
        items=[items[i] for i in by_count],
        starts=np.concatenate([[0], np.cumsum(events_of_users)]),
        taken=place[of_item[order]],
        counts=counts[by_count],
        repeated=int(repeats.sum()),
    )


def suffix_of(path: Path) -> str:
    """The ending that says the format, in lower case, without a .gz behind it."""
    return (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()


Row = tuple[Any, Any, Any]  # user, item, time


def rows_of(path: Path, lines: TextIO, fields: EventFields) -> Iterator[tuple[int, Row]]:
    """Each event with the number of its line; CorpusError, also for a file without any."""
    separator = SEPARATORS.get(suffix_of(path))
    rows = json_rows(path, lines, fields)
    if separator is not None:
        rows = table_rows(path, lines, separator, fields)
    first = next(rows, None)
    if first is None:
        raise CorpusError(f"{path}: no events")
    yield first
    yield from rows


def json_rows(path: Path, lines: Iterable[str], fields: EventFields) -> Iterator[tuple[int, Row]]:
    """The events of JSON Lines."""
    names: Row | None = None
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        row = object_of(line, where, "a user, an item and a time")
        names = names or named_columns(list(row), fields, where)
        missing = [name for name in names if row.get(name) is None]
        if missing:
            raise CorpusError(f"{where}: no {missing[0]!r}")
        yield number, (row[names[0]], row[names[1]], row[names[2]])


def table_rows(
    path: Path, lines: Iterable[str], separator: str, fields: EventFields
) -> Iterator[tuple[int, Row]]:
    """The events of a table, whose first line has the names of its columns."""
    table = csv.reader(lines, delimiter=separator)
    header = next(table, None)
    if header is None:
        return
    header[0] = header[0].removeprefix("\ufeff")
    header = [name.strip() for name in header]
    names = named_columns(header, fields, f"{path}:1")
    places = [header.index(name) for name in names]
    for row in table:
        if not row:
            continue
        if len(row) != len(header):
            raise CorpusError(
                f"{path}:{table.line_num}: {len(row)} columns, and the first line has {len(header)}"
            )
        user, item, time = (row[place].strip() for place in places)
        yield table.line_num, (user, item, time)


def named_columns(names: Sequence[str], fields: EventFields, where: str) -> Row:
    """The names of the user's, the item's and the time's field; CorpusError if one is missing."""
    known = {name.lower(): name for name in names}
    found = []
    for kind, given in fields._asdict().items():
        usual = next((known[name] for name in USUAL_NAMES[kind] if name in known), None)
        name = usual if given is None else given
        if name is None or name not in names:
            wanted = f"{kind!r}" if given is None else f"{given!r} (--{kind}-field)"
            raise CorpusError(
                f"{where}: no field {wanted}; there are {', '.join(map(str, names[:20]))}; name "
                f"it by --{kind}-field"
            )
        found.append(name)
    return found[0], found[1], found[2]


def time_of(value: object, path: Path, line: int) -> tuple[float, bool]:
    """A time as a number, and whether it was a date; CorpusError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if math.isfinite(value) and abs(value) < LARGEST_INTEGER:
            return float(value), False
    elif isinstance(value, str):
        try:
            number = float(value)
            if math.isfinite(number):
                return number, False
        except ValueError:
            try:
                date = datetime.fromisoformat(value.strip())
                return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp(), True
            except (ValueError, OverflowError):
                pass
    raise CorpusError(
        f"{path}:{line}: the time is {value!r:.40}; give a number or ISO 8601 "
        "(2026-11-25T10:00:00Z)"
    )
