"""What a person sees on the terminal: progress and notes on stderr, results on stdout."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from trimseek.printable import printable

T = TypeVar("T")
WIDE = 240
# Neither [markup] nor :pictures: are made of what is printed, which may be a document's.
stderr = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)
stdout = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)


def note(message: str) -> None:
    """One line on stderr."""
    stderr.print(printable(message))


def say(line: str) -> None:
    """One line on stdout."""
    stdout.print(printable(line))


def say_text(text: str) -> None:
    """A text of several lines on stdout: as it is in a file, harmless on a terminal."""
    sys.stdout.write((printable(text, lines=True) if sys.stdout.isatty() else text) + "\n")


def print_table(table: Table) -> None:
    """As wide as the terminal, and as wide as it needs to be where there is none."""
    stdout.print(table, width=None if stdout.is_terminal else WIDE)


def print_json(value: Any) -> None:
    """One line of JSON on stdout, with escapes where its encoding lacks a character."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)
    sys.stdout.write(text + "\n")


class RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        """As rich draws it."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.0f}/s")


class Ticker:
    """Counts work done; ``advance(n)`` moves the bar."""

    def __init__(self, progress: Progress, total: int | None, label: str) -> None:
        self._progress = progress
        self._task = progress.add_task(label, total=total)

    def advance(self, n: int) -> None:
        """Count ``n`` items more."""
        self._progress.advance(self._task, n)

    def counted(self, items: Iterable[T]) -> Iterator[T]:
        """The items, each counted once it has been worked on."""
        for item in items:
            yield item
            self.advance(1)


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Ticker]:
    """A bar with rate and time left; drawn only where stderr is a terminal."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=stderr, disable=not stderr.is_terminal, transient=True
    ) as display:
        yield Ticker(display, total, label)
