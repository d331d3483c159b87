"""The kind of each column of a table of text, found from all of its values.

A column is numbers, booleans or times only if every value is one and can be written again as it
was: 007 is a text, and so is a column in which one value is "n/a".
"""

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from trimseek.indexer.metadata import LARGEST_INTEGER, LEAST_INTEGER

INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII)
NUMBER = re.compile(r"-?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?", re.ASCII)
LEADING_ZERO = re.compile(r"-?0[0-9]+", re.ASCII)
COMMA = re.compile(r"-?[0-9]+(?:\.[0-9]{3})*,[0-9]+", re.ASCII)
TIME = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[-+]\d\d:?\d\d)?)?", re.ASCII
)
MOST_DIGITS = 17  # that a number with a point holds
LONGEST = 64  # characters of a value that is looked at
BOOLEANS = {"true": True, "false": False}


def boolean(value: str) -> bool | None:
    """True or false in any letters."""
    return BOOLEANS.get(value.lower())


def integer(value: str) -> int | None:
    """A whole number of 64 bits without leading zeros."""
    if not INTEGER.fullmatch(value):
        return None
    number = int(value)
    return number if LEAST_INTEGER <= number <= LARGEST_INTEGER else None


def number(value: str) -> int | float | None:
    """A whole number, or a finite one with a point or an exponent."""
    if (whole := integer(value)) is not None:
        return whole
    if not NUMBER.fullmatch(value) or INTEGER.fullmatch(value):
        return None
    if sum(character.isdigit() for character in value.lower().partition("e")[0]) > MOST_DIGITS:
        return None
    with_point = float(value)
    return with_point if abs(with_point) != float("inf") else None


def moment(value: str) -> str | None:
    """A date, or a time with its T, in UTC if it has a zone, as ISO 8601 writes it."""
    if not TIME.fullmatch(value):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    if len(value) == len("2024-01-05"):
        return value
    return (parsed if parsed.tzinfo is None else parsed.astimezone(UTC)).isoformat()


# In the order in which they are tried: the first that reads every value is the column's kind.
KINDS: dict[str, Callable[[str], Any]] = {
    "true/false": boolean,
    "whole numbers": integer,
    "numbers": number,
    "times": moment,
}


class Column:
    """What is known of a column after some of its values."""

    def __init__(self) -> None:
        self.values = 0
        self.possible = list(KINDS)
        self.fits = dict.fromkeys(KINDS, 0)
        self.odd: dict[str, str] = {}  # the first value that each kind could not read

    def add(self, value: str) -> None:
        """Look at one more value; blank ones count for nothing."""
        value = value.strip()
        if not value:
            return
        self.values += 1
        if not self.possible and self.values > 1000:  # known to be text, and how mixed
            return
        for kind, read in KINDS.items():
            if len(value) <= LONGEST and read(value) is not None:
                self.fits[kind] += 1
            else:
                self.odd.setdefault(kind, value)
                if kind in self.possible:
                    self.possible.remove(kind)

    @property
    def kind(self) -> str | None:
        """The column's kind, None for text."""
        return self.possible[0] if self.values and self.possible else None

    def remark(self, name: str) -> str | None:
        """Why a column that looks like another kind is text."""
        if self.kind is not None or not self.values:
            return None
        kind = max(self.fits, key=lambda kind: self.fits[kind])
        odd = self.odd[kind][:LONGEST]
        if LEADING_ZERO.fullmatch(odd):
            return f"{name!r} stays text, as {odd!r} begins with 0"
        if COMMA.fullmatch(odd) and self.fits[kind] == 0:
            return f"{name!r} stays text, as {odd!r} has a comma for the point"
        if self.fits[kind] == 0:
            return None
        kind = kind.removeprefix("whole ")
        return f"{name!r} stays text, as it holds {odd!r} beside {kind}"


def columns_of(rows: Iterable[Sequence[str]], count: int) -> list[Column]:
    """What the columns of a table are, from all of its rows."""
    columns = [Column() for _ in range(count)]
    for row in rows:
        for column, value in zip(columns, row, strict=True):
            column.add(value)
    return columns


def typed(value: str, kind: str | None) -> Any:
    """A cell as its column's kind has it; None for a blank one."""
    if kind is None:
        return value if value.strip() else None
    value = value.strip()
    return KINDS[kind](value) if value else None
