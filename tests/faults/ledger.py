"""The plane of a run of the matrix: it writes down what it was told, and answers as badly as it is asked to."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from adapter import Beat, Event, LogChunk, Position, RunResult
from adapter.plane import Stream

Trouble = Callable[[str], Awaitable[Any]]
"""What happens before a call is taken, by the call's name: it may wait, raise, or return an answer of its own."""


class Ledger:
    """Keeps the log in one piece across any number of supervisors, as a plane must: by offset, in one step."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.wrong: list[str] = []
        """What no plane should be told."""
        self.gaps: list[str] = []
        self.accepted: RunResult | None = None
        self.accepted_at = 0.0
        self.beats = self.results = 0
        self.trouble: list[Trouble] = []
        self.forget = False
        """Store what comes, but answer as if it had been lost."""
        self._cursor = ""
        self._cancel = anyio.Event()

    def cancel(self) -> None:
        """Cancels the run."""
        self._cancel.set()

    async def beat(self, _: Beat) -> float | None:
        answer = await self._meet("beat")
        if self.accepted:
            self.wrong.append("a beat after the accepted result")
        self.beats += 1
        return answer  # type: ignore[no-any-return]  # garbage, where that is asked for

    async def log(self, chunk: LogChunk) -> None:
        await self._meet("log")
        end = chunk.offset + len(chunk.data)
        if chunk.offset > len(self.data):
            self.wrong.append(f"log at {chunk.offset}, with {len(self.data)} bytes there")
            raise ValueError("a chunk does not begin where the last one ended")
        if chunk.data[: len(self.data) - chunk.offset] != self.data[chunk.offset : end]:
            self.wrong.append(f"other log than before at {chunk.offset}")
        if end > len(self.data):
            self.data += chunk.data[len(self.data) - chunk.offset :]
            self._cursor = str(chunk.cursor)
        if self.forget:
            self.forget = False
            raise ConnectionError("the answer was lost")

    async def event(self, event: Event) -> None:
        if event.kind == "log_gap":
            self.gaps.append(event.message)
        await self._meet("event")

    async def result(self, result: RunResult) -> None:
        await self._meet("result")
        self.results += 1
        if self.accepted:
            self.wrong.append("a second result")
        self.accepted, self.accepted_at = result, time.monotonic()

    async def cancellation(self) -> str:
        if (answer := await self._meet("cancellation")) is not None:
            return answer  # type: ignore[no-any-return]  # as above
        await self._cancel.wait()
        return "asked for"

    async def position(self, stream: Stream) -> Position | None:
        if (answer := await self._meet("position")) is not None:
            return answer  # type: ignore[no-any-return]  # as above
        return Position(len(self.data), self._cursor) if self._cursor and stream == "stdout" else None

    async def _meet(self, call: str) -> Any:
        answers = [await trouble(call) for trouble in self.trouble]
        return next((answer for answer in answers if answer is not None), None)
