"""A connection to documents.db: how it is opened, moments, transactions, errors."""

import json
import sqlite3
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any, Self

from trimseek.errors import IndexFolderError, OutOfTimeError, StorageError
from trimseek.indexer.schema import SCHEMAS, UPGRADES, strange_part
from trimseek.time_limit import is_out_of_time

DATABASE = "documents.db"
FORMAT_VERSION = 4  # to which a database of an earlier one is brought when it is written to
SETTINGS_SINCE = 2  # the version that brought facets and settings
LISTS_SINCE = 3  # the version whose facets follow paths through lists
REMEDY = "restore it from a copy, or delete the folder and index the corpus again"
BUSY_TIMEOUT = 30.0  # seconds
LARGEST_LOG = 2**22  # bytes that the write-ahead log keeps when it has grown beyond
STEPS = 20_000  # of SQLite's machine, about a millisecond, between two looks at a time limit
ID = "id"  # the setting
CHANGES = "changes"  # the setting: how many transactions there were
COUNT_CHANGE = (
    "INSERT INTO settings VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET value = value + 1"
)


class Database:
    """One connection; calls from several threads wait for each other.

    A query ends with OutOfTimeError soon after the time limit around it (``time_limit``) is past.

    ``durable``: what was committed survives a power loss, at the cost of waiting for the disk;
    otherwise the last transactions may be lost by one, and nothing is ever half there.
    """

    def __init__(
        self,
        folder: Path,
        *,
        writable: bool = False,
        create: bool = False,
        durable: bool = False,
        name: str = DATABASE,
    ) -> None:
        self.path = folder / name
        self._lock = RLock()
        self._frozen: tuple[int, int, int, bool] | None = None
        with self._errors():
            self._db = self._connect(writable=writable, create=create)
        try:
            with self._errors():
                self._version = self._prepare(writable=writable, create=create, durable=durable)
                self._reader = self._second_connection() if writable else None
        except BaseException:
            self._db.close()
            raise
        weakref.finalize(self, abandon, self._db, self._reader)

    def _prepare(self, *, writable: bool, create: bool, durable: bool) -> int:
        """Set the connection up and bring tables up to date; the database's format version."""
        if durable:
            self._db.execute("PRAGMA synchronous = FULL")
        if writable:
            self._db.execute(f"PRAGMA journal_size_limit = {LARGEST_LOG}")
        if create:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._run_script(SCHEMAS[FORMAT_VERSION])
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version in UPGRADES and writable:
            if (strange := strange_part(self._db, version)) is not None:
                raise self._damaged(f"its {strange} is not ours")
            self._upgrade(version)
            version = FORMAT_VERSION
        if version == 0:
            raise IndexFolderError(f"{self.path}: damaged (it is empty); {REMEDY}")
        if version not in SCHEMAS:
            raise IndexFolderError(
                f"{self.path}: format version {version}, this trimseek reads {FORMAT_VERSION}"
            )
        if (strange := strange_part(self._db, version)) is not None:
            raise self._damaged(f"its {strange} is not ours")
        return version

    def _run_script(self, script: str) -> None:
        """Make tables in one transaction, after which the database is of FORMAT_VERSION."""
        self._db.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {FORMAT_VERSION}; COMMIT;"
        )

    def _upgrade(self, version: int) -> None:
        """Bring a database of an earlier format to this one, as a whole or not at all."""
        self._db.executescript(f"BEGIN IMMEDIATE; {UPGRADES[version]}")
        try:
            self._version = FORMAT_VERSION
            self._fill_upgraded()
            self._db.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _fill_upgraded(self) -> None:
        """What an upgrade has to fill in, within its transaction."""

    @property
    def has_settings(self) -> bool:
        """Whether settings and facets are there: an older one gets them when it is written to."""
        return bool(self._version >= SETTINGS_SINCE)

    @property
    def has_words(self) -> bool:
        """Whether it has words as search reads them: an older one gets them when written to."""
        return bool(self._version == FORMAT_VERSION)

    @property
    def follows_lists(self) -> bool:
        """Whether the values of facets are also those that paths through lists lead to."""
        return bool(self._version >= LISTS_SINCE)

    def _connect(self, *, writable: bool, create: bool) -> sqlite3.Connection:
        if not create and not self.path.is_file():
            raise IndexFolderError(f"{self.path}: missing; {REMEDY}")
        mode = "rwc" if create else "rw" if writable else "ro"
        db = self._open(f"mode={mode}")
        try:
            db.execute("PRAGMA user_version").fetchone()
        except sqlite3.OperationalError:
            if mode != "ro" or self.path.with_name(f"{self.path.name}-wal").exists():
                raise
            # A folder that this user cannot write to. While nobody writes to it, the file does not
            # change; ``is_outdated`` says when somebody has begun to.
            db.close()
            self._frozen = self._signature()
            db = self._open("mode=ro&immutable=1")
        db.set_progress_handler(is_out_of_time, STEPS)
        db.execute("PRAGMA cell_size_check = ON")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA synchronous = NORMAL")
        return db

    def _signature(self) -> tuple[int, int, int, bool]:
        """Another value when the database file has changed, or its write-ahead log is there."""
        try:
            status = self.path.stat()
        except OSError:
            return 0, 0, 0, False
        log = self.path.with_name(f"{self.path.name}-wal").exists()
        return status.st_ino, status.st_size, status.st_mtime_ns, log

    def is_outdated(self) -> bool:
        """Whether somebody has begun to write to what was opened as if nobody could.

        What was read since is of no single moment.
        """
        return self._frozen is not None and self._frozen != self._signature()

    def _second_connection(self) -> sqlite3.Connection:
        """One that only reads: while it is open, the other is not the last one to be closed."""
        reader = self._open("mode=ro")
        reader.execute("PRAGMA user_version").fetchone()
        return reader

    def _open(self, parameters: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.absolute().as_uri()}?{parameters}",
            uri=True,
            timeout=BUSY_TIMEOUT,
            isolation_level=None,
            check_same_thread=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; of a writable one while the index's write lock is held.

        The last one that is closed moves the write-ahead log into the database and removes the
        log by its path, which must still be that of this database.
        """
        with self._lock:
            if self._reader is not None:
                self._reader.close()
            self._db.close()

    def abandon(self) -> None:
        """Close the connection and leave the write-ahead log alone.

        For one whose folder another index may have taken: the log at its path is then the other's.
        """
        with self._lock:
            abandon(self._db, self._reader)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is written inside, or nothing of it."""
        with self._lock, self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._begun()
                yield
                self._db.execute(COUNT_CHANGE, (CHANGES,))
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                self._undone()
                raise

    def _begun(self) -> None:
        """Look whether others have changed what is known of the database."""

    def _undone(self) -> None:
        """Forget what was known of a transaction that was taken back."""

    def version(self) -> int:
        """A number that grows with every transaction, the same for every connection.

        In what an earlier trimseek may write to: one that changes when another connection has
        committed, and that connections cannot compare.
        """
        if self.id:
            return int(self.setting(CHANGES, 0))
        return int(self.rows("PRAGMA data_version", [])[0][0])

    def begin(self) -> None:
        """What is read from now until ``end`` is of one moment."""
        with self._errors():
            self._db.execute("BEGIN")

    def end(self) -> None:
        """End what ``begin`` began."""
        with self._errors():
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @cached_property
    def id(self) -> str:
        """The id of the index, as its card has it; "" in what an earlier trimseek made."""
        return str(self.setting(ID, ""))

    def set_id(self, id_: str) -> None:
        """Inside a transaction."""
        self.set_setting(ID, id_)
        self.__dict__.pop("id", None)

    def setting(self, name: str, default: Any) -> Any:
        """What is set for the whole index, a JSON value; the default where nothing is.

        IndexFolderError for a value of another type than the default, unless that is None.
        """
        if not self.has_settings:
            return default
        rows = self.rows("SELECT value FROM settings WHERE name = ?", [name])
        if not rows:
            return default
        try:
            value = json.loads(rows[0][0])
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged(f"the setting {name!r}: {error}") from error
        if default is not None and type(value) is not type(default):
            raise self._damaged(f"the setting {name!r} is a {type(value).__name__}")
        return value

    def _damaged(self, what: str) -> IndexFolderError:
        return IndexFolderError(f"{self.path}: damaged ({what}); {REMEDY}")

    def set_setting(self, name: str, value: Any) -> None:
        """Inside a transaction."""
        self._db.execute(
            "INSERT INTO settings VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (name, json.dumps(value)),
        )

    def checkpoint(self) -> None:
        """Move the write-ahead log into the database file."""
        self.rows("PRAGMA wal_checkpoint(TRUNCATE)", [])

    def rows(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        """All rows of a query; SQL stays in this package."""
        with self._lock, self._errors():
            return self._db.execute(sql, parameters).fetchall()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, UnicodeDecodeError):  # of a message that quotes what is damaged
            return self._damaged(str(error))
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code
        spoilt = any(words in str(error) for words in ("no such", "malformed", "decode to UTF-8"))
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or spoilt:
            return self._damaged(str(error))
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY):
            return StorageError(
                f"{self.path}: cannot write ({error}); what was committed before is intact"
            )
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StorageError(f"{self.path}: another program keeps it locked; try again")
        if code == sqlite3.SQLITE_INTERRUPT:
            return OutOfTimeError(f"{self.path.parent}: a query took longer than its time limit")
        if code == sqlite3.SQLITE_CANTOPEN:
            return IndexFolderError(f"{self.path}: cannot be opened: {error}")
        return error


def abandon(db: sqlite3.Connection, reader: sqlite3.Connection | None) -> None:
    """Close two connections of a database, the one that only reads last; see ``Store.abandon``."""
    db.close()
    if reader is not None:
        reader.close()
