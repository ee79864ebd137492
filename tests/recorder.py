"""A plane that remembers everything it was told, in order, and can be made to fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from adapter import Beat, Event, LogChunk, Position, RunResult
from adapter.plane import Stream


class Recorder:
    """An in-process plane. `said` is the order of everything: beats, log, events and results (tries, too)."""

    def __init__(self, *, position: Position | None = None) -> None:
        self.said: list[Beat | LogChunk | Event | RunResult] = []
        self.data = bytearray()
        self.errors = bytearray()
        self.accepted: RunResult | None = None
        self.start = position
        self._positions: dict[Stream, Position] = {"stdout": position} if position else {}
        self.before_log: Callable[[], Awaitable[None]] | None = None
        self.before_result: Callable[[], Awaitable[None]] | None = None
        self.before_beat: Callable[[], Awaitable[None]] | None = None
        self._news = anyio.Event()
        self._cancel = anyio.Event()

    def cancel(self) -> None:
        """Cancels the run."""
        self._cancel.set()

    async def beat(self, beat: Beat) -> None:
        if self.before_beat:
            await self.before_beat()
        self._note(beat)

    async def log(self, chunk: LogChunk) -> None:
        if self.before_log:
            await self.before_log()
        main = chunk.stream == "stdout"
        begin = self.start.offset if self.start and main else 0
        data = self.data if main else self.errors
        assert chunk.offset == begin + len(data), "a chunk does not begin where the last one ended"
        data += chunk.data
        self._positions[chunk.stream] = Position(chunk.offset + len(chunk.data), str(chunk.cursor))
        self._note(chunk)

    async def event(self, event: Event) -> None:
        self._note(event)

    async def result(self, result: RunResult) -> None:
        self._note(result)
        if self.before_result:
            await self.before_result()
        assert self.accepted is None, "a second result"
        self.accepted = result

    async def cancellation(self) -> str:
        await self._cancel.wait()
        return "asked for"

    async def position(self, stream: Stream) -> Position | None:
        return self._positions.get(stream)

    async def until(self, holds: Callable[[], object], seconds: float = 10) -> None:
        """Waits until something holds; looked at whenever anything is said."""
        with anyio.fail_after(seconds):
            while not holds():
                await self._news.wait()

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    @property
    def beats(self) -> list[Beat]:
        return [said for said in self.said if isinstance(said, Beat)]

    @property
    def events(self) -> list[Event]:
        return [said for said in self.said if isinstance(said, Event)]

    def words(self, kind: str) -> list[str]:
        """The messages of all events of a kind."""
        return [event.message for event in self.events if event.kind == kind]

    def _note(self, said: Beat | LogChunk | Event | RunResult) -> None:
        self.said.append(said)
        self._news.set()
        self._news = anyio.Event()
