"""What an index folder holds, in a few numbers."""

from dataclasses import asdict, dataclass
from pathlib import Path

from trimseek.encoders.prompts import described_prompts
from trimseek.indexer.folder import folder_bytes, open_index
from trimseek.indexer.stems import NO_STEMS


@dataclass(frozen=True)
class IndexSummary:
    """``encoder``: of documents; ``queries``: of those, unless a search says otherwise.

    ``snapshot``: chunks in the FAISS snapshot of that ``kind``, None without one. ``bytes`` on
    disk. ``facets``: metadata fields that are indexed. ``language``: whose words are stemmed.
    ``generation``: the snapshot's number. ``prompts``: what stands before queries and documents.
    """

    name: str
    documents: int
    chunks: int
    encoder: str
    space: str
    dim: int
    snapshot: int | None
    bytes: int
    kind: str | None = None
    facets: tuple[str, ...] = ()
    generation: int | None = None
    prompts: str = "none"
    language: str = "none"
    queries: str = ""


def summarize(folder: Path) -> IndexSummary:
    """Read an index's numbers; IndexFolderError."""
    with open_index(folder) as (card, store):
        counts, snapshot = store.counts(), store.snapshot()
        facets = tuple(sorted(store.facets()))
        language = store.analyzer.language or NO_STEMS
    return IndexSummary(
        name=folder.resolve().name,
        documents=counts.documents,
        chunks=counts.chunks,
        encoder=card.encoder,
        space=card.space,
        dim=card.dim,
        snapshot=snapshot.chunks if snapshot else None,
        bytes=folder_bytes(folder),
        kind=snapshot.kind if snapshot else None,
        facets=facets,
        generation=snapshot.number if snapshot else None,
        prompts=described_prompts(asdict(card.prompts)) if card.prompts else "not recorded",
        language=language,
        queries=card.query_encoder,
    )
