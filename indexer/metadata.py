"""What metadata may be, so that whatever is stored can be filtered, counted and answered as JSON.

One rule at every door (files, command line, Python, HTTP, restore): at most ``MOST_DEPTH`` levels,
``MOST_BYTES`` of JSON, whole numbers of 64 bits with a sign, other numbers finite, texts of Unicode
without NUL. Values that JSON has no form for become one that can be compared: decimals are numbers,
durations seconds, dates and times ISO 8601 with a T, in UTC if they say their zone. An index of an
earlier trimseek may break it and is served all the same: ``answerable`` gives what breaks it in
another form.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any
from uuid import UUID

import numpy as np

from trimseek.errors import CorpusError
from trimseek.ids import check_text

MOST_DEPTH = 32  # levels of lists and objects
MOST_BYTES = 2**20  # of a document's metadata as JSON
LEAST_INTEGER, LARGEST_INTEGER = -(2**63), 2**63 - 1  # SQLite's
# In the JSON of what breaks the rule, and seldom in other's: long or huge numbers, and many levels.
SUSPICIOUS = re.compile(r"\d{19}|[eE]\+?\d{3}|NaN|Infinity")


def metadata_json(metadata: Mapping[str, Any], where: str) -> str:
    """Metadata as it is stored: JSON whose names are sorted.

    CorpusError, which begins with ``where`` and names the field, for what breaks the rule.
    """
    plain = {name: plain_value(value, str(name), where) for name, value in metadata.items()}
    try:
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, sort_keys=True)
    except (ValueError, TypeError, RecursionError) as error:
        raise CorpusError(f"{where}: metadata cannot be stored as JSON: {error}") from None
    check_text(text, "metadata", where)
    if len(text) > MOST_BYTES or len(text.encode()) > MOST_BYTES:
        raise CorpusError(
            f"{where}: the metadata has {len(text.encode()):,} bytes as JSON; the most is "
            f"{MOST_BYTES:,}"
        )
    return text


def plain_value(value: object, name: str, where: str, depth: int = 1) -> Any:
    """A value of a field as JSON has it; CorpusError for one that breaks the rule."""
    value = json_form(value)
    if isinstance(value, str):
        if "\0" in value:
            raise CorpusError(f"{where}: metadata field {name!a} holds a NUL (U+0000); remove it")
        return value
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        if not LEAST_INTEGER <= value <= LARGEST_INTEGER:
            raise CorpusError(
                f"{where}: metadata field {name!a}: a whole number beyond 64 bits; write it as text"
            )
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise CorpusError(f"{where}: metadata field {name!a}: {value} is no number of JSON")
        return value
    if isinstance(value, Mapping | list | tuple):
        if depth >= MOST_DEPTH:
            raise CorpusError(f"{where}: metadata field {name!a} has more than {MOST_DEPTH} levels")
        if isinstance(value, Mapping):
            return {key: plain_value(part, name, where, depth + 1) for key, part in value.items()}
        return [plain_value(part, name, where, depth + 1) for part in value]
    raise CorpusError(
        f"{where}: metadata field {name!a}: {type(value).__name__} cannot be stored; give a text, "
        "a number, true or false, a date, a list or an object"
    )


def json_form(value: object) -> object:
    """The value of JSON that stands for one that JSON has no form for; others as they are."""
    if value is None or type(value) in (str, int, float, bool, dict, list):
        return value
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return json_form(value.item())
    if isinstance(value, Decimal):
        return int(value) if value.is_finite() and value.as_tuple().exponent == 0 else float(value)
    if isinstance(value, datetime):
        return (value if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, UUID | PurePath):
        return str(value)
    return value


def stored_metadata(text: str) -> dict[str, Any]:
    """Metadata from its JSON, in a form that can be answered; ValueError if it is damaged."""
    metadata = json.loads(text)
    if not isinstance(metadata, dict):
        raise ValueError("not a JSON object")
    if may_break_rule(text):
        return {name: answerable(value) for name, value in metadata.items()}
    return metadata


def may_break_rule(text: str) -> bool:
    """Whether JSON may hold numbers or levels that an answer may not."""
    return bool(SUSPICIOUS.search(text)) or text.count("[") + text.count("{") > MOST_DEPTH


def is_answerable(text: str) -> bool:
    """Whether stored metadata can be answered as the JSON that it is."""
    try:
        return isinstance(json.loads(text), dict) and not may_break_rule(text)
    except (ValueError, RecursionError):
        return False


def answerable(value: Any, depth: int = 1) -> Any:
    """A value of an earlier trimseek that breaks the rule, in a form that JSON has.

    Numbers beyond 64 bits and levels beyond the most become text, infinite numbers null.
    """
    if isinstance(value, int) and not LEAST_INTEGER <= value <= LARGEST_INTEGER:
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        if depth >= MOST_DEPTH:
            return json.dumps(value, ensure_ascii=False)
        if isinstance(value, Mapping):
            return {name: answerable(part, depth + 1) for name, part in value.items()}
        return [answerable(part, depth + 1) for part in value]
    return value
