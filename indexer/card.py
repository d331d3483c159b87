"""index.json: what an index folder is; written once."""

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from trimseek.atomic import write_text
from trimseek.encoders.card import LONGEST_PROMPT
from trimseek.errors import IndexFolderError
from trimseek.formats import checked, read_versioned

FORMAT_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)  # 1 has no id, 2 no queries
CARD = "index.json"
ID_BYTES = 16
MOST_DIMENSIONS = 65_536
MOST_OVERLAP = 128  # tokens


@dataclass(frozen=True)
class Prompts:
    """What stands before each query and document; ``given``: by who made the index.

    Otherwise they are the encoder's own, and a query encoder's own counts for queries.
    """

    query: Annotated[str, Field(max_length=LONGEST_PROMPT)]
    document: Annotated[str, Field(max_length=LONGEST_PROMPT)]
    given: bool

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class IndexCard:
    """index.json.

    ``encoder``: the name that the document encoder was given by; ``queries``: that of the query
    encoder, "" if it is the same. ``overlap`` in tokens. ``id``: random, another one after every
    creation, restore and re-embedding; "" in what an earlier trimseek made. ``prompts``: None in
    what an earlier trimseek made.
    """

    space: Annotated[str, Field(min_length=1, max_length=256)]
    dim: Annotated[int, Field(ge=1, le=MOST_DIMENSIONS)]
    encoder: Annotated[str, Field(min_length=1, max_length=4096)]
    overlap: Annotated[int, Field(ge=0, le=MOST_OVERLAP)]
    id: Annotated[str, Field(pattern=r"^(|[0-9a-f]{32})$")] = ""
    prompts: Prompts | None = None
    queries: Annotated[str, Field(max_length=4096)] = ""
    format_version: int = FORMAT_VERSION

    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def query_encoder(self) -> str:
        """The name of what encodes queries, unless a search says otherwise."""
        return self.queries or self.encoder


def with_new_id(card: IndexCard) -> IndexCard:
    """The card of another index."""
    return replace(card, id=secrets.token_hex(ID_BYTES), format_version=FORMAT_VERSION)


def is_index(folder: Path) -> bool:
    """Whether a folder is an index, whole or not."""
    return (folder / CARD).is_file()


def write_card(card: IndexCard, folder: Path) -> None:
    """Write index.json, wholly or not at all."""
    write_text(folder / CARD, json.dumps(asdict(card), indent=2) + "\n")


def read_card(folder: Path) -> IndexCard:
    """Read index.json; IndexFolderError if the folder is no index, damaged or newer."""
    path = folder / CARD
    if not path.is_file():
        reason = "not an index folder (no index.json)" if folder.exists() else "no such folder"
        raise IndexFolderError(
            f"{folder}: {reason}; make one with: trimseek index CORPUS --into DIR"
        )
    return card_of(read_versioned(path, READABLE_VERSIONS, IndexFolderError), path)


def card_of(content: Mapping[str, Any], path: Path) -> IndexCard:
    """A card from its JSON object; IndexFolderError names the field that is wrong."""
    card = checked(IndexCard, content, path, IndexFolderError)
    for field in ("encoder", "queries"):
        name = getattr(card, field)
        if not name.isprintable():
            raise IndexFolderError(f"{path}: damaged: {field} cannot be {name!a:.80}")
    return card


class Identity:
    """The id of the index in a folder, as ``folder_identity``, read anew when its card changes."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / CARD
        self._known: tuple[tuple[int, ...], str | None] = ((), None)

    def now(self) -> str | None:
        """None while no index is there, or its card cannot be read."""
        try:
            status = self._path.stat()
        except OSError:
            return None
        # another card is another file
        version = (status.st_dev, status.st_ino, status.st_ctime_ns, status.st_size)
        known, identity = self._known
        if version != known:
            identity = folder_identity(self._folder)
            self._known = version, identity
        return identity


def folder_identity(folder: Path) -> str | None:
    """The id of the index in a folder; None while none is there, or its card cannot be read.

    Of an index without an id, the file's number and the time of its last change stand for it.
    """
    path = folder / CARD
    try:
        with path.open("rb") as file:
            content = json.loads(file.read())
            identity = content.get("id", "")
            if identity:
                return str(identity)
            status = os.fstat(file.fileno())
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return f"{status.st_dev}-{status.st_ino}-{status.st_ctime_ns}"
