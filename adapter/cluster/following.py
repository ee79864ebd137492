"""Follows one container's log: owns the connection and the framing, and nothing else.

How a stream ends says nothing about the container: a restarted kubelet ends every follow cleanly. So the follow
goes on until it is cancelled, and what it had received by then is kept.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

import anyio
import structlog
from anyio.lowlevel import checkpoint

from adapter.backoff import Backoff
from adapter.cluster.beginning import WORDS, Beginning
from adapter.cluster.connection import ApiError, Connection, Unreachable, hang_up
from adapter.cluster.cursor import Cursor
from adapter.cluster.framing import Batch, Framer
from adapter.cluster.pods import AGENT
from adapter.limits import Limits

if TYPE_CHECKING:
    from aiohttp import ClientResponse

log = structlog.get_logger(__name__)

BLOCK = 64 * 1024
"""Bytes that are framed at once, while nothing else has its turn. The library buffers up to 4 MiB of an answer."""

Put = Callable[[list[Batch]], None]
Room = Callable[[], Awaitable[None]]


class Read(Enum):
    """What a read of the whole rest of a log came to."""

    WHOLE = "whole"
    """To its end: what the container wrote so far was read."""
    NOT_YET = "not yet"
    """There is no log: the container has not started, or the kubelet does not know it yet."""
    GONE = "gone"
    """The pod is gone, and its log with it."""
    FAILED = "failed"
    """The answer was an error that may pass, or broke off."""
    UNANSWERED = "unanswered"
    """The API server did not answer, or could not be reached."""
    REFUSED = "refused"
    """We may not read it, or the request is wrong: trying again changes nothing."""


@dataclass(slots=True)
class Progress:
    """What was received, for those who bound a wait by it."""

    received: int = 0
    at: float = 0.0


class Follower:
    """Reads the log of one container of a pod into `put`, from `cursor` on; `room` is where it may wait.

    `beginning` doubts that what is read first is what was said first; without it nothing does.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        pod: str,
        container: str = AGENT,
        *,
        cursor: Cursor,
        limits: Limits,
        put: Put,
        room: Room,
        beginning: Beginning | None = None,
    ) -> None:
        self._connection, self._limits, self._container = connection, limits, container
        self._path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        self._framer = Framer(limits.line, cursor)
        self._put, self._room = put, room
        self._beginning = beginning or Beginning(None)
        self._idle, self._headers = limits.idle, limits.headers
        self.progress = Progress(at=anyio.current_time())
        self.moved = False
        self.refused: ApiError | None = None

    async def follow(self, news: Callable[[], Awaitable[None]]) -> None:
        """Follows until it is cancelled, or the pod is gone. `news` returns when the pod may have changed."""
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        while True:
            before = self.progress.received
            ended = await self._stream(follow=True)
            if ended in (Read.GONE, Read.REFUSED):
                return
            if self.progress.received > before:
                backoff.reset()
            if ended is Read.WHOLE:
                await news()  # either the container has ended, which its pod will tell, or the kubelet was restarted
            await backoff.wait()

    async def rest(self, stall: float, headers: float | None = None) -> Read:
        """Reads on from behind what was framed to what is there now, without following.

        Gives up after `stall` seconds without a byte, or `headers` without an answer (None: `Limits.headers`).
        """
        self._idle, before = stall, self._framer.place
        self._headers = self._limits.headers if headers is None else headers
        try:
            return await self._stream(follow=False)
        finally:
            self.moved = self._framer.place != before

    @property
    def short(self) -> bool:
        """Whether the last stream ended before the last line that was read was there again."""
        return self._framer.short

    def finish(self) -> None:
        """The log is over: a last line without a newline is a line."""
        self._put(self._framer.finish())

    async def _stream(self, *, follow: bool) -> Read:
        since = self._framer.resume()
        query = [("container", self._container), ("timestamps", "true")]
        query += [("follow", "true")] if follow else []
        query += [("sinceTime", since)] if since else []
        try:
            response = await self._connection.read(self._path, query=query, headers=self._headers)
        except (ApiError, Unreachable) as error:
            return self._refusal(error)
        if not self.progress.received:
            self._beginning.opened(anyio.current_time())
        try:
            self._put(self._framer.feed(b""))  # the stream is there, even if nothing comes: a rotated log can be empty
            return await self._pump(response)
        finally:
            # Synchronous, both: an await here would be cancelled with the rest and leave the connection open.
            while block := _received(response):
                self._take(block)
            hang_up(response)

    async def _pump(self, response: ClientResponse) -> Read:
        from aiohttp import ClientError

        while True:
            try:
                with anyio.move_on_after(self._idle) as idle:
                    block = await response.content.read(BLOCK)
            except (ClientError, OSError) as error:
                log.debug("log.cut", error=str(error))
                return Read.FAILED
            if idle.cancelled_caught:
                self._idle *= 2  # a silent container is no fault, so look again ever more rarely
                return Read.FAILED
            if not block:
                return Read.WHOLE
            self._take(block)
            await self._room()
            if len(block) == BLOCK:
                await checkpoint()  # what is there already is read without waiting: others must have their turn

    def _take(self, block: bytes) -> None:
        if block:
            self.progress.received += len(block)
            self.progress.at = anyio.current_time()
            self._put(self._framer.feed(block))
            if self._beginning.took(block, self._framer.cursor):
                self._put([Batch(b"", self._framer.cursor, gap=WORDS)])

    def _refusal(self, error: ApiError | Unreachable) -> Read:
        """What the lack of a log means: `pods` not found is final, `pods/log` not found is transient."""
        if isinstance(error, Unreachable):
            return Read.UNANSWERED
        if error.transient or error.status == 401:
            return Read.FAILED
        if error.status == 404:
            return Read.GONE if error.kind == "pods" else Read.NOT_YET
        if error.status == 204 or (error.status == 400 and _waiting(error.message)):
            return Read.NOT_YET
        self.refused = error
        return Read.REFUSED


def _waiting(message: str) -> bool:
    return "waiting to start" in message or "is not available" in message


def _received(response: ClientResponse) -> bytes:
    """More of what has arrived and was not read yet. aiohttp would throw it away with the connection."""
    try:
        return response.content.read_nowait(BLOCK)
    except Exception:  # noqa: BLE001 - the broken connection's own error: nothing is left then
        return b""
