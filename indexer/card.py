"""index.json: what an index folder is; written once."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from trimseek.atomic import atomic_file
from trimseek.errors import IndexFolderError
from trimseek.formats import read_versioned

FORMAT_VERSION = 1
CARD = "index.json"


@dataclass(frozen=True)
class IndexCard:
    """``encoder`` is the name that the document encoder was given by; ``overlap`` in tokens."""

    space: str
    dim: int
    encoder: str
    overlap: int
    format_version: int = FORMAT_VERSION


def write_card(card: IndexCard, folder: Path) -> None:
    with atomic_file(folder / CARD) as temporary:
        temporary.write_text(json.dumps(asdict(card), indent=2) + "\n", "utf-8")


def read_card(folder: Path) -> IndexCard:
    """Read index.json; IndexFolderError if the folder is no index, damaged or newer."""
    path = folder / CARD
    if not path.is_file():
        reason = "not an index folder (no index.json)" if folder.exists() else "no such folder"
        raise IndexFolderError(
            f"{folder}: {reason}; make one with: trimseek index CORPUS --into DIR"
        )
    fields = read_versioned(path, FORMAT_VERSION, IndexFolderError)
    try:
        return IndexCard(**fields)
    except TypeError as error:
        raise IndexFolderError(f"{path}: damaged: {error}") from error
