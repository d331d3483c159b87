"""From what the command line says to the plan of a build."""

from collections.abc import Sequence

from trimseek.cluster.manifest import read_manifest
from trimseek.cluster.plan import BuildPlan
from trimseek.cluster.sources import corpus_parts
from trimseek.cluster.storage import Storage
from trimseek.encoders import DEFAULT_ENCODER, find_encoder, open_encoder
from trimseek.encoders.pairs import Pair, encoder_pair
from trimseek.errors import IndexFolderError
from trimseek.indexer.documents import ReadOptions
from trimseek.indexer.filters import check_path, parse_field
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.prompts import new_card
from trimseek.indexer.stems import AUTO, check_language


def planned(
    corpora: Sequence[str],
    uri: str,
    shards: int,
    options: ReadOptions,
    *,
    skip_empty: bool,
    encoder: str | None,
    prompts: tuple[str | None, str | None],
    overlap: int,
    facets: Sequence[str],
    kind: SnapshotKind,
    language: str | None,
) -> BuildPlan:
    """The plan of the next generation; CorpusError, EncoderError, IndexFolderError.

    ``encoder``: None for that of the generation before, or the default.
    """
    storage = Storage(uri)
    before = read_manifest(storage)
    if before is None and storage.is_local:
        check_place(storage)
    for field in facets:
        check_path(parse_field(field))
    if language is not None:
        check_language(language)
    parts = corpus_parts(corpora)
    if before is not None and encoder is None:
        pair = Pair(before.encoder, before.card.query_encoder)
    else:
        pair = encoder_pair(encoder or DEFAULT_ENCODER)
    folder = find_encoder(pair.documents)
    return BuildPlan(
        uri=storage.uri,
        parts=tuple(parts),
        options=options,
        skip_empty=skip_empty,
        shards=shards,
        card=new_card(folder, open_encoder(folder), *pair, overlap, *prompts),
        kind=kind.value,
        facets=tuple(facets),
        language=language or AUTO,
        before=before.id if before else "",
        generation=before.generation + 1 if before else 1,
    )


def check_place(storage: Storage) -> None:
    """IndexFolderError where something else is in the folder."""
    strange = [
        name
        for name in storage.names("")
        if not name.startswith(("work-", "generation-", ".manifest.json."))
    ]
    if strange:
        raise IndexFolderError(
            f"{storage.uri}: neither empty nor a cluster's index ({strange[0]}); choose another "
            "folder"
        )
