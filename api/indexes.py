"""The indexes of the service: those it was started with, and those of its data folder."""

import re
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from starlette.concurrency import run_in_threadpool

from trimseek.api.errors import ConflictError
from trimseek.atomic import make_folder, temporary_folder
from trimseek.encoders import find_encoder, open_encoder
from trimseek.encoders.aligned import aligned_names, read_provenance
from trimseek.encoders.base_models import CATALOG
from trimseek.encoders.catalog import aligned_file, split_precision
from trimseek.encoders.pairs import CHOICES, encoder_pair
from trimseek.encoders.quantize import Precision
from trimseek.errors import (
    ConfigError,
    IndexExistsError,
    IndexFolderError,
    QueryError,
    TrimseekError,
    UnknownIndexError,
)
from trimseek.indexer.card import is_index
from trimseek.indexer.chunks import DEFAULT_OVERLAP
from trimseek.indexer.folder import WAIT, create_index, write_lock
from trimseek.indexer.kinds import SnapshotKind
from trimseek.indexer.prompts import check_given, new_card
from trimseek.search import Searcher
from trimseek.search.reader_searcher import ReaderSearcher

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class AllIndexes(NamedTuple):
    """``working``: open indexes. ``damaged``: why each of the others cannot be opened, by name."""

    working: list[ReaderSearcher]
    damaged: dict[str, TrimseekError]


class Indexes:
    """Open indexes by name; safe to call from several threads.

    ``data``: a folder whose indexes are served too, those that other processes make there as
    well; None where none can be made or dropped.
    """

    def __init__(
        self, searchers: Mapping[str, ReaderSearcher], data: Path | None, query_encoder: str | None
    ) -> None:
        self._given = dict(searchers)
        self._made: dict[str, Searcher] = {}
        self._data = None if data is None else make_folder(data)
        self._query_encoder = query_encoder
        self._lock = Lock()

    def close(self) -> None:
        """Close every index."""
        for searcher in (*self._given.values(), *self._made.values()):
            searcher.close()

    def names(self) -> list[str]:
        """Names of the indexes: those given at the start, then those of the data folder."""
        self._close_dropped()
        made = self._data.iterdir() if self._data else ()
        names = {folder.name for folder in made if NAME.fullmatch(folder.name) and is_index(folder)}
        return [*self._given, *sorted(names - self._given.keys())]

    def get(self, name: str) -> ReaderSearcher:
        """UnknownIndexError."""
        if name in self._given:
            return self._given[name]
        folder = self._folder(name)
        if folder is None or not is_index(folder):
            raise self._unknown(name)
        with self._lock:
            if name not in self._made:
                self._made[name] = Searcher(folder, self._query_encoder, shared=True)
            return self._made[name]

    def known(self, name: str) -> ReaderSearcher | None:
        """An index that is open and still there; None for any other name."""
        known = self._given.get(name) or self._made.get(name)
        return known if known is not None and is_index(known.folder) else None

    async def opened(self, name: str) -> ReaderSearcher:
        """As ``get``, for the event loop: an index that is not open yet is opened in a thread."""
        known = self.known(name)
        return await run_in_threadpool(self.get, name) if known is None else known

    def folder(self, name: str) -> Path:
        """Where an index lies that may be changed; UnknownIndexError, ConflictError."""
        if name in self._given:
            given = self._given[name]
            if given.refusal is not None:
                raise ConflictError(given.refusal)
            return given.folder
        folder = self._folder(name)
        if folder is None or not is_index(folder):
            raise self._unknown(name)
        return folder

    def all(self) -> AllIndexes:
        """Every index, those that can be opened and those that cannot."""
        every = AllIndexes([], {})
        for name in self.names():
            try:
                searcher = self.get(name)
                searcher.summary()
            except UnknownIndexError:  # dropped meanwhile
                continue
            except TrimseekError as error:
                every.damaged[name] = error
            else:
                every.working.append(searcher)
        return every

    def create(
        self,
        name: str,
        encoder: str,
        facets: Sequence[str],
        kind: SnapshotKind | None,
        language: str | None = None,
        prompts: tuple[str | None, str | None] = (None, None),
    ) -> bool:
        """Make an empty index; false if it is there already, made by that encoder.

        ``prompts``: before queries and documents, None for the encoder's own. ConflictError if
        there is another one of that name, or none can be made here.
        """
        data = self._data_folder()
        if not NAME.fullmatch(name):
            raise QueryError(
                "an index's name is 1 to 64 letters, digits, '_', '.' and '-', and begins with a "
                "letter or digit"
            )
        check_known(encoder)
        pair = encoder_pair(encoder)
        if name not in self.names():
            folder = find_encoder(pair.documents)
            index_card = new_card(folder, open_encoder(folder), *pair, DEFAULT_OVERLAP, *prompts)
            try:
                create_index(data / name, index_card, facets=facets, kind=kind, language=language)
            except IndexExistsError:  # somebody else was quicker
                pass
            else:
                return True
        known = self.get(name).card
        if (known.encoder, known.query_encoder) == pair:
            try:
                check_given(known, Path(name), *prompts)
            except IndexFolderError as error:
                raise ConflictError(str(error)) from None
            return False
        raise ConflictError(f"there is an index {name!r} already, of another encoder")

    def droppable(self, name: str) -> Path:
        """Where an index lies that may be dropped, also if it is damaged; ConflictError."""
        if name in self._given:
            raise ConflictError(f"index {name!r} was given on the command line: it is not dropped")
        return self.folder(name)

    def drop(self, folder: Path) -> None:
        """Delete an index, and close it."""
        gone = temporary_folder(folder) / "dropped"
        with write_lock(folder, WAIT):
            folder.rename(gone)
        shutil.rmtree(gone.parent, ignore_errors=True)
        self._close_dropped()

    def _close_dropped(self) -> None:
        """Close the indexes that are gone, dropped by this process or by another."""
        with self._lock:
            gone = [name for name, made in self._made.items() if not is_index(made.folder)]
            for name in gone:
                self._made.pop(name).close()

    def _unknown(self, name: str) -> UnknownIndexError:
        return UnknownIndexError(f"no index {name!a}; there are: {', '.join(self.names())}")

    def _folder(self, name: str) -> Path | None:
        return self._data / name if self._data and NAME.fullmatch(name) else None

    def _data_folder(self) -> Path:
        if self._data is None:
            for given in self._given.values():
                if given.refusal is not None:
                    raise ConflictError(given.refusal)
            raise ConflictError("this service makes no indexes; start it with --data FOLDER")
        return self._data


