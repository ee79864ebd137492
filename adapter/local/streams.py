"""Answers that go on: watches and logs, and what faults do to them."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from .errors import expired
from .faults import Cut, Gone, Handle, HangAfterEnd, How, Silence, Slow, of_kind
from .records import StreamRecord
from .store import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

LIMIT = 65_536
"""bytes a write: as much as is there, but never so much that a reader waits for it"""
TRICKLE = 0.02


def cut_off(transport: asyncio.Transport | None, how: How) -> None:
    """Break a connection: with a reset that throws away what is under way, or after it has been sent."""
    if transport is None:
        return  # the client was quicker
    if how == "rst":
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()


class Stream:
    """One open answer. A producer writes to it; a fault, the client or the server's stop ends it."""

    def __init__(
        self,
        request: web.Request,
        record: StreamRecord,
        handles: Iterable[Handle],
        opened: Callable[[], None],
        changed: Callable[[], None],
    ) -> None:
        self.record = record
        self._opened, self._changed = opened, changed
        self._request = request
        self._handles: list[Handle] = []
        self._ended: asyncio.Future[How] = asyncio.get_running_loop().create_future()
        self._last_words = b""
        self._cut_at: tuple[int, How] | None = None
        self._timers: list[asyncio.TimerHandle] = []
        for handle in handles:
            self.attach(handle)

    @property
    def method(self) -> str:
        return self._request.method

    def attach(self, handle: Handle) -> None:
        """Let a fault befall this stream."""
        self._handles.append(handle)
        action = handle.fault.action
        if isinstance(action, Cut):
            self._plan_cut(action)
        elif isinstance(action, Gone):
            status = expired(1, 2).body()
            self._last_words = encode({"type": "ERROR", "object": status})
            self.end("eof")

    def _plan_cut(self, cut: Cut) -> None:
        if cut.after_bytes is not None:
            self._cut_at = (self.record.bytes_sent + cut.after_bytes, cut.how)
        if cut.after_seconds is not None:
            loop = asyncio.get_running_loop()
            self._timers.append(loop.call_later(cut.after_seconds, self.end, cut.how))

    def withholds(self, version: int, type_: str, obj: dict[str, Any]) -> bool:
        return any(handle.withholds(version, type_, obj) for handle in self._handles)

    def end(self, how: How = "eof") -> None:
        """End it from the server's side."""
        if not self._ended.done():
            self._ended.set_result(how)
            self.closed("server")

    async def serve(
        self, content_type: str, produce: Callable[[Stream], Coroutine[Any, Any, None]]
    ) -> web.StreamResponse:
        """Headers at once, then whatever the producer sends, until somebody ends it."""
        self._response = web.StreamResponse(
            headers={"Content-Type": content_type, "Cache-Control": "no-cache, private"}
        )
        try:
            await self._response.prepare(self._request)
            self._opened()
            how = await self._run(produce)
            self.closed("server")
            await self._finish(how)
        except OSError:
            self.closed("client")
        except asyncio.CancelledError:
            self.closed("client")
            raise
        finally:
            for timer in self._timers:
                timer.cancel()
        return self._response

    async def _run(self, produce: Callable[[Stream], Coroutine[Any, Any, None]]) -> How:
        producer: asyncio.Future[Any] = asyncio.ensure_future(produce(self))
        ended: asyncio.Future[Any] = self._ended
        try:
            await asyncio.wait({producer, ended}, return_when=asyncio.FIRST_COMPLETED)
            if producer.done():
                producer.result()
        finally:
            producer.cancel()
            await asyncio.gather(producer, return_exceptions=True)
        return self._ended.result() if self._ended.done() else "eof"

    async def _finish(self, how: How) -> None:
        if how == "eof":
            if self._last_words:
                await self._response.write(self._last_words)
            await self._response.write_eof()
        else:
            cut_off(self._request.transport, how)

    def closed(self, by: Literal["client", "server"]) -> None:
        if self.record.closed_at is None:
            self.record.closed_at, self.record.closed_by = time.monotonic(), by

    async def send(self, data: bytes) -> None:
        """Write, unless a fault has something against it."""
        for handle in of_kind(self._handles, Silence):
            await handle.lifted.wait()
        for start in range(0, len(data), LIMIT):
            await self._send_piece(data[start : start + LIMIT])

    async def _send_piece(self, piece: bytes) -> None:
        slow = of_kind(self._handles, Slow)
        if not slow:
            await self._write(piece)
            return
        rate = slow[0].fault.action.bytes_per_second  # type: ignore[union-attr]  # of_kind has looked
        step = max(1, int(rate * TRICKLE))
        for start in range(0, len(piece), step):
            await asyncio.sleep(min(step, len(piece)) / rate)
            await self._write(piece[start : start + step])

    async def _write(self, data: bytes) -> None:
        if self._cut_at is not None and self.record.bytes_sent + len(data) >= self._cut_at[0]:
            limit, how = self._cut_at
            await self._deliver(data[: max(0, limit - self.record.bytes_sent)])
            self.end(how)
            await asyncio.Event().wait()
        await self._deliver(data)

    async def _deliver(self, data: bytes) -> None:
        self.record.bytes_sent += len(data)
        self._changed()
        await self._response.write(data)

    async def before_end(self) -> None:
        """Stay open as long as a fault says so."""
        while hanging := of_kind(self._handles, HangAfterEnd):
            await hanging[0].lifted.wait()
