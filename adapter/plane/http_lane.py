"""One stream's log on its way to a control plane: every byte once, in order, or a gap is reported.

Where its log ends the plane says, and nobody else: what is below that is dropped here, unsent, and what lies between
that and the first byte that is still here is lost.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

from adapter.plane import LogChunk, Position, Stream
from adapter.plane.http_limits import PlaneLimits
from adapter.plane.http_link import Link
from adapter.plane.http_mark import Mark
from adapter.plane.http_queue import Queue, end
from adapter.plane.http_status import Conflict, LogEnd, NotTakeable, PlaneError, Status


@dataclass(frozen=True, slots=True)
class _Place:
    """A place in what we were given: the cursor of the last whole chunk, where that ended, and the checksum there."""

    cursor: object = ""
    offset: int = 0
    crc: int | None = None


class Lane:
    """What is to be sent of a stream. `put` takes it, `send` makes one request, `begin` goes on where the plane's ends.

    `end` is where the plane's log ends, as far as it has said, and `crc` the checksum of it; `given` is the end of
    what we were given. `notes` says what of the log is missing.
    """

    def __init__(self, link: Link, stream: Stream, limits: PlaneLimits, tell: Callable[..., None]) -> None:
        self._link, self._stream, self._limits, self._tell = link, stream, limits, tell
        self._queue = Queue(limits.memory // 2, limits.disk // 2)  # a run has two streams
        self._hand: LogChunk | None = None
        self._whole = _Place()
        self._own: int | None = None  # the checksum of what we were given, up to the chunk in hand
        self.end: int | None = None
        self.crc: int | None = None
        self.given: int | None = None
        self.notes: list[str] = []

    @property
    def held(self) -> int:
        """Bytes that are still to be sent."""
        return self._queue.pending + (len(self._hand.data) if self._hand else 0)

    @property
    def lost(self) -> int:
        """Bytes that the plane lacks at its end, and that are not here any more either."""
        return 0 if self.held else max(0, (self.given or 0) - (self.end or 0))

    @property
    def full(self) -> bool:
        """Whether there is a whole append to send."""
        return self.held >= self._link.wire.most

    def put(self, chunk: LogChunk) -> None:
        """Takes a chunk. One that begins before the end of the last one begins everything anew."""
        if self.given is None or chunk.offset < self.given:
            self._restart(chunk.offset, 0 if chunk.offset == 0 else None)
        self._queue.put(chunk)
        self.given = end(chunk)

    async def room(self) -> None:
        """Waits until there is room for more."""
        await self._queue.room()

    def discard(self, why: str) -> None:
        """Gives up what is to be sent."""
        if self.held:
            self._note(f"{self.held} bytes of the log were not sent: {why}", self.held)
        self._queue.clear()
        self._hand = None

    def skip(self, chunk: LogChunk) -> None:
        """Does not take a chunk: the next one that is taken comes with a gap."""
        self.given = end(chunk)

    def summary(self) -> dict[str, int | None] | None:
        """Size and checksum of the whole log; None: nothing is known of it here."""
        if self.end is None:
            return None
        return {"size": max(self.end, self.given or 0), "crc32": self.crc}

    def begin(self, status: Status) -> Position | None:
        """Begins anew where the plane's log ends, and says where that is; None: it has none, or none of ours."""
        at = self._in(status)
        mark = Mark.parse(at.cursor)
        self._restart(max(0, at.offset - mark.ahead), mark.base if mark.ahead else mark.crc, mark.cursor)
        self._ends_at(at)
        self.given = self._whole.offset if mark.cursor else None
        return Position(self._whole.offset, mark.cursor) if mark.cursor else None

    def believe(self, status: Status) -> None:
        """Takes the plane's word for where its log ends."""
        self._ends_at(self._in(status))

    async def send(self) -> None:
        """Makes one request, if there is something to send. Raises `PlaneError`: then it is to be called again."""
        await self._learn()
        chunk = self._next()
        if chunk is None or self.end is None:
            return
        gap = chunk.offset - self.end
        try:
            self._taken(chunk, gap, await self._append(chunk, gap))
        except NotTakeable as error:
            self._cut(len(chunk.data), error)

    # -- what is sent ------------------------------------------------------------------------------------------------

    async def _learn(self) -> None:
        """Knows where the plane's log ends; of a log that begins here nothing needs to be asked."""
        if self._hand is None:
            self._hand = self._queue.take(self._link.wire.most)
        if self.end is None and self._hand and self._hand.offset == 0:
            self.end, self.crc = 0, 0
        if self.end is None and (self._hand or self.lost):
            self.believe(await self._link.status())

    def _next(self) -> LogChunk | None:
        """What is to be sent next: something that the plane does not have, or the news that something is lost."""
        self._drop_known()
        while self._hand is None and (taken := self._queue.take(self._link.wire.most)):
            self._hand = taken
            self._drop_known()
        if self._hand:
            return _cut_off(self._hand, self._link.wire.most)
        if self.lost:
            return LogChunk(offset=self.given or 0, data=b"", cursor="", stamp="", stream=self._stream)
        return None

    async def _append(self, chunk: LogChunk, gap: int) -> LogEnd:
        """One append; where the plane's log ends then."""
        mark = self._mark(chunk)
        try:
            status = await self._link.send("log", _body(chunk, gap, mark))
        except Conflict as conflict:
            if conflict.code != "misfit":
                raise
            return self._corrected(chunk.offset - gap, await self._link.status())
        at = status.log.get(self._stream) or LogEnd(offset=end(chunk), cursor=str(mark))
        if at.offset < end(chunk):
            raise PlaneError(f"log: an append up to {end(chunk)} was accepted, but the log ends at {at.offset}")
        return at

    def _corrected(self, assumed: int, status: Status) -> LogEnd:
        """What was refused, was refused for a reason: the place that the plane says must be another one."""
        at = self._in(status)
        if at.offset == assumed:
            raise PlaneError(f"log: an append at {assumed} was refused, although the log is said to end there")
        return at

    def _mark(self, chunk: LogChunk) -> Mark:
        crc = None if self.crc is None else crc32(chunk.data, self.crc)
        if self._hand and end(chunk) == end(self._hand):
            return Mark(str(chunk.cursor), crc)
        return Mark(str(self._whole.cursor), crc, end(chunk) - self._whole.offset, self._whole.crc)

    def _cut(self, size: int, error: NotTakeable) -> None:
        """Somebody on the way (a proxy) takes less at once than we sent: it is remembered for all runs."""
        if not error.too_large or size <= self._limits.least:
            raise error
        self._link.wire.most = max(self._limits.least, size // 2)

    # -- what the plane has ------------------------------------------------------------------------------------------

    def _in(self, status: Status) -> LogEnd:
        return status.log.get(self._stream) or LogEnd(offset=0, cursor="")

    def _restart(self, offset: int, crc: int | None, cursor: str = "") -> None:
        self._queue.clear()
        self._hand = None
        self._whole, self._own = _Place(cursor, offset, crc), crc

    def _taken(self, chunk: LogChunk, gap: int, at: LogEnd) -> None:
        if gap and at.offset >= end(chunk):
            self._note(f"{gap} bytes of the log, before {chunk.offset}, are not kept by the control plane", gap)
        if gap:
            self._own = self.crc  # what is lost does not count
        self._ends_at(at)

    def _ends_at(self, at: LogEnd) -> None:
        self.end, self.crc = at.offset, Mark.parse(at.cursor).crc if at.offset else 0
        self._drop_known()

    def _drop_known(self) -> None:
        """Drops what the plane has of the chunk in hand; where its end is met, both checksums must be the same."""
        hand = self._hand
        if hand is None or self.end is None:
            return
        known = max(0, min(len(hand.data), self.end - hand.offset))
        self._own = None if self._own is None else crc32(hand.data[:known], self._own)
        if hand.offset + known == self.end:
            self._compare()
        if known < len(hand.data):
            self._hand = replace(hand, offset=hand.offset + known, data=hand.data[known:])
        else:
            self._hand, self._whole = None, _Place(hand.cursor, end(hand), self._own)

    def _compare(self) -> None:
        """A log that was given again from its beginning need not begin where it once did: its file may be rotated."""
        if self._own is not None and self.crc is not None and self._own != self.crc:
            self._note("what was given again is not what the control plane has: some may be missing, or there twice")
        self.crc = self._own if self.crc is None else self.crc
        self._own = self.crc

    def _note(self, text: str, lost: int = 0) -> None:
        """Something of the log is missing: said beside the log, and with the result."""
        self.notes.append(f"log incomplete: {text}")
        self._tell("log_gap", text, stream=self._stream, offset=self.end, bytes=lost)


def _cut_off(chunk: LogChunk, most: int) -> LogChunk:
    """A chunk, or as much of it as may be sent at once."""
    if len(chunk.data) <= most:
        return chunk
    data = chunk.data[:most]
    return replace(chunk, data=data, continued=not data.endswith(b"\n"))


def _body(chunk: LogChunk, gap: int, mark: Mark) -> dict[str, Any]:
    body = {
        "stream": chunk.stream,
        "offset": chunk.offset,
        "data": base64.b64encode(chunk.data).decode("ascii"),
        "cursor": str(mark),
        "stamp": chunk.stamp,
        "continued": chunk.continued,
    }
    return body | ({"gap": gap} if gap else {})
