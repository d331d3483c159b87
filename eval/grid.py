"""Which combinations of encoders and indexes a benchmark measures, checked before it starts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from encoders.card import EncoderCard
from encoders.catalog import find_checkpoint, find_encoder
from encoders.folder import open_encoder
from encoders.quantize import Precision
from eval.contenders import base_checkpoint, check_peers
from eval.measures import DEFAULT_MEASURES, Measure, parse_measure
from eval.retrieval import EXACT, check_kinds
from eval.workers.backends import PEERS
from trimseek.console import note
from trimseek.errors import ConfigError, EncoderError, TrimseekError

DEFAULT_ENCODERS = ("minilm-float32", "minilm-int8")
DEFAULT_BATCHES = (32,)
DEFAULT_CLIENTS = (8,)
ALL_PEERS = "all"
MOST_CLIENTS = 1000
LARGEST_BATCH = 10_000
UNCOMPRESSED_STEPS = 2  # of a recipe: reading the base, giving it a precision


class Pair(NamedTuple):
    """The encoders of documents and of queries, by name."""

    document: str
    query: str


@dataclass(frozen=True)
class Grid:
    """``encoders``: folders by name. ``pairs[0]`` is the reference with itself.

    ``checkpoint``: what peers run. ``runs``: a folder for TREC run files.
    """

    encoders: dict[str, Path]
    pairs: tuple[Pair, ...]
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
        return self.pairs[0].document


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
    """Find the encoders and check what can be checked; ConfigError, EncoderError.

    An encoder is ``A`` or ``DOCUMENT+QUERY``. The reference, by default the first encoder's base
    at float32, is measured whether it was named or not.
    """
    check_sizes("--batch", batches, LARGEST_BATCH)
    check_sizes("--clients", clients, MOST_CLIENTS)
    asked = [parse_measure(name) for name in measures]
    found = Found()
    pairs = [found.pair(name) for name in encoders]
    first = found.cards[pairs[0].document]
    name = found.add(reference) if reference else found.float32_of(first, pairs[0].document)
    base = Pair(name, name)
    card = found.cards[name]
    check_kinds(indexes, card.dim)
    wanted = tuple(PEERS) if ALL_PEERS in peers else tuple(dict.fromkeys(peers))
    check_peers(wanted, card)
    checkpoint = base_checkpoint(card, find_checkpoint(card.base)) if wanted else Path()
    return Grid(
        encoders=found.folders,
        pairs=tuple(dict.fromkeys([base, *pairs])),
        indexes=tuple(dict.fromkeys(indexes)),
        measures=tuple(dict.fromkeys(asked)),
        peers=wanted,
        checkpoint=checkpoint,
        batches=tuple(dict.fromkeys(batches)),
        clients=tuple(dict.fromkeys(clients)),
        timing=timing,
        cached=cached,
        runs=runs,
    )


class Found:
    """Encoders found so far; one that has two names keeps the first."""

    def __init__(self) -> None:
        self.folders: dict[str, Path] = {}
        self.cards: dict[str, EncoderCard] = {}

    def add(self, name: str) -> str:
        folder = find_encoder(name)
        for known, other in self.folders.items():
            if other.resolve() == folder.resolve():
                return known
        self.folders[name], self.cards[name] = folder, open_encoder(folder)
        return name

    def pair(self, text: str) -> Pair:
        document, plus, query = text.partition("+")
        if not plus or Path(text).exists():
            name = self.add(text)
            return Pair(name, name)
        pair = Pair(self.add(document), self.add(query))
        if self.cards[pair.document].space != self.cards[pair.query].space:
            raise EncoderError(
                f"--encoder {text}: the two are of different spaces, "
                "so that their vectors cannot be compared"
            )
        return pair

    def float32_of(self, card: EncoderCard, name: str) -> str:
        """The float32 encoder of the same base; the encoder itself where that is not to be had."""
        if card.precision is Precision.FLOAT32 and len(card.recipe) <= UNCOMPRESSED_STEPS:
            return name
        try:
            return self.add(f"{card.base}-{Precision.FLOAT32.value}")
        except TrimseekError as error:
            note(f"{error}; losses are relative to {name}")
            return name


def check_sizes(flag: str, sizes: Sequence[int], most: int) -> None:
    for size in sizes:
        if not 1 <= size <= most:
            raise ConfigError(f"{flag} {size}: must be from 1 to {most:,}")
