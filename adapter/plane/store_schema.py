"""The store's file: opened, checked and, where it is new, made."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from adapter.backoff import Backoff
from adapter.errors import AdapterError

APPLICATION = 0x636B3873
"""`PRAGMA application_id`: whose database it is, so that another program's is never written to."""

VERSION = 1
"""`PRAGMA user_version`: raised by whoever changes the tables."""

PATIENCE = 5.0
"""Seconds that a predecessor in the same file, which is just ending, is waited for."""

WAL_LIMIT = 16 * 1024 * 1024
"""Bytes of the write-ahead log that are kept after a checkpoint."""

TABLES = """
CREATE TABLE run (
    key INTEGER PRIMARY KEY, run_id TEXT NOT NULL UNIQUE, epoch TEXT NOT NULL, state TEXT NOT NULL, cancel TEXT,
    created REAL NOT NULL, updated REAL NOT NULL, finished REAL, result TEXT, document BLOB NOT NULL,
    last INTEGER NOT NULL  -- seq of its newest entry; outlives the entry
);
CREATE TABLE log (
    run INTEGER NOT NULL, stream TEXT NOT NULL, begin INTEGER NOT NULL, offset INTEGER NOT NULL, cursor TEXT NOT NULL,
    crc INTEGER NOT NULL, kept INTEGER NOT NULL, dropped INTEGER NOT NULL, lost INTEGER NOT NULL,
    PRIMARY KEY (run, stream)
);
CREATE TABLE entry (
    run INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL, data TEXT NOT NULL,
    stream TEXT, offset INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (run, seq)
);
CREATE INDEX entry_of_log ON entry (run, stream, offset) WHERE stream IS NOT NULL;
CREATE INDEX entry_beside_log ON entry (run, seq) WHERE stream IS NULL;
"""


class StoreError(AdapterError):
    """The store's file cannot be used: the text names the file and the cause."""


class Locked(StoreError):
    """Another process has the file open."""


def connect(path: Path) -> sqlite3.Connection:
    """The database at `path`, which this process alone has from now on. Raises `StoreError`.

    Its directory must exist. The file is its owner's alone: what it holds of a run may be secret. SQLite is not left to
    wait for a lock: it keeps meanwhile what it has, so that two which open the file at once wait for each other.
    """
    give_up, backoff = time.monotonic() + PATIENCE, Backoff(0.01, 0.1)
    while True:
        try:
            return _opened(path)
        except Locked:
            if time.monotonic() > give_up:
                raise
        time.sleep(backoff.next())


def _opened(path: Path) -> sqlite3.Connection:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        db = sqlite3.connect(path, timeout=0, isolation_level="IMMEDIATE")
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {_cause(error)}") from error
    try:
        _prepare(db, path)
    except sqlite3.Error as error:
        db.close()
        kind = Locked if "locked" in str(error) else StoreError
        raise kind(f"{path}: {_cause(error)}") from error
    except BaseException:
        db.close()
        raise
    return db


def _cause(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "another process has it open" if "locked" in str(error) else str(error)


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    # Exclusive: two processes would each count the other's time as silence; and no shared memory is needed then.
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    _check(db, path)
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = NORMAL")
    db.execute(f"PRAGMA journal_size_limit = {WAL_LIMIT}")
    if _number(db, "user_version") == 0:
        _make(db)
    db.execute("BEGIN IMMEDIATE")  # the lock is taken by the first write: now, not at some later call
    db.rollback()


def _check(db: sqlite3.Connection, path: Path) -> None:
    version = _number(db, "user_version")
    ours = _number(db, "application_id") == APPLICATION
    if not ours and (version or _number(db, "schema_version")):
        raise StoreError(f"{path}: is a database of another program")
    if version > VERSION:
        raise StoreError(f"{path}: was written by a later version (its tables are {version}, known is {VERSION})")


def _make(db: sqlite3.Connection) -> None:
    """Tables and marks in one step: a crash leaves all of it or nothing."""
    marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
    db.executescript(f"BEGIN IMMEDIATE; {TABLES} {marks} COMMIT;")


def _number(db: sqlite3.Connection, pragma: str) -> int:
    return int(db.execute(f"PRAGMA {pragma}").fetchone()[0])
