"""One run as it is told to a control plane over HTTP. What is told is taken at once; a task of its own sends it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import anyio

from adapter.backoff import Backoff
from adapter.plane import Beat, Event, LogChunk, Position, Stream
from adapter.plane.http_events import Events
from adapter.plane.http_lane import Lane
from adapter.plane.http_limits import PlaneLimits
from adapter.plane.http_link import Link
from adapter.plane.http_standing import Standing
from adapter.plane.http_status import Conflict, NotKnown, PlaneError
from adapter.plane.http_wire import Wire
from adapter.run import Outcome, RunResult

Execution = Callable[[RunResult], Mapping[str, Any] | None]
"""What a control plane stores of a result besides the result itself."""

Allowed = Callable[[], Awaitable[None]]
"""Returns when a run may be told of. A replica that others may think dead must not: they tell of it."""

TRIES = 3
"""How often one try to report may find that the control plane lacks log."""


SUMMARY: dict[Stream, str] = {"stdout": "log", "stderr": "stderr"}
"""Where a result says what became of a stream's log."""


async def always() -> None:
    """Nobody else tells of the run."""


class _Sends(Protocol):
    async def send(self) -> None: ...


class HttpRun:
    """The plane of one run (`adapter.plane.Plane`). Made by `HttpPlane.run`, whose tasks are `send` and `confirm`."""

    def __init__(
        self,
        wire: Wire,
        run_id: str,
        limits: PlaneLimits,
        *,
        supervisor: str,
        execution: Execution | None,
        allowed: Allowed,
    ) -> None:
        self._limits, self._supervisor, self._execution = limits, supervisor, execution
        self._allowed = allowed
        self._link = Link(wire, run_id)
        self._events = Events(self._link, limits)
        self._standing = Standing(self._link, limits, self._tell, self._standing_changed)
        self._lanes: dict[Stream, Lane] = {
            stream: Lane(self._link, stream, limits, self._tell) for stream in ("stdout", "stderr")
        }
        self._link.refused = lambda text: self._tell("plane", f"the control plane refuses our token: {text}")
        self._beats, self._lost = Backoff(limits.interval / 6, limits.interval / 2), False
        self._turn = 0
        self._failing = False
        self._news, self._hurry, self._sent = anyio.Event(), anyio.Event(), anyio.Event()

    # -- what the plane is told --------------------------------------------------------------------------------------

    async def beat(self, beat: Beat) -> float | None:
        """A sign of life, unless there was another one just now. Does not raise: the next one comes the sooner."""
        interval, began = self._standing.interval, anyio.current_time()
        ago = began - self._link.accepted_at
        if ago < interval / 2:
            return interval - ago
        body = {"phase": beat.phase, "observedAgo": beat.observed_ago, "supervisor": self._supervisor}
        try:
            await self._link.sign("beat", body)
        except PlaneError as error:
            delay = self._beats.next() if self._lost else 0.0  # one that is lost alone is made up for at once
            self._lost = True
            # The delay counts from the beginning: on top of the longest wait for an answer it made 80 s of silence.
            rest = min(interval, delay) - (anyio.current_time() - began)
            return min(interval, max(rest, error.retry_after, self._limits.interval_least))
        self._lost = False
        self._beats.reset()
        return self._standing.interval

    async def log(self, chunk: LogChunk) -> None:
        """Takes log. Waits only where neither memory nor disk takes more."""
        lane = self._lanes[chunk.stream]
        if self._standing.deaf is None:
            await lane.room()
        if self._standing.deaf is not None:
            lane.skip(chunk)
            return
        lane.put(chunk)
        self._news.set()
        if lane.full:
            self._hurry.set()

    async def event(self, event: Event) -> None:
        """Takes an event; what the tasks of a run do is for those who are in the same process."""
        if event.kind == "task":
            return
        if self._standing.deaf is not None:
            self._events.skip()
            return
        self._events.put(event)
        self._news.set()

    async def result(self, result: RunResult) -> None:
        """The end, once the control plane has everything that comes before it. Raises `PlaneError`."""
        self._standing.reporting = True
        for _ in range(TRIES):
            await self._flush()
            await self._allowed()
            try:
                await self._link.sign("result", self._report(result))
            except Conflict as conflict:
                if await self._settled(conflict, result.outcome):
                    return
            else:
                return
        raise PlaneError("result: the control plane still lacks log that it was sent")

    async def cancellation(self) -> str:
        """Waits until the control plane wants the run cancelled; why."""
        return await self._standing.cancellation()

    async def position(self, stream: Stream) -> Position | None:
        """Where the control plane's log ends. Everything that was not sent is forgotten. Raises `PlaneError`."""
        try:
            status = await self._link.status()
        except NotKnown:
            await anyio.sleep(self._limits.retry_first)
            try:
                status = await self._link.status()
            except NotKnown:
                return None
        return self._lanes[stream].begin(status)

    # -- the tasks ---------------------------------------------------------------------------------------------------

    async def confirm(self) -> None:
        """Confirms what the control plane says of the run, until it is cancelled."""
        await self._standing.run()

    async def send(self) -> None:
        """Sends what there is to send, one request after the other, until it is cancelled."""
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        while True:
            what = self._next()
            if what is None:
                self._news = anyio.Event()
                await self._news.wait()
                continue
            await self._allowed()
            delay = await self._send(what)
            self._failing = delay is not None
            self._sent.set()
            self._sent = anyio.Event()
            if delay is None:
                backoff.reset()
                await self._gather()
            else:
                await backoff.wait(delay)

    async def farewell(self) -> None:
        """Waits a moment for the last events of a run, as long as they can be sent."""
        with anyio.move_on_after(self._limits.farewell):
            while self._events.since is not None and not self._failing:
                self._hurry.set()
                await self._sent.wait()

    async def _send(self, what: _Sends) -> float | None:
        """One request; None: it was accepted; else how many seconds the next one is to wait at least."""
        try:
            await what.send()
        except Conflict as conflict:
            return await self._closed(conflict)
        except PlaneError as error:
            return error.retry_after
        except Exception as error:  # noqa: BLE001 - a fault of ours (a disk that cannot be read) may not end a run
            self._link.log.error("plane.fault", error=repr(error))
            return 0.0
        return None

    async def _closed(self, conflict: Conflict) -> float:
        if conflict.code == "terminal":
            try:
                await self._standing.closed()
            except PlaneError as error:
                return error.retry_after
        return 0.0

    def _next(self) -> _Sends | None:
        """Whose turn it is: events, one log, the other log, of those that have something to send."""
        if self._standing.deaf is not None:
            return None
        waiting: list[tuple[_Sends, object]] = [(self._events, self._events.since is not None)]
        waiting += [(lane, lane.held or lane.lost) for lane in self._lanes.values()]
        for _ in waiting:
            what, has = waiting[self._turn]
            self._turn = (self._turn + 1) % len(waiting)
            if has:
                return what
        return None

    async def _gather(self) -> None:
        """Lets some more come, so that a log of short lines is not a request for each."""
        if any(lane.full for lane in self._lanes.values()):
            return
        self._hurry = anyio.Event()
        with anyio.move_on_after(self._limits.gather):
            await self._hurry.wait()

    # -- the end -----------------------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        """Waits until everything was sent. Raises `PlaneError`."""
        with anyio.move_on_after(self._limits.flush):
            while behind := self._behind():
                self._hurry.set()
                await self._sent.wait()
        if behind := self._behind():
            raise PlaneError(f"result: not offered yet: the control plane does not have {behind}")

    def _behind(self) -> str:
        """What the control plane must have before the result, and does not, in words."""
        if self._standing.deaf is not None:
            return ""
        log = sum(lane.held or lane.lost for lane in self._lanes.values())
        since = self._events.since
        if log:
            return f"the last {log} bytes of the log"
        if since is not None and anyio.current_time() - since < self._limits.patience:
            return "the last events"
        return ""

    async def _settled(self, conflict: Conflict, outcome: Outcome) -> bool:
        """Whether there is nothing more to report. Raises `PlaneError`.

        A run that has ended there as it did here was reported by an earlier life of ours, which was killed before it
        could write that down: what is said of the same end may be other words, since less was seen of it.
        """
        if conflict.code not in ("terminal", "log_incomplete"):
            raise conflict
        status = await self._link.status()
        if conflict.code == "terminal":
            if not status.terminal:
                raise conflict
            if status.state == outcome.value:
                self._link.log.info("plane.result_was_there", state=status.state)
            else:
                why = "the run has ended there already"
                self._link.log.warning("plane.result_not_taken", why=why, state=status.state)
            return True
        for lane in self._lanes.values():
            lane.believe(status)
        self._news.set()
        return False

    def _report(self, result: RunResult) -> dict[str, Any]:
        sums = {stream: lane.summary() for stream, lane in self._lanes.items()}
        return {
            "result": self._honest(result.to_json()),
            "execution": self._executed(result),
            "log": {stream: summary for stream, summary in sums.items() if summary},
        }

    def _honest(self, result: dict[str, Any]) -> dict[str, Any]:
        """A result that says what was lost on the way to the control plane, too."""
        for stream, lane in self._lanes.items():
            key = SUMMARY[stream]
            summary = result.get(key)
            notes = [*lane.notes, *([f"log incomplete: {lane.lost} bytes were not sent"] if lane.lost else [])]
            if summary and notes:
                result[key] = summary | {"complete": False, "notes": [*summary["notes"], *notes]}
        return result

    def _executed(self, result: RunResult) -> Mapping[str, Any] | None:
        try:
            return self._execution(result) if self._execution else None
        except Exception as error:  # noqa: BLE001 - a result without it is better than none
            self._link.log.error("plane.execution_failed", error=repr(error))
            return None

    # -- news --------------------------------------------------------------------------------------------------------

    def _tell(self, kind: str, message: str, **data: Any) -> None:
        self._events.tell(kind, message, **data)
        self._news.set()

    def _standing_changed(self) -> None:
        if self._standing.deaf is not None:
            self._events.discard()
            for lane in self._lanes.values():
                lane.discard(self._standing.deaf)
        self._news.set()
        self._sent.set()
        self._sent = anyio.Event()
