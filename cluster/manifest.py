"""manifest.json: which files a cluster's index consists of; written last, swapped as a whole."""

import json
from dataclasses import asdict, dataclass
from typing import Annotated

from pydantic import ConfigDict, Field

from trimseek.cluster.placement import MOST_SHARDS
from trimseek.cluster.storage import Storage, StoredFile
from trimseek.errors import IndexFolderError
from trimseek.formats import checked, versioned
from trimseek.indexer.card import IndexCard, Prompts

MANIFEST = "manifest.json"
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)  # 1 has no queries
Count = Annotated[int, Field(ge=0)]


@dataclass(frozen=True)
class ShardEntry:
    """A shard. ``kind``: of its snapshot. ``backup``: a backup as ``trimseek restore`` takes it.

    ``beside``: the files of its snapshot, by the names that they have in an index folder, so that
    who opens it does not build them again. ``known``: which texts its documents have, so that the
    next build does not embed them again.
    """

    documents: Count
    chunks: Count
    kind: Annotated[str, Field(min_length=1, max_length=40)]
    backup: StoredFile
    beside: dict[Annotated[str, Field(pattern=r"^[a-z]+-\d+\.[a-z]+$")], StoredFile]
    known: StoredFile

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class WordStatistics:
    """Of all words of all documents: what they are weighed by.

    ``file``: which terms there are, and how many documents have each. ``in_texts``, ``in_titles``:
    how many words all texts and all titles have.
    """

    file: StoredFile
    in_texts: Count
    in_titles: Count
    language: Annotated[str, Field(min_length=1, max_length=40)]

    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Manifest:
    """``generation``: 1, 2, ...; ``id``: random, of this generation alone.

    ``space``, ``dim``, ``encoder``, ``queries``, ``overlap``, ``prompts``: as ``IndexCard``.
    ``created``: the time in UTC (ISO 8601).
    """

    generation: Annotated[int, Field(ge=1)]
    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    created: str
    space: Annotated[str, Field(min_length=1, max_length=256)]
    dim: Annotated[int, Field(ge=1, le=65_536)]
    encoder: Annotated[str, Field(min_length=1, max_length=4096)]
    overlap: Annotated[int, Field(ge=0, le=128)]
    prompts: Prompts
    facets: tuple[str, ...]
    shards: Annotated[tuple[ShardEntry, ...], Field(min_length=1, max_length=MOST_SHARDS)]
    words: WordStatistics
    queries: Annotated[str, Field(max_length=4096)] = ""
    format_version: int = FORMAT_VERSION

    __pydantic_config__ = ConfigDict(extra="forbid")

    @property
    def documents(self) -> int:
        """Of all shards."""
        return sum(shard.documents for shard in self.shards)

    @property
    def chunks(self) -> int:
        """Of all shards."""
        return sum(shard.chunks for shard in self.shards)

    @property
    def files(self) -> list[StoredFile]:
        """All but the manifest."""
        files = [self.words.file]
        for shard in self.shards:
            files += [shard.backup, shard.known, *shard.beside.values()]
        return files

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def card(self) -> IndexCard:
        """As one index of all documents would have it."""
        return IndexCard(
            *(self.space, self.dim, self.encoder, self.overlap, self.id, self.prompts, self.queries)
        )


def file_folder(file: StoredFile) -> str:
    """The folder of a generation's file."""
    return file.name.partition("/")[0]


def read_manifest(storage: Storage) -> Manifest | None:
    """The manifest below a URI, None where there is none; IndexFolderError if it is damaged."""
    path, content = storage.path(MANIFEST), storage.read(MANIFEST)
    if content is None:
        return None
    fields = versioned(content, path, READABLE_VERSIONS, IndexFolderError)
    return checked(Manifest, fields, path, IndexFolderError)


def served_manifest(storage: Storage) -> Manifest:
    """As ``read_manifest``; IndexFolderError where there is none."""
    manifest = read_manifest(storage)
    if manifest is None:
        raise IndexFolderError(
            f"{storage.path(MANIFEST)}: no such file; make an index with: trimseek cluster build "
            f"CORPUS --into {storage.uri}"
        )
    return manifest


def write_manifest(manifest: Manifest, storage: Storage) -> None:
    """Put it in the place of the one before."""
    storage.write(MANIFEST, json.dumps(asdict(manifest), indent=2).encode() + b"\n")
