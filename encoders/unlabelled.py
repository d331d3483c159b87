"""Unlabelled text for calibration and alignment: files of texts, and short texts drawn from long.

A file holds JSON Lines with a ``text`` (and perhaps a ``title``), or one text a line; ``.gz`` is
unpacked.
"""

import gzip
import json
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO, TypeVar, cast

from trimseek.errors import CorpusError

T = TypeVar("T")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z0-9\"'(])")
SPAN_WORDS = (2, 10)  # the length of queries that people type


class Unlabelled(NamedTuple):
    """One text; the title is empty where the file has none."""

    title: str
    text: str


def read_unlabelled(path: Path) -> list[Unlabelled]:
    """The texts of a file without empty ones; CorpusError if it has none or is not text."""
    rows = []
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    rows.append(parse(line.strip(), f"{path}:{number}"))
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise CorpusError(f"{path}: cannot be read as text: {error}") from error
    rows = [row for row in rows if row.text]
    if not rows:
        raise CorpusError(f"{path}: no text in it; give one text a line, or JSON Lines with a text")
    return rows


def open_text(path: Path) -> TextIO:
    """A file of text in UTF-8, to be read; ``.gz`` is unpacked."""
    if path.suffix == ".gz":
        return cast(TextIO, gzip.open(path, "rt", encoding="utf-8"))
    return path.open(encoding="utf-8")


def sample_texts(path: Path, count: int) -> list[str]:
    """At most so many texts, evenly spread over a file; CorpusError as ``read_unlabelled``."""
    texts = [row.text for row in read_unlabelled(path)]
    return texts[:: max(1, len(texts) // count)][:count]


def parse(line: str, where: str) -> Unlabelled:
    """A line that is a JSON object or a text; CorpusError naming ``where`` if it is damaged."""
    if not line.startswith("{"):
        return Unlabelled("", line)
    try:
        row = json.loads(line)
        return Unlabelled(str(row.get("title") or "").strip(), str(row["text"]).strip())
    except (ValueError, KeyError, RecursionError) as error:
        raise CorpusError(f"{where}: not a JSON object with a text: {error}") from error


def object_of(line: str, where: str, wanted: str) -> Mapping[str, Any]:
    """The JSON object of a line; CorpusError, which says what is ``wanted`` in it."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{where}: not JSON: {error}") from error
    if not isinstance(row, Mapping):
        raise CorpusError(f"{where}: not an object with {wanted}")
    return row


def sentences(text: str) -> list[str]:
    """The sentences of a text, told by punctuation before a capital or a digit."""
    return [sentence for sentence in SENTENCE_END.split(text) if sentence.strip()]


def spans(texts: Sequence[str], count: int, seed: int) -> Iterator[str]:
    """Runs of 2 to 10 words from random places, which stand in for queries that people type."""
    generator = random.Random(seed)  # noqa: S311 - a sample, not a secret
    for _ in range(count):
        words = generator.choice(texts).split()
        length = min(len(words), generator.randint(*SPAN_WORDS))
        start = generator.randint(0, len(words) - length)
        yield " ".join(words[start : start + length])


def shuffled(values: Sequence[T], seed: int) -> list[T]:
    """A list in random order, the same for the same seed."""
    order = list(values)
    random.Random(seed).shuffle(order)  # noqa: S311 - a sample, not a secret
    return order
