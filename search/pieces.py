"""Ready-made JSON of hits, kept while nothing is committed to the index."""

import json
from collections.abc import Sequence
from json.encoder import encode_basestring
from typing import NamedTuple

from trimseek.indexer.metadata import is_answerable
from trimseek.indexer.rows import StoredChunk
from trimseek.indexer.store import Store
from trimseek.search.passages import hit_metadata

MOST_CHARACTERS = 2**25  # of all pieces that are kept
LONGEST_PIECE = 2**15  # characters: longer ones are made anew each time


class Piece(NamedTuple):
    """A hit's JSON: what stands before its score, and between the score and its sources."""

    head: str
    tail: str


class Pieces:
    """Pieces by chunk key, of one moment of an index; safe to use from several threads."""

    def __init__(self) -> None:
        self._known: dict[int, Piece] = {}
        self._characters = 0

    def of(self, store: Store, keys: Sequence[int]) -> dict[int, Piece]:
        """The pieces of those chunks that are there."""
        known = self._known
        found = {key: known[key] for key in keys if key in known}
        if len(found) == len(keys):
            return found
        made = {
            key: piece_of(row)
            for key, row in store.chunks([key for key in keys if key not in found]).items()
        }
        self._keep(made)
        return found | made

    def _keep(self, made: dict[int, Piece]) -> None:
        if self._characters > MOST_CHARACTERS:
            self._known, self._characters = {}, 0
        for key, piece in made.items():
            length = len(piece.head) + len(piece.tail)
            if length <= LONGEST_PIECE:
                self._known[key] = piece
                self._characters += length


def piece_of(row: StoredChunk) -> Piece:
    """The piece of a chunk."""
    text = encode_basestring
    return Piece(
        f'{{"id":{text(row.id)},"score":',
        f',"title":{text(row.title)},"passage":{{"text":{text(row.passage)},"start":{row.start},'
        f'"end":{row.end}}},"metadata":{metadata_json(row)},"sources":',
    )


def metadata_json(row: StoredChunk) -> str:
    """A document's metadata as JSON: as it is stored, unless it must be put into another form."""
    if is_answerable(row.metadata):
        return row.metadata
    return json.dumps(hit_metadata(row), ensure_ascii=False)
