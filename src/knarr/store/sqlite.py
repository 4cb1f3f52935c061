"""The file: one table of current objects and one of counters, in SQLite with WAL and fsync.

The only module that speaks SQL. Its methods block; ``Store`` calls ``commit`` from its one writer
thread and the others before and after that thread lives. ``sqlite3.Error`` ends here.
"""

import fcntl
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from knarr.meta.errors import InsufficientStorage, KnarrError, Unavailable
from knarr.meta.objects import Key
from knarr.store.records import Entry, Row

APPLICATION_ID = 0x6B6E7272
SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 5.0

_SCHEMA = """
CREATE TABLE objects (
    collection TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    uid TEXT NOT NULL,
    rv INTEGER NOT NULL,
    crc INTEGER NOT NULL,
    doc BLOB NOT NULL,
    PRIMARY KEY (collection, namespace, name)
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('reserved_rv', 0);
"""
_UPSERT = """
INSERT INTO objects (collection, namespace, name, uid, rv, crc, doc) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (collection, namespace, name)
DO UPDATE SET uid = excluded.uid, rv = excluded.rv, crc = excluded.crc, doc = excluded.doc
"""
_DELETE = "DELETE FROM objects WHERE collection = ? AND namespace = ? AND name = ?"
_RESERVE = "UPDATE counters SET value = ? WHERE name = 'reserved_rv'"
_LOAD = "SELECT collection, namespace, name, uid, rv, crc, doc FROM objects"


class StoreUnusable(KnarrError):
    """The file cannot be opened; the message says why and what to do."""


class StoreBroken(Unavailable):
    """The disk failed in a way that leaves the file's state unknown; only a restart helps."""


class Database:
    """One SQLite file, held by one process.

    Args:
        path: of the file, or None for a database in memory.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._lock_fd = -1
        self._connection: sqlite3.Connection | None = None

    def open(self) -> None:
        """Lock and open the file, create what is missing, check what is there.

        Raises:
            StoreUnusable: another process holds it, it is damaged, or it cannot be written.
        """
        try:
            if self._path is not None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._take_lock(self._path.with_suffix(".lock"))
            self._connection = self._connect()
            self._prepare(self._connection)
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise StoreUnusable(
                f"cannot open the store {self._path}: {error}. Check that the directory is writable "
                f"and its disk healthy; if the file is damaged, move it away and restore a backup"
            ) from error
        except StoreUnusable:
            self.close()
            raise

    def _take_lock(self, path: Path) -> None:
        self._lock_fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._lock_fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise StoreUnusable(
                f"the store {self._path} is in use by another Knarr server (process {holder}). Stop it "
                f"with `knarr down`, or give this one another --data-dir"
            ) from None
        os.ftruncate(self._lock_fd, 0)
        os.pwrite(self._lock_fd, f"{os.getpid()}\n".encode(), 0)

    def _connect(self) -> sqlite3.Connection:
        old_mask = os.umask(0o077)
        try:
            connection = sqlite3.connect(
                self._path or ":memory:",
                timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
                check_same_thread=False,
            )
            connection.execute("PRAGMA page_size = 8192")
            connection.execute("PRAGMA journal_mode = WAL").fetchone()
        finally:
            os.umask(old_mask)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA cache_size = -1024")
        connection.execute("PRAGMA journal_size_limit = 16777216")
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        if tables == 0:
            connection.executescript(
                f"BEGIN; PRAGMA application_id = {APPLICATION_ID}; "
                f"PRAGMA user_version = {SCHEMA_VERSION}; {_SCHEMA} COMMIT;"
            )
            return
        if application != APPLICATION_ID:
            raise StoreUnusable(f"{self._path} is a database, but not one of Knarr")
        if version != SCHEMA_VERSION:
            raise StoreUnusable(
                f"the store {self._path} has format {version}, this Knarr reads format "
                f"{SCHEMA_VERSION}: use the Knarr version that wrote it"
            )
        problems = [str(row[0]) for row in connection.execute("PRAGMA quick_check(3)")]
        if problems != ["ok"]:
            raise self._damaged("; ".join(problems))

    def _damaged(self, what: str) -> StoreUnusable:
        return StoreUnusable(
            f"the store {self._path} is damaged: {what}. Keep a copy of it and restore a backup, or "
            f"rescue what is readable with `sqlite3 {self._path} .recover`"
        )

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise Unavailable("the store is closed")
        return self._connection

    def reserved_rv(self) -> int:
        """No version above this one was ever handed out."""
        row = self._db.execute("SELECT value FROM counters WHERE name = 'reserved_rv'").fetchone()
        return int(row[0])

    def load(self) -> Iterator[tuple[str, Key, Entry]]:
        """Every stored object.

        Raises:
            StoreUnusable: a row's checksum does not match its document.
        """
        try:
            for collection, namespace, name, uid, rv, crc, doc in self._db.execute(_LOAD):
                if zlib.crc32(doc) != crc:
                    raise self._damaged(f"checksum of {collection} {namespace}/{name} is wrong")
                yield collection, Key(namespace, name), Entry(rv, uid, doc)
        except sqlite3.Error as error:
            raise self._damaged(str(error)) from error

    def commit(self, rows: Iterable[Row], reserve: int | None) -> None:
        """Write rows and the counter in one transaction; returns after the fsync.

        Raises:
            InsufficientStorage: the disk is full; nothing was written.
            Unavailable: another process holds a lock on the file; nothing was written.
            StoreBroken: the disk failed; whether something was written is unknown.
        """
        try:
            self._write(rows, reserve)
        except sqlite3.Error as error:
            self._roll_back()
            raise _translate(error) from error

    def _write(self, rows: Iterable[Row], reserve: int | None) -> None:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        upserts, deletes = [], []
        for row in rows:
            if row.entry is None:
                deletes.append((row.collection, *row.key))
            else:
                data = row.entry.data
                upserts.append(
                    (row.collection, *row.key, row.entry.uid, row.rv, zlib.crc32(data), data)
                )
        db.executemany(_UPSERT, upserts)
        db.executemany(_DELETE, deletes)
        if reserve is not None:
            db.execute(_RESERVE, (reserve,))
        db.execute("COMMIT")

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")

    def close(self) -> None:
        """Close the file and release the lock; harmless when already closed."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def _translate(error: sqlite3.Error) -> Unavailable | InsufficientStorage:
    primary = (getattr(error, "sqlite_errorcode", 0) or 0) & 0xFF
    if primary == sqlite3.SQLITE_FULL:
        return InsufficientStorage(
            "the disk that holds the store is full: nothing was written. Free some space and try again"
        )
    if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable(
            "the store is locked by another process: nothing was written", retry_after_s=1
        )
    return StoreBroken(f"the store's disk failed ({error}): the server must be restarted")
