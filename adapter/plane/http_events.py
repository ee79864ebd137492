"""A run's events on their way to a control plane: in order, in batches, bounded. They are news, not records."""

from __future__ import annotations

import json
import time
from collections import deque
from typing import Any

import anyio

from adapter.plane import Event
from adapter.plane.http_limits import PlaneLimits
from adapter.plane.http_link import Link
from adapter.plane.http_status import NotTakeable


class Events:
    """What is to be told. `send` makes one request; what was sent once may be sent again if no answer came."""

    def __init__(self, link: Link, limits: PlaneLimits) -> None:
        self._link, self._limits = link, limits
        self._waiting: deque[tuple[dict[str, Any], int]] = deque()
        self._bytes = self._dropped = 0
        self._batch: list[dict[str, Any]] = []
        self._most = limits.batch
        self.since: float | None = None
        """When the oldest of them came; None: there are none."""

    def put(self, event: Event) -> None:
        """Takes an event; the times of the loop's clock mean nothing elsewhere."""
        at = time.time() - (anyio.current_time() - event.at)
        self._put({"kind": event.kind, "message": event.message, "at": at, "data": dict(event.data)})

    def tell(self, kind: str, message: str, **data: Any) -> None:
        """An event of our own."""
        self._put({"kind": kind, "message": message, "at": time.time(), "data": data})

    def skip(self) -> None:
        """Does not take an event: the next one that is taken comes with a word about it."""
        self._dropped += 1

    def discard(self) -> None:
        """Gives up what is to be sent."""
        self._dropped += len(self._waiting) + len(self._batch)
        self._waiting.clear()
        self._batch, self._bytes, self.since = [], 0, None

    async def send(self) -> None:
        """Makes one request, if there is something to tell. Raises `PlaneError`: then it is to be called again."""
        batch = self._batch = self._batch or self._next()
        if not batch:
            return
        try:
            await self._link.send("events", {"events": batch})
        except NotTakeable:
            self._refused(batch)
            return
        if self._batch is batch:
            self._batch = []
            self._settle()

    def _put(self, event: dict[str, Any]) -> None:
        size = len(json.dumps(event, default=str))
        self._waiting.append((event, size))
        self._bytes += size
        self.since = anyio.current_time() if self.since is None else self.since
        while self._waiting and self._over():
            self._bytes -= self._waiting.popleft()[1]
            self._dropped += 1

    def _over(self) -> bool:
        too_large = self._bytes > self._limits.event_bytes and len(self._waiting) > 1
        return too_large or len(self._waiting) > self._limits.events

    def _next(self) -> list[dict[str, Any]]:
        """The next batch, with a word for those that had to go."""
        batch: list[dict[str, Any]] = []
        if self._dropped:
            text = f"{self._dropped} events dropped: the control plane did not take them"
            batch.append({"kind": "plane", "message": text, "at": time.time(), "data": {"dropped": self._dropped}})
            self._dropped = 0
        size = 0
        while self._waiting and len(batch) < self._most and (not batch or size < self._limits.most // 2):
            event, bytes_ = self._waiting.popleft()
            self._bytes -= bytes_
            size += bytes_
            batch.append(event)
        return batch

    def _refused(self, batch: list[dict[str, Any]]) -> None:
        """Of several that are not taken one may be to blame: they go one by one. That one is given up."""
        self._batch = []
        if len(batch) > 1:
            self._most = 1
            self._waiting.extendleft((event, 0) for event in reversed(batch))
        self._settle()

    def _settle(self) -> None:
        """One request is behind us."""
        if not self._waiting:
            self._most = self._limits.batch
        self.since = anyio.current_time() if self._waiting else None