def known_encoders() -> list[str]:
    """Names that a client may choose: never a path or an id of the hub."""
    bases = [*CATALOG, *aligned_names()]
    return [name for base in bases for name in (base, f"{base}-int8", f"{base}-float32")]


def check_known(encoder: str) -> None:
    """QueryError unless a client may choose this encoder, or both of this pair."""
    known = known_encoders()
    if encoder not in CHOICES and not set(encoder.split("+", 1)) <= set(known):
        there = ", ".join([*CHOICES, *known])
        raise QueryError(f"no encoder {encoder!a}; there are: {there}")


def query_encoders(searcher: ReaderSearcher) -> dict[str, str]:
    """Encoders that an index can be asked with, the fullest first; by the names to be shown."""
    own = searcher.encoder_name
    base, _ = split_precision(searcher.card.encoder)
    if (path := aligned_file(base)) is not None:
        base = read_provenance(path).base
    if base not in CATALOG:
        return {shown(own): own}
    full = [f"{base}-{precision.value}" for precision in (Precision.FLOAT32, Precision.INT8)]
    names = [*full, *aligned_to(base)]
    if split_precision(own) not in map(split_precision, names):
        names.append(own)
    return {shown(name): name for name in names}


@cache
def aligned_to(base: str) -> tuple[str, ...]:
    """The encoders of the package that are aligned to a base; its files do not change."""
    files = {name: aligned_file(name) for name in aligned_names()}
    return tuple(
        name for name, path in files.items() if path and read_provenance(path).base == base
    )


def own_encoder(searcher: ReaderSearcher) -> str:
    """The name of an index's query encoder among ``query_encoders``."""
    own = split_precision(searcher.encoder_name)
    names = query_encoders(searcher).items()
    return next(name for name, actual in names if split_precision(actual) == own)


def shown(encoder: str) -> str:
    """An encoder's name for others: of a folder on this machine its last part alone."""
    return Path(encoder).name if Path(encoder).is_absolute() else encoder


def open_searchers(folders: Sequence[Path], query_encoder: str | None) -> dict[str, Searcher]:
    """Open the indexes under their folders' names; ConfigError if two have the same."""
    by_name: dict[str, Path] = {}
    for folder in folders:
        name = folder.resolve().name
        if name in by_name:
            raise ConfigError(f"{by_name[name]} and {folder} are both called {name!r}; rename one")
        by_name[name] = folder
    return {name: Searcher(folder, query_encoder, shared=True) for name, folder in by_name.items()}
