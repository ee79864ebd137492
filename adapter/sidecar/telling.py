"""Whom a run of the service tells: its journal, and the control plane that it is pushed to, where there is one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import anyio
import structlog

from adapter.plane import Beat, Event, LogChunk, Plane, Position, Stream
from adapter.plane.store import StoreError
from adapter.run import RunResult
from adapter.sidecar.journal import Journal

log = structlog.get_logger(__name__)


class Fence(Protocol):
    """Whether this replica is one of the living: one that others may think dead neither appends nor reports."""

    async def until_valid(self) -> None: ...


class Watcher(Protocol):
    """Who counts what runs tell: metrics and traces."""

    def began(self, run_id: str, attributes: Mapping[str, Any]) -> None: ...
    def event(self, run_id: str, event: Event) -> None: ...
    def log(self, run_id: str, size: int) -> None: ...
    def beat(self, run_id: str, late: float) -> None: ...
    def ended(self, run_id: str, result: RunResult) -> None: ...


class Telling:
    """The plane of one run. It beats although it is fenced off: an outage must not silence every replica at once.

    `execution` makes of a result what the control plane stores. `told` hears every event, beat and result first.
    `interval` is the seconds between two beats, at most.
    """

    def __init__(
        self,
        run_id: str,
        journal: Journal,
        fence: Fence,
        watcher: Watcher,
        execution: Callable[[RunResult], dict[str, Any] | None],
        told: Callable[[Event | Beat | RunResult], None],
        interval: float,
    ) -> None:
        self._run_id, self._journal, self._fence = run_id, journal, fence
        self._push: Plane | None = None
        self._watcher, self._execution, self._told = watcher, execution, told
        self._cancelled, self._why = anyio.Event(), ""
        self._interval, self._due = interval, float("inf")
        self._silenced = False

    def push_to(self, plane: Plane | None) -> None:
        """From now on it tells this control plane, too."""
        self._push = plane

    def silence(self) -> None:
        """Another replica has the run: what was taken and not sent yet never will be."""
        self._silenced = True

    async def allowed(self) -> None:
        """Returns when the control plane may be told of the run, of more than that it lives."""
        await self._fence.until_valid()
        if self._silenced:
            await anyio.sleep_forever()

    def cancel(self, why: str) -> None:
        """Cancels the run. Only the first reason counts."""
        if not self._cancelled.is_set():
            self._why = why
            self._cancelled.set()

    @property
    def cancelled(self) -> str | None:
        """Why the run is to be cancelled; None if it is not."""
        return self._why if self._cancelled.is_set() else None

    async def beat(self, beat: Beat) -> float | None:
        now = anyio.current_time()
        self._watcher.beat(self._run_id, max(0.0, now - self._due))
        self._due = now + self._interval
        self._told(beat)
        self._journal.beat(beat)
        wanted = await self._push.beat(beat) if self._push else None
        self._due = now + min(self._interval, wanted or self._interval)
        return wanted

    async def log(self, chunk: LogChunk) -> None:
        await self.allowed()
        try:
            await self._journal.log(chunk)
        except StoreError as error:
            if self._push is None:
                raise
            log.warning("journal.failed", run_id=self._run_id, error=str(error))  # the control plane has it
        if self._push:  # last: what it has taken must not be offered to it again
            await self._push.log(chunk)
        self._watcher.log(self._run_id, len(chunk.data))

    async def event(self, event: Event) -> None:
        self._told(event)
        self._watcher.event(self._run_id, event)
        try:
            if event.kind == "cancel" and "why" in event.data:  # by whomever it was written on the Job
                await self._journal.cancelled(event.data["why"])
            await self._journal.event(event)
        finally:
            if self._push:
                await self._push.event(event)

    async def result(self, result: RunResult) -> None:
        self._told(result)
        await self.allowed()
        if self._push is None:
            await self.note_result(result)
            return
        await self._push.result(result)
        with suppress(StoreError):  # the control plane has it
            await self.note_result(result)

    async def note_result(self, result: RunResult) -> None:
        """The result for the journal alone."""
        await self._journal.result(result.to_json(), self._execution(result))

    async def cancellation(self) -> str:
        if self._push is None:
            await self._cancelled.wait()
            return self._why
        async with anyio.create_task_group() as group:
            group.start_soon(self._hear, self._push)
            await self._cancelled.wait()
            group.cancel_scope.cancel()
        return self._why

    async def _hear(self, push: Plane) -> None:
        self.cancel(await push.cancellation())

    async def position(self, stream: Stream) -> Position | None:
        return await (self._push or self._journal).position(stream)
