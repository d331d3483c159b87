"""JSON files that carry the version of their format."""

import json
from pathlib import Path
from typing import Any

from trimseek.errors import TrimseekError


def read_versioned(path: Path, version: int, failure: type[TrimseekError]) -> dict[str, Any]:
    """The object in a JSON file; ``failure`` if it is damaged or of another format version."""
    try:
        content: dict[str, Any] = json.loads(path.read_text("utf-8"))
        found = content["format_version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise failure(f"{path}: damaged: {error}; make it anew") from error
    if found != version:
        raise failure(
            f"{path}: format version {found}, this trimseek reads {version}; "
            "use the trimseek that wrote it, or make it anew"
        )
    return content
