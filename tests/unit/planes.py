"""Planes that fail, hang or keep what they were told."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from adapter.plane import Beat, Event, LogChunk, Position, Stream
from adapter.run import RunResult


class FakePlane:
    """Keeps all that it takes; `before` is awaited, by the call's name, and may raise or hang."""

    def __init__(self, before: Callable[[str], object] = lambda _: None) -> None:
        self._before = before
        self.said: list[tuple[str, object]] = []

    async def _take(self, kind: str, what: object) -> None:
        waits = self._before(kind)
        if isinstance(waits, anyio.Event):
            await waits.wait()
        self.said.append((kind, what))

    def all(self, kind: str) -> list[object]:
        return [what for said, what in self.said if said == kind]

    async def beat(self, beat: Beat) -> None:
        await self._take("beat", beat)

    async def log(self, chunk: LogChunk) -> None:
        await self._take("log", chunk)

    async def event(self, event: Event) -> None:
        await self._take("event", event.message)

    async def result(self, result: RunResult) -> None:
        await self._take("result", result)

    async def cancellation(self) -> str:
        await anyio.sleep_forever()
        return ""

    async def position(self, stream: Stream) -> Position | None:
        return None
