"""The indexes of the service: those it was started with, and those of its data folder."""

import re
import shutil
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from threading import Lock

from api.errors import ConflictError
from encoders import find_encoder, open_encoder
from encoders.aligned import aligned_names, read_provenance
from encoders.base_models import CATALOG
from encoders.catalog import aligned_file, split_precision
from encoders.quantize import Precision
from indexer.card import CARD, IndexCard
from indexer.chunks import DEFAULT_OVERLAP
from indexer.filters import check_path, parse_field
from indexer.folder import WAIT, create_files, write_lock
from indexer.snapshot import KIND, SnapshotKind
from search import Searcher
from trimseek.atomic import atomic_folder, make_folder, temporary_folder
from trimseek.errors import ConfigError, QueryError, UnknownIndexError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Indexes:
    """Open indexes by name; safe to call from several threads.

    ``data``: a folder whose indexes are served too, those that other processes make there as
    well; None where none can be made or dropped.
    """

    def __init__(
        self, searchers: Mapping[str, Searcher], data: Path | None, query_encoder: str | None
    ) -> None:
        self._given = dict(searchers)
        self._made: dict[str, Searcher] = {}
        self._data = None if data is None else make_folder(data)
        self._query_encoder = query_encoder
        self._lock = Lock()

    def close(self) -> None:
        for each in (*self._given.values(), *self._made.values()):
            each.close()

    def names(self) -> list[str]:
        made = self._data.iterdir() if self._data else ()
        names = {each.name for each in made if NAME.fullmatch(each.name) and is_index(each)}
        return [*self._given, *sorted(names - self._given.keys())]

    def get(self, name: str) -> Searcher:
        """UnknownIndexError."""
        if name in self._given:
            return self._given[name]
        folder = self._folder(name)
        if folder is None or not is_index(folder):
            with self._lock:
                self._made.pop(name, None)
            raise UnknownIndexError(f"no index {name!a}; there are: {', '.join(self.names())}")
        with self._lock:
            if name not in self._made:
                self._made[name] = Searcher(folder, self._query_encoder, shared=True)
            return self._made[name]

    def all(self) -> list[Searcher]:
        return [self.get(name) for name in self.names()]

    def create(
        self, name: str, encoder: str, facets: Sequence[str], kind: SnapshotKind | None
    ) -> bool:
        """Make an empty index; false if it is there already, made by that encoder.

        ConflictError if there is another one of that name, or none can be made here.
        """
        data = self._data_folder()
        if not NAME.fullmatch(name):
            raise QueryError(
                "an index's name is 1 to 64 letters, digits, '_', '.' and '-', and begins with a "
                "letter or digit"
            )
        check_known(encoder)
        for field in facets:
            check_path(parse_field(field))
        if name in self.names():
            if self.get(name).card.encoder == encoder:
                return False
            raise ConflictError(f"there is an index {name!r} already, of another encoder")
        card = open_encoder(find_encoder(encoder))
        with atomic_folder(data / name) as folder:
            store = create_files(folder, IndexCard(card.space, card.dim, encoder, DEFAULT_OVERLAP))
            try:
                with store.transaction():
                    for field in facets:
                        store.add_facet(field)
                    if kind is not None:
                        store.set_setting(KIND, kind.value)
                store.checkpoint()
            finally:
                store.close()
        return True

    def drop(self, name: str) -> None:
        """Delete an index that lies in the data folder; UnknownIndexError, ConflictError."""
        searcher = self.get(name)
        if name in self._given:
            raise ConflictError(f"index {name!r} was given on the command line: it is not dropped")
        gone = temporary_folder(searcher.folder) / "dropped"
        with write_lock(searcher.folder, WAIT):
            searcher.folder.rename(gone)
        shutil.rmtree(gone.parent, ignore_errors=True)
        with self._lock:
            self._made.pop(name, None)

    def _folder(self, name: str) -> Path | None:
        return self._data / name if self._data and NAME.fullmatch(name) else None

    def _data_folder(self) -> Path:
        if self._data is None:
            raise ConflictError("this service makes no indexes; start it with --data FOLDER")
        return self._data


def is_index(folder: Path) -> bool:
    return (folder / CARD).is_file()


def known_encoders() -> list[str]:
    """Names that a client may choose: never a path or an id of the hub."""
    bases = [*CATALOG, *aligned_names()]
    return [name for base in bases for name in (base, f"{base}-int8", f"{base}-float32")]


def check_known(encoder: str) -> None:
    if encoder not in known_encoders():
        raise QueryError(f"no encoder {encoder!a}; there are: {', '.join(known_encoders())}")


def query_encoders(searcher: Searcher) -> dict[str, str]:
    """Encoders that an index can be asked with, the fullest first; by the names to be shown."""
    own = searcher.encoder_name
    base, _ = split_precision(searcher.card.encoder)
    if (path := aligned_file(base)) is not None:
        base = read_provenance(path).base
    if base not in CATALOG:
        return {shown(own): own}
    full = [f"{base}-{each.value}" for each in (Precision.FLOAT32, Precision.INT8)]
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


def own_encoder(searcher: Searcher) -> str:
    """The name of an index's query encoder among ``query_encoders``."""
    asked = split_precision(searcher.encoder_name)
    names = query_encoders(searcher).items()
    return next(name for name, actual in names if split_precision(actual) == asked)


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
