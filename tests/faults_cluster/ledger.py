"""The plane of a run of the matrix: it counts the lines that it is told, each by its own number, and keeps none."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import anyio

from adapter import Beat, Event, LogChunk, Position, RunResult
from adapter.plane import Stream


class Tally:
    """How often each numbered line came, and in which order."""

    def __init__(self) -> None:
        self._times = bytearray(1)
        self._rest = b""
        self.last = 0
        self.backwards = 0
        """Lines that came after one with a higher number."""
        self.odd: list[int] = []
        """The numbers of all those, and of those that came twice."""
        self.strange: list[bytes] = []
        """Lines that no pod of the matrix says."""

    def feed(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._count(line)

    def missing(self, said: int) -> list[int]:
        """The lines up to `said` that did not come."""
        if self._times.find(0, 1, said + 1) < 0 and len(self._times) > said:
            return []
        return [n for n in range(1, said + 1) if n >= len(self._times) or not self._times[n]]

    @property
    def lines(self) -> int:
        """How many different lines came."""
        return len(self._times) - 1 - self._times.count(0, 1)

    @property
    def twice(self) -> int:
        """Lines too many."""
        return sum(self._times) - self.lines

    def _count(self, line: bytes) -> None:
        number = line.partition(b" ")[0]
        if not number.isdigit() or len(number) > 9:
            self.strange.append(line[:200])
            return
        n = int(number)
        if n >= len(self._times):
            self._times += bytes(n + 1 - len(self._times))
        if self._times[n] or n < self.last:
            self.odd.append(n)
        self._times[n] = min(255, self._times[n] + 1)
        self.backwards += n < self.last
        self.last = max(n, self.last)


class Ledger:
    """Takes what it is told; `before_log`, `before_event` and `before_result` may make it wait, or fail."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.size = 0
        self.gaps: list[str] = []
        self.events: list[Event] = []
        self.beats: list[float] = []
        self.wrong: list[str] = []
        """What no plane should be told."""
        self.accepted: RunResult | None = None
        self.accepted_at = 0.0
        self.accepted_on = datetime.now(UTC)
        self.before_log: Callable[[], Awaitable[None]] | None = None
        self.before_result: Callable[[], Awaitable[None]] | None = None
        self.before_event: dict[str, Callable[[], Awaitable[None]]] = {}
        """By kind; each once."""
        self._news = anyio.Event()
        self._cancel = anyio.Event()

    def cancel(self) -> None:
        """Cancels the run."""
        self._cancel.set()

    @property
    def silence(self) -> float:
        """The longest time between two beats, in seconds."""
        pairs = zip(self.beats, self.beats[1:], strict=False)
        return max((later - sooner for sooner, later in pairs), default=0.0)

    async def until(self, holds: Callable[[], object], seconds: float = 60) -> None:
        """Waits until something holds; looked at whenever anything is said."""
        with anyio.fail_after(seconds):
            while not holds():
                await self._news.wait()

    async def beat(self, _: Beat) -> None:
        if self.accepted:
            self.wrong.append("a beat after the accepted result")
        self.beats.append(time.monotonic())
        self._tell()

    async def log(self, chunk: LogChunk) -> None:
        if self.before_log:
            await self.before_log()
        if chunk.offset != self.size:
            self.wrong.append(f"log at {chunk.offset}, with {self.size} bytes there")
        self.size = chunk.offset + len(chunk.data)
        self.tally.feed(chunk.data)
        self._tell()

    async def event(self, event: Event) -> None:
        if strike := self.before_event.pop(event.kind, None):
            await strike()
        self.events.append(event)
        if event.kind == "log_gap":
            self.gaps.append(event.message)
        self._tell()

    async def result(self, result: RunResult) -> None:
        if self.before_result:
            await self.before_result()
        if self.accepted:
            self.wrong.append("a second result")
        self.accepted, self.accepted_at, self.accepted_on = result, time.monotonic(), datetime.now(UTC)
        self._tell()

    async def cancellation(self) -> str:
        await self._cancel.wait()
        return "asked for"

    async def position(self, _: Stream) -> Position | None:
        return None

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()
