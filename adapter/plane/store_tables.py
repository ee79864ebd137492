"""The store's statements: plain and synchronous. `adapter.plane.store` calls them, on its one thread."""

from __future__ import annotations

import json
import secrets
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapter.plane import LogChunk, Position, Stream
from adapter.plane.store_rows import PROCESS_LOST, RUNNING, Entry, LogRow, Misfit, Row, UnknownRun
from adapter.plane.store_schema import connect

GIVEN_BACK = 4096
"""Pages of the file, at most, that forgetting one run gives back to the disk: 16 MiB, so that no call takes long."""


class Tables:
    """All that the store can do. `clock` is monotonic and measures silence; `now` is Unix time and only tells it."""

    def __init__(self, path: Path, clock: Callable[[], float], now: Callable[[], float]) -> None:
        self._path, self._clock, self._now = path, clock, now
        self._db: sqlite3.Connection
        self._since = self._looked = clock()
        self._heard: dict[str, float] = {}

    def open(self) -> None:
        self._db = connect(self._path)

    def close(self) -> None:
        """Harmless where opening has failed."""
        if hasattr(self, "_db"):
            self._db.close()

    def create(self, run_id: str, document: bytes) -> bool:
        now = self._now()
        values = (run_id, secrets.token_hex(8), RUNNING, now, now, document)
        names = "run_id, epoch, state, created, updated, document, last"
        with self._db:
            made = self._db.execute(f"INSERT OR IGNORE INTO run ({names}) VALUES (?, ?, ?, ?, ?, ?, 0)", values)  # noqa: S608 - names of our own
        if made.rowcount:
            self._heard[run_id] = self._clock()
        return bool(made.rowcount)

    def rows(self, run_id: str | None = None) -> list[Row]:
        query = "SELECT run_id, epoch, state, cancel, created, updated, finished, result, document FROM run"
        if run_id is None:
            found = self._db.execute(f"{query} ORDER BY key")
        else:
            found = self._db.execute(f"{query} WHERE run_id = ?", (run_id,))
        return [_row(*columns) for columns in found]

    def append(self, run_id: str, chunk: LogChunk, gap: int, free: bool) -> Position:
        key = self._key(run_id)
        log = _fitting(self._log_row(key, chunk.stream), chunk, gap, free)
        with self._db:
            if gap:
                self._enter(key, "gap", {"stream": chunk.stream, "offset": chunk.offset, "bytes": gap})
            if chunk.data:
                data = {"stamp": chunk.stamp, "continued": chunk.continued}
                self._enter(key, "log", data, chunk.stream, chunk.offset, chunk.data)
            self._put_log_row(key, chunk.stream, log)
            self._sign_of_life(run_id)
        return Position(log.offset, log.cursor)

    def note(self, run_id: str, kind: str, data: dict[str, Any]) -> int:
        if kind == "log":
            raise ValueError("log is appended, not noted")
        key = self._key(run_id)
        with self._db:
            seq = self._enter(key, kind, data)
            self._sign_of_life(run_id)
        return seq

    def touch(self, run_id: str) -> None:
        self._key(run_id)
        with self._db:
            self._sign_of_life(run_id)

    def ask_cancel(self, run_id: str, why: str) -> bool:
        self._key(run_id)
        asked = "UPDATE run SET cancel = coalesce(cancel, ?) WHERE run_id = ? AND state = ?"
        with self._db:
            return bool(self._db.execute(asked, (why, run_id, RUNNING)).rowcount)

    def finish(self, run_id: str, state: str, result: dict[str, Any] | None) -> bool:
        if state == RUNNING:
            raise ValueError("a run does not end by running")
        self._key(run_id)
        text = None if result is None else _text(result)
        ended = "UPDATE run SET state = ?, result = ?, finished = ? WHERE run_id = ? AND state = ?"
        with self._db:
            done = self._db.execute(ended, (state, text, self._now(), run_id, RUNNING)).rowcount
        self._heard.pop(run_id, None)
        return bool(done)

    def entries(self, run_id: str, after: int, most: int, log: bool) -> list[Entry]:
        query = """SELECT seq, kind, at, data, stream, entry.offset, body FROM entry JOIN run ON run = key
                   WHERE run_id = ? AND seq > ?"""
        found = self._db.execute(f"{query}{'' if log else ' AND stream IS NULL'} ORDER BY seq", (run_id, after))
        taken = _up_to(most, found, lambda row: len(row[3]) + len(row[6]))
        return [Entry(seq, kind, at, json.loads(data), *rest) for seq, kind, at, data, *rest in taken]

    def pieces(self, run_id: str, stream: Stream, start: int, most: int) -> list[tuple[int, bytes]]:
        """What is kept of a log from `start` on, `most` bytes at most, with its offsets."""
        query = """SELECT offset, body FROM entry WHERE run = :run AND stream = :stream AND offset >= coalesce(
                   (SELECT max(offset) FROM entry WHERE run = :run AND stream = :stream AND offset <= :start), 0)
                   ORDER BY offset"""
        found = self._db.execute(query, {"run": self._found(run_id), "stream": stream, "start": start})
        cut = ((max(start, at), body[max(0, start - at) :]) for at, body in found)
        pieces, room = [], most
        for at, body in cut:
            if room <= 0:
                break
            if body:
                pieces.append((at, body[:room]))
                room -= len(body)
        found.close()
        return pieces

    def log_row(self, run_id: str, stream: Stream) -> LogRow | None:
        return self._log_row(self._found(run_id), stream)

    def trim(self, run_id: str, keep: int) -> None:
        key = self._found(run_id)
        over = sum(row[0] for row in self._db.execute("SELECT kept FROM log WHERE run = ?", (key,))) - keep
        if over > 0:
            with self._db:
                self._drop(key, over)

    def _drop(self, key: int, over: int) -> None:
        query = "SELECT seq, stream, offset, length(body) FROM entry WHERE run = ? AND stream IS NOT NULL ORDER BY seq"
        found = self._db.execute(query, (key,))
        for seq, stream, offset, size in _up_to(over, found, lambda row: row[3], beyond=True):
            log = self._log_row(key, stream)
            assert log is not None  # noqa: S101 - it has entries
            log = replace(log, begin=offset + size, kept=log.kept - size, dropped=log.dropped + size)
            self._put_log_row(key, stream, log)
            self._db.execute("DELETE FROM entry WHERE run = ? AND seq = ?", (key, seq))

    def forget(self, run_id: str) -> None:
        key = self._found(run_id)
        with self._db:
            for statement in (
                "DELETE FROM entry WHERE run = ?",
                "DELETE FROM log WHERE run = ?",
                "DELETE FROM run WHERE key = ?",
            ):
                self._db.execute(statement, (key,))
        self._heard.pop(run_id, None)
        self._db.executescript(f"PRAGMA incremental_vacuum({GIVEN_BACK})")  # execute() would do one page

    def reap(self, threshold: float) -> list[str]:
        now = self._clock()
        if now - self._looked > threshold / 2:
            self._since = now  # nobody looked for so long: this process stood still, and could not hear anybody
        self._looked = now
        running = self._db.execute("SELECT run_id FROM run WHERE state = ? ORDER BY key", (RUNNING,)).fetchall()
        silent = [one for (one,) in running if now - max(self._since, self._heard.get(one, self._since)) >= threshold]
        return [one for one in silent if self.finish(one, PROCESS_LOST, None)]

    def _found(self, run_id: str) -> int:
        """The run's key; 0, which no run has, for one that is not there."""
        row = self._db.execute("SELECT key FROM run WHERE run_id = ?", (run_id,)).fetchone()
        return row[0] if row else 0

    def _key(self, run_id: str) -> int:
        if key := self._found(run_id):
            return key
        raise UnknownRun(f"there is no run {run_id!r}")

    def _sign_of_life(self, run_id: str) -> None:
        """Not for a run that is over: a late beat changes nothing."""
        alive = "UPDATE run SET updated = ? WHERE run_id = ? AND state = ?"
        if self._db.execute(alive, (self._now(), run_id, RUNNING)).rowcount:
            self._heard[run_id] = self._clock()

    def _enter(
        self,
        key: int,
        kind: str,
        data: dict[str, Any],
        stream: Stream | None = None,
        offset: int = 0,
        body: bytes = b"",
    ) -> int:
        self._db.execute("UPDATE run SET last = last + 1 WHERE key = ?", (key,))
        seq: int = self._db.execute("SELECT last FROM run WHERE key = ?", (key,)).fetchone()[0]
        values = (key, seq, kind, self._now(), _text(data), stream, offset, body)
        self._db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        return seq

    def _log_row(self, key: int, stream: Stream) -> LogRow | None:
        query = "SELECT begin, offset, cursor, crc, kept, dropped, lost FROM log WHERE run = ? AND stream = ?"
        row = self._db.execute(query, (key, stream)).fetchone()
        return LogRow(*row) if row else None

    def _put_log_row(self, key: int, stream: Stream, log: LogRow) -> None:
        values = (key, stream, log.begin, log.offset, log.cursor, log.crc, log.kept, log.dropped, log.lost)
        self._db.execute("INSERT OR REPLACE INTO log VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)


def _row(*columns: Any) -> Row:
    row = Row(*columns)
    return replace(row, result=json.loads(columns[7])) if columns[7] else row


def _fitting(log: LogRow | None, chunk: LogChunk, gap: int, free: bool) -> LogRow:
    """The log's row once the chunk is in it. Raises `Misfit`."""
    if gap < 0:
        raise ValueError("a gap is not negative")
    if log is None:
        begin = chunk.offset if free else gap
        log = LogRow(begin, begin - gap)
    if chunk.offset != log.offset + gap:
        raise Misfit(Position(log.offset, log.cursor))
    return replace(
        log,
        offset=chunk.offset + len(chunk.data),
        cursor=str(chunk.cursor),
        crc=zlib.crc32(chunk.data, log.crc),
        kept=log.kept + len(chunk.data),
        lost=log.lost + gap,
    )


def _up_to(
    most: int, found: sqlite3.Cursor, size: Callable[[Any], int], *, beyond: bool = False
) -> list[tuple[Any, ...]]:
    """Rows until `most` is reached: never more than that, but one at least; or, with `beyond`, never less."""
    taken: list[tuple[Any, ...]] = []
    total = 0
    for row in _closing(found):
        total += size(row)
        if taken and total > most and not beyond:
            break
        taken.append(row)
        if total >= most:
            break
    return taken


def _closing(found: sqlite3.Cursor) -> Iterator[tuple[Any, ...]]:
    """A statement that was not read to its end would hold the write-ahead log."""
    try:
        yield from found
    finally:
        found.close()


def _text(data: dict[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"))
