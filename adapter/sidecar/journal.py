"""One run's journal: what its plane was told, kept on disk, for any number of readers, each at its own pace."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import anyio

from adapter.agent.plain import plain
from adapter.plane import Beat, Event, LogChunk, Position, Stream
from adapter.plane.store import Misfit, Store
from adapter.sidecar.place import STREAMS, Line, Place

BATCH = 256 * 1024
"""Bytes of the journal that a reader holds in memory, at most; but one entry at least."""

PING = 15.0
"""Seconds of silence after which a reader is told that somebody is still there."""


class Journal:
    """A run's log, events and result, on a store that knows the run. It keeps `keep` bytes of log at most.

    `readers` is how many read it now, and `last_read` when the last of them left, by the event loop's clock. All
    writing raises `StoreError` where the store cannot.
    """

    def __init__(self, store: Store, run_id: str, epoch: str, *, keep: int, ping: float = PING) -> None:
        self._store, self._run_id, self._epoch, self._keep, self._ping = store, run_id, epoch, keep, ping
        self._news = anyio.Event()
        self._beat: Beat | None = None
        self._end: dict[str, Any] | None = None
        self._known_end = False
        self._bye: str | None = None
        self._untrimmed = 0
        self.readers = 0
        self.last_read = anyio.current_time()

    # -- written by the run's plane ----------------------------------------------------------------------------------

    async def log(self, chunk: LogChunk) -> None:
        """Log; of what was given before, only what is new. Log that begins behind the journal's end leaves a gap."""
        try:
            await self._store.append(self._run_id, chunk, free=True)
        except Misfit as misfit:
            await self._fit(chunk, misfit.position.offset)
        await self._trim(len(chunk.data))
        self._tell()

    async def _fit(self, chunk: LogChunk, end: int) -> None:
        if chunk.offset > end:
            await self._store.append(self._run_id, chunk, gap=chunk.offset - end)
        elif rest := chunk.data[end - chunk.offset :]:
            await self._store.append(self._run_id, replace(chunk, offset=end, data=rest))

    async def _trim(self, grown: int) -> None:
        """Now and then: it reads what it is about to drop."""
        self._untrimmed += grown
        if self._untrimmed > self._keep // 8:
            self._untrimmed = 0
            await self._store.trim(self._run_id, self._keep)

    async def event(self, event: Event) -> None:
        """An event. When the adapter's own tasks began and ended is nobody's news."""
        if event.kind == "task":
            return
        data = _plain(event.data)
        if event.kind == "meta":
            await self._store.note(self._run_id, "meta", {"data": data})
        else:
            at = time.time() - (anyio.current_time() - event.at)
            words = {"kind": event.kind, "message": event.message, "data": data, "at": round(at, 3)}
            await self._store.note(self._run_id, "event", words)
        self._tell()

    def beat(self, beat: Beat) -> None:
        """A sign of life, for whoever is reading now."""
        self._beat = beat
        self._tell()

    async def result(self, result: Mapping[str, Any], execution: Mapping[str, Any] | None) -> None:
        """The run's end, as plain JSON. Only the first counts."""
        end = {"result": dict(result), "execution": dict(execution) if execution else None}
        if await self._store.finish(self._run_id, str(result["outcome"]), end):
            self._end, self._known_end = end, True
        await self._look_back()
        self._tell()

    async def cancelled(self, why: str) -> None:
        """The run is to be cancelled: for whoever comes back to it, and not for readers."""
        await self._store.ask_cancel(self._run_id, why)

    async def position(self, stream: Stream) -> Position | None:
        """Where the log ends, of one of its streams; None if there is none yet."""
        return await self._store.position(self._run_id, stream)

    async def ended(self) -> bool:
        """Whether the result is in it."""
        await self._look_back()
        return self._end is not None

    def bye(self, message: str) -> None:
        """Nothing more comes from here: every reader is told so, at once, and so is whoever comes later."""
        self._bye = message
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    # -- read by anybody ---------------------------------------------------------------------------------------------

    def read(self, after: str | None) -> AsyncIterator[Line]:
        """The journal's lines behind a cursor, or from the beginning, and then what comes, to the run's end.

        What is kept no more when the reader gets there is a line `missed`. Raises `BadCursor`, at once.
        """
        return self._read(Place.parse(after) if after else Place(self._epoch))

    async def _read(self, place: Place) -> AsyncIterator[Line]:
        self.readers += 1
        told = self._beat  # one that is older than the reader is no news
        try:
            await self._look_back()
            place = await self._known(place)
            while True:
                news, end = self._news, self._end
                if self._bye is not None:
                    yield place.line("bye", message=self._bye)
                    return
                entries = await self._store.entries(self._run_id, place.seq, BATCH)
                for entry in entries:
                    for line in place.lines(entry):
                        yield line
                if entries:
                    continue
                if end:
                    for line in await self._last(place, end):
                        yield line
                    return
                if self._beat is not told:
                    told = self._beat
                    yield _beat(place, told)
                elif not await self._wait(news):
                    yield {"type": "ping"}
        finally:
            self.readers -= 1
            self.last_read = anyio.current_time()

    async def _known(self, place: Place) -> Place:
        """The place in this journal.

        A cursor beyond its entries is one of before the machine lost power: the store has lost its last writes then,
        and counts on from before them.
        """
        if place.epoch == self._epoch and await self._has(place.seq):
            return place
        return place.at(self._epoch)

    async def _has(self, seq: int) -> bool:
        return seq == 0 or bool(await self._store.entries(self._run_id, seq - 1, 1))

    async def _look_back(self) -> None:
        """The end, if it was reported before this journal was opened."""
        if not self._known_end and (row := await self._store.row(self._run_id)):
            self._end, self._known_end = self._end or row.result, True

    async def _last(self, place: Place, end: dict[str, Any]) -> list[Line]:
        """The result, and before it what of the log is kept no more, though no log follows it."""
        lines: list[Line] = []
        for stream in STREAMS:
            lines += place.over(stream)
            if position := await self.position(stream):
                lines += place.lost(stream, position.offset, "the journal keeps no more of it")
        return [*lines, place.line("result", **end)]

    async def _wait(self, news: anyio.Event) -> bool:
        with anyio.move_on_after(self._ping):
            await news.wait()
        return news.is_set()


def _beat(place: Place, beat: Beat | None) -> Line:
    assert beat is not None  # noqa: S101 - there is one, or nothing would have changed
    return place.line("beat", phase=beat.phase, observedAgo=beat.observed_ago)


def _plain(data: Mapping[str, Any]) -> Any:
    """The event's data as JSON. What cannot be is said in its place: an event may not fail for it."""
    try:
        return plain(dict(data))
    except ValueError as problem:
        return {"omitted": f"the data {problem}"}
