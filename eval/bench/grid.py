"""Which combinations of encoders and indexes a benchmark measures, checked before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trimseek.console import note
from trimseek.encoders.card import EncoderCard
from trimseek.encoders.catalog import find_checkpoint, find_encoder
from trimseek.encoders.folder import open_encoder
from trimseek.encoders.pairs import Pair, check_pair, split_pair
from trimseek.encoders.quantize import Precision
from trimseek.errors import ConfigError, TrimseekError
from trimseek.eval.bench.contenders import base_checkpoint, check_peers
from trimseek.eval.bench.workers.backends import PEERS
from trimseek.eval.quality.measures import DEFAULT_MEASURES, Measure, parse_measure
from trimseek.eval.quality.retrieval import EXACT, check_kinds
from trimseek.eval.quality.words import BM25

DEFAULT_ENCODERS = ("minilm-float32", "minilm-int8")
DEFAULT_BATCHES = (32,)
DEFAULT_CLIENTS = (8,)
ALL_PEERS = "all"
MOST_CLIENTS = 1_000
LARGEST_BATCH = 10_000
UNCOMPRESSED_STEPS = 2  # of a recipe: reading the base, giving it a precision


@dataclass(frozen=True)
class Grid:
    """What a benchmark measures: pairs of encoders, indexes, peers, measures.

    ``encoders``: folders by name. ``pairs[0]`` is the reference with itself. ``words``: BM25 is
    measured, too. ``checkpoint``: what peers run. ``batches``, ``clients``: numbers of queries and
    of clients at once. ``cached``: embeddings are kept for the next run. ``runs``: a folder for
    TREC run files.
    """

    encoders: dict[str, Path]
    pairs: tuple[Pair, ...]
    words: bool
    indexes: tuple[str, ...]
    measures: tuple[Measure, ...]
    peers: tuple[str, ...]
    checkpoint: Path
    batches: tuple[int, ...]
    clients: tuple[int, ...]
    timing: bool
    cached: bool
    runs: Path | None

    @property
    def reference(self) -> str:
        """The encoder that losses and agreement are relative to."""
        return self.pairs[0].documents


def plan(
    encoders: Sequence[str] = DEFAULT_ENCODERS,
    *,
    indexes: Sequence[str] = (EXACT,),
    reference: str | None = None,
    measures: Sequence[str] = DEFAULT_MEASURES,
    peers: Sequence[str] = (),
    batches: Sequence[int] = DEFAULT_BATCHES,
    clients: Sequence[int] = DEFAULT_CLIENTS,
    timing: bool = True,
    cached: bool = True,
    runs: Path | None = None,
) -> Grid:
    """Find the encoders, and check everything that can be checked before anything is measured.

    An encoder is ``A`` or ``DOCUMENT+QUERY``, or "bm25". The reference, by default the first
    encoder's base at float32, is measured even if it is not among the encoders. ConfigError,
    EncoderError.
    """
    check_sizes("--batch", batches, LARGEST_BATCH)
    check_sizes("--clients", clients, MOST_CLIENTS)
    parsed_measures = [parse_measure(name) for name in measures]
    named = NamedEncoders()
    by_vectors = [text for text in encoders if text != BM25]
    pairs = [named.pair(text) for text in by_vectors or DEFAULT_ENCODERS]
    first = pairs[0].documents
    name = named.add(reference) if reference else named.add_float32_of(first)
    card = named.cards[name]
    check_kinds(indexes, card.dim)
    peer_names = tuple(PEERS) if ALL_PEERS in peers else tuple(dict.fromkeys(peers))
    check_peers(peer_names, card)
    checkpoint = base_checkpoint(card, find_checkpoint(card.base)) if peer_names else Path()
    return Grid(
        encoders=named.folders,
        pairs=tuple(dict.fromkeys([Pair(name, name), *pairs])),
        words=BM25 in encoders,
        indexes=tuple(dict.fromkeys(indexes)),
        measures=tuple(dict.fromkeys(parsed_measures)),
        peers=peer_names,
        checkpoint=checkpoint,
        batches=tuple(dict.fromkeys(batches)),
        clients=tuple(dict.fromkeys(clients)),
        timing=timing,
        cached=cached,
        runs=runs,
    )


class NamedEncoders:
    """Folders and cards of encoders by name; an encoder with two names has the first of them."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.cards: dict[str, EncoderCard] = {}

    def add(self, name: str) -> str:
        """Find an encoder; returns the name that it has here. EncoderError, ConfigError."""
        folder = find_encoder(name)
        for known, other in self.folders.items():
            if other.resolve() == folder.resolve():
                return known
        self.folders[name], self.cards[name] = folder, open_encoder(folder)
        return name

    def pair(self, text: str) -> Pair:
        """The pair that a name stands for; EncoderError if the two differ in space."""
        named = split_pair(text)
        pair = Pair(*map(self.add, named))
        check_pair(named, self.cards[pair.documents].space)
        return pair

    def add_float32_of(self, name: str) -> str:
        """The float32 encoder of the same base; the encoder itself where there is none."""
        card = self.cards[name]
        if card.precision is Precision.FLOAT32 and len(card.recipe) <= UNCOMPRESSED_STEPS:
            return name
        try:
            return self.add(f"{card.base}-{Precision.FLOAT32.value}")
        except TrimseekError as error:
            note(f"{error}; losses are relative to {name}")
            return name


def check_sizes(flag: str, sizes: Sequence[int], most: int) -> None:
    """ConfigError, which names the flag, unless all sizes are from 1 to ``most``."""
    for size in sizes:
        if not 1 <= size <= most:
            raise ConfigError(f"{flag} {size}: must be from 1 to {most:,}")
