"""A clock that is set by hand, and chunks of log."""

from __future__ import annotations

from collections.abc import Callable

from adapter.plane import LogChunk, Stream
from adapter.plane.store import Store


class Hands:
    """Seconds that only the test moves. `meanwhile` is called, once, by whoever looks next."""

    def __init__(self, time: float = 1_000_000.0) -> None:
        self.time = time
        self.meanwhile: Callable[[], None] | None = None

    def __call__(self) -> float:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        return self.time

    def forward(self, seconds: float) -> None:
        self.time += seconds

    async def reaped(self, store: Store, seconds: float, threshold: float = 300) -> list[str]:
        """Whom a reaper takes that looks each tenth of its threshold, for so many seconds."""
        taken: list[str] = []
        end = self.time + seconds
        while self.time < end:
            self.forward(min(threshold / 10, end - self.time))
            taken += await store.reap(threshold)
        return taken


def chunk(offset: int, data: bytes, *, stream: Stream = "stdout", continued: bool = False) -> LogChunk:
    """A chunk whose cursor says where it ends."""
    cursor = f"up to {offset + len(data)}"
    return LogChunk(offset=offset, data=data, cursor=cursor, stamp="stamp", stream=stream, continued=continued)
