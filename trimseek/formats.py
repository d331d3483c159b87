"""JSON files that carry the version of their format."""

import json
from collections.abc import Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from trimseek.errors import TrimseekError

T = TypeVar("T")


def read_versioned(
    path: Path, versions: int | Collection[int], failure: type[TrimseekError]
) -> dict[str, Any]:
    """The object in a JSON file; ``failure`` if it is damaged or of another format version.

    ``versions``: the one that can be read, or all of them.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise failure(f"{path}: damaged: {error}; make it anew") from error
    return versioned(content, path, versions, failure)


def versioned(
    text: bytes, path: Path | str, versions: int | Collection[int], failure: type[TrimseekError]
) -> dict[str, Any]:
    """As ``read_versioned``, of a file's content; ``path``: as errors call it."""
    readable = [versions] if isinstance(versions, int) else sorted(versions)
    try:
        content: dict[str, Any] = json.loads(text.decode())
        version = content["format_version"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise failure(f"{path}: damaged: {error}; make it anew") from error
    if version not in readable:
        raise failure(
            f"{path}: format version {version}, this trimseek reads "
            f"{listed(readable)}; use the trimseek that wrote it, or make it anew"
        )
    return content


def listed(numbers: Sequence[int]) -> str:
    """Numbers as people list them: "1, 2 and 3"."""
    *first, last = map(str, numbers)
    return f"{', '.join(first)} and {last}" if first else last


def checked(
    kind: type[T], content: Mapping[str, Any], path: Path | str, failure: type[TrimseekError]
) -> T:
    """A dataclass from the object of a JSON file, every field of it checked.

    ``failure`` names the first field that is missing, unknown, of another type or out of range.
    """
    try:
        value: T = adapter(cast("Any", kind)).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(map(str, first["loc"])) or "it"
        raise failure(f"{path}: damaged: {place}: {first['msg']}; make it anew") from error
    except RecursionError as error:
        raise failure(f"{path}: damaged: {error}; make it anew") from error
    return value


@cache
def adapter(kind: Any) -> TypeAdapter[Any]:
    """What checks a dataclass."""
    return TypeAdapter(kind)
