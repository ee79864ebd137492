"""Runs with their logs and events in one SQLite file: under the reference plane and under the sidecar's journals.

Every call runs on the store's one thread, in the order of the calls. A call that is cancelled has happened or has not;
the next one, which waits for it, sees which.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from adapter.plane import LogChunk, Position, Stream
from adapter.plane.store_rows import PROCESS_LOST, RUNNING, Entry, LogRow, Misfit, Row, UnknownRun
from adapter.plane.store_schema import StoreError
from adapter.plane.store_tables import Tables

__all__ = ["PROCESS_LOST", "RUNNING", "Entry", "LogRow", "Misfit", "Row", "Store", "StoreError", "UnknownRun"]

P = ParamSpec("P")
T = TypeVar("T")


class Store:
    """An open store. It alone has its file; whoever opens it closes it.

    Every call raises `StoreError` where the file cannot be read or written, and after `close`. Writing to a run that
    is not there raises `UnknownRun`; reading of it finds nothing.
    """

    def __init__(self, path: Path, tables: Tables) -> None:
        self._path, self._tables = path, tables
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store")

    @classmethod
    async def open(
        cls, path: Path, *, clock: Callable[[], float] = time.monotonic, now: Callable[[], float] = time.time
    ) -> Store:
        """Opens the file, or makes it; its directory must exist.

        Raises `StoreError` for a file that is not ours, of a later version, or open in another process. `clock`
        measures silence, in seconds; `now` is Unix time.
        """
        store = cls(path, Tables(path, clock, now))
        try:
            await store._do(store._tables.open)
        except BaseException:
            store._end()
            raise
        return store

    async def close(self) -> None:
        """Waits for the calls before it. Closing twice is harmless."""
        with suppress(RuntimeError):  # closed already
            await asyncio.shield(asyncio.wrap_future(self._end()))
            self._thread.shutdown()

    def _end(self) -> Future[None]:
        """Lets the thread close the file, after all that it has to do, and end."""
        closing = self._thread.submit(self._tables.close)
        self._thread.shutdown(wait=False)
        return closing

    async def create(self, run_id: str, document: bytes = b"") -> bool:
        """Makes a run, which is running from now on. False: it was there, and is left as it is."""
        return await self._do(self._tables.create, run_id, document)

    async def row(self, run_id: str) -> Row | None:
        """The run, if there is one."""
        return next(iter(await self._do(self._tables.rows, run_id)), None)

    async def rows(self) -> list[Row]:
        """All runs, in the order in which they were made."""
        return await self._do(self._tables.rows)

    async def append(self, run_id: str, chunk: LogChunk, *, gap: int = 0, free: bool = False) -> Position:
        """Adds to the log, with its cursor, in one step; answers where the log ends now. Raises `Misfit`.

        The chunk must begin where its stream ends. `gap` bytes before it are lost for good: then it begins so much
        later, and an entry of the kind "gap" says so. `free`: the first chunk of a stream may begin anywhere.
        A sign of life, as `note` and `touch` are. A run that is over still takes log.
        """
        return await self._do(self._tables.append, run_id, chunk, gap, free)

    async def position(self, run_id: str, stream: Stream) -> Position | None:
        """Where the stream ends, with the text of the last cursor; None if nothing of it was ever appended."""
        log = await self.log_row(run_id, stream)
        return Position(log.offset, log.cursor) if log else None

    async def log_row(self, run_id: str, stream: Stream) -> LogRow | None:
        """All that is known of a stream, without its bytes."""
        return await self._do(self._tables.log_row, run_id, stream)

    async def crc(self, run_id: str, stream: Stream) -> int:
        """The CRC-32 of all bytes that were ever appended to the stream; 0 if none were."""
        log = await self.log_row(run_id, stream)
        return log.crc if log else 0

    async def note(self, run_id: str, kind: str, data: dict[str, Any]) -> int:
        """Adds an entry that is no log (`kind` may not be "log"); answers its seq."""
        return await self._do(self._tables.note, run_id, kind, data)

    async def touch(self, run_id: str) -> None:
        """A sign of life. One of a run that is over changes nothing."""
        await self._do(self._tables.touch, run_id)

    async def ask_cancel(self, run_id: str, why: str) -> bool:
        """Asks for the run's end; the first reason stays. False: it is over already."""
        return await self._do(self._tables.ask_cancel, run_id, why)

    async def finish(self, run_id: str, state: str, result: dict[str, Any] | None) -> bool:
        """The run's end, once. False: it is over already, and stays as it is."""
        return await self._do(self._tables.finish, run_id, state, result)

    async def entries(self, run_id: str, after: int, most: int, *, log: bool = True) -> list[Entry]:
        """Entries with a seq over `after`, in order: `most` bytes of them, and one at least if there is one.

        Without `log`: only what is beside the log.
        """
        return await self._do(self._tables.entries, run_id, after, most, log)

    async def log(self, run_id: str, stream: Stream, start: int, most: int) -> bytes:
        """The log's bytes from the offset `start` on, `most` at most. What was lost or trimmed is left out."""
        return b"".join([data for _, data in await self.pieces(run_id, stream, start, most)])

    async def pieces(self, run_id: str, stream: Stream, start: int, most: int) -> list[tuple[int, bytes]]:
        """As `log`, each piece with its offset: after what was left out, the next one is higher."""
        return await self._do(self._tables.pieces, run_id, stream, start, most)

    async def trim(self, run_id: str, keep: int) -> None:
        """Drops the oldest log until at most `keep` bytes of it are kept, both streams together."""
        await self._do(self._tables.trim, run_id, keep)

    async def forget(self, run_id: str) -> None:
        """Drops the run and all that it has. Its disk space is given back bit by bit."""
        await self._do(self._tables.forget, run_id)

    async def reap(self, threshold: float) -> list[str]:
        """Ends the running runs that gave no sign of life for `threshold` seconds, as `process_lost`; which.

        Time before this store was opened is not counted, nor is time in which the process stood still: a call that
        comes later than half a threshold after the last one starts the count anew.
        """
        return await self._do(self._tables.reap, threshold)

    async def _do(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            work = self._thread.submit(call, *args, **kwargs)
        except RuntimeError as error:
            raise StoreError(f"{self._path}: the store is closed") from error
        try:
            return await asyncio.wrap_future(work)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
