"""The plane in the same process: callbacks, for whoever embeds the adapter."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from adapter.plane import Beat, Event, LogChunk, Position, Stream
from adapter.run import RunResult

Callback = Callable[..., Awaitable[None] | None]


class CallbackPlane:
    """Calls what it was given, plain or async functions of one argument; what is missing is not called.

    `cancel` cancels the run. A plane that is given to `Adapter.run` again, for the same run, goes on where its
    log ended.
    """

    def __init__(
        self,
        *,
        on_log: Callable[[LogChunk], Awaitable[None] | None] | None = None,
        on_event: Callable[[Event], Awaitable[None] | None] | None = None,
        on_beat: Callable[[Beat], Awaitable[None] | None] | None = None,
        on_result: Callable[[RunResult], Awaitable[None] | None] | None = None,
    ) -> None:
        self._on_log, self._on_event, self._on_beat, self._on_result = on_log, on_event, on_beat, on_result
        self._positions: dict[Stream, Position] = {}
        self._cancelled = anyio.Event()
        self._why = ""

    def cancel(self, why: str = "") -> None:
        """Cancels the run: its Job is deleted and its pod gets its grace period. Only the first call counts."""
        if not self._cancelled.is_set():
            self._why = why
            self._cancelled.set()

    async def beat(self, beat: Beat) -> float | None:
        await _call(self._on_beat, beat)
        return None

    async def log(self, chunk: LogChunk) -> None:
        await _call(self._on_log, chunk)
        self._positions[chunk.stream] = Position(chunk.offset + len(chunk.data), chunk.cursor)

    async def event(self, event: Event) -> None:
        await _call(self._on_event, event)

    async def result(self, result: RunResult) -> None:
        await _call(self._on_result, result)

    async def cancellation(self) -> str:
        await self._cancelled.wait()
        return self._why

    async def position(self, stream: Stream) -> Position | None:
        return self._positions.get(stream)


async def _call(callback: Callback | None, argument: Any) -> None:
    answer = callback(argument) if callback else None
    if inspect.isawaitable(answer):
        await answer
