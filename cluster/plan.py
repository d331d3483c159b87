"""What a build does: decided once by who drives it, and sent to all who work for it."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from trimseek.cluster.sources import Part
from trimseek.encoders import DocumentEncoder, find_encoder
from trimseek.indexer.card import IndexCard
from trimseek.indexer.documents import ReadOptions
from trimseek.indexer.prompts import given_prompt

# A piece ends at whichever comes first: enough work for good batches, little lost with a worker.
PIECE_DOCUMENTS = 2048
PIECE_CHARACTERS = 2**21


@dataclass(frozen=True)
class BuildPlan:
    """``uri``: where the index is to be. ``parts``: of the corpus. ``card``: of every shard.

    ``kind``, ``facets``, ``language``: as of ``trimseek index``; the language is "auto" until the
    first documents were read. ``before``: the id of the manifest that is there, "" for none.
    ``generation``: the number of the new one.
    """

    uri: str
    parts: tuple[Part, ...]
    options: ReadOptions
    skip_empty: bool
    shards: int
    card: IndexCard
    kind: str
    facets: tuple[str, ...]
    language: str
    before: str
    generation: int

    @property
    def digest(self) -> str:
        """Another one when anything of the plan changes."""
        card = asdict(self.card) | {"id": ""}
        content = [
            *(self.parts, asdict(self.options), self.skip_empty, self.shards, card, self.kind),
            *(self.facets, self.language, self.before, self.generation),
            *(PIECE_DOCUMENTS, PIECE_CHARACTERS),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]

    @property
    def work(self) -> str:
        """The folder of pieces and of what is finished, below the URI."""
        return f"work-{self.digest}"

    @property
    def folder(self) -> str:
        """The folder of the new generation's files, below the URI."""
        return f"generation-{self.generation:06d}-{self.digest}"

    def open_encoder(self, threads: int | None = None) -> DocumentEncoder:
        """The encoder of documents, as each worker opens it; EncoderError."""
        folder = find_encoder(self.card.encoder)
        return DocumentEncoder(folder, threads=threads, prompt=given_prompt(self.card))


def shard_file(folder: str, shard: int, what: str) -> str:
    """The name of a shard's file below the URI."""
    return f"{folder}/shard-{shard:04d}.{what}"


def work_folders(names: Sequence[str]) -> set[str]:
    """The folders of unfinished builds among names below the URI."""
    return {name.partition("/")[0] for name in names if name.startswith("work-")}
