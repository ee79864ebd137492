"""What a run says to its plane: beats, events, log and the result. No failure of a plane gets out of here."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import anyio
import structlog
from anyio.lowlevel import checkpoint_if_cancelled

from adapter.backoff import Backoff, Patience
from adapter.cluster.framing import Batch
from adapter.limits import Limits
from adapter.plane import Beat, Event, LogChunk, Plane, Position, Stream
from adapter.run import LogSummary, RunResult
from adapter.spool import Spool

T = TypeVar("T")

MOST_EVENTS = 1000
"""Events kept for a plane that does not take them; the oldest go first."""


async def own(call: Awaitable[T]) -> T:
    """A plane's call. A cancellation of its own is a failure like any other: in a child it would end the group."""
    try:
        return await call
    except anyio.get_cancelled_exc_class() as error:
        await checkpoint_if_cancelled()  # ours is passed on
        raise RuntimeError("the plane cancelled its own call") from error


def place(answer: object) -> Position | None:
    """The position that a plane has answered. It may answer anything: raises TypeError for what is none."""
    offset: object = getattr(answer, "offset", None)
    if answer is None or (isinstance(answer, Position) and isinstance(offset, int) and offset >= 0):
        return answer
    raise TypeError(f"{type(answer).__name__} is no position of a log")


class Herald:
    """Events: told at once, delivered in order by a task of their own, so that nobody ever waits for them.

    The other way round it hears one thing: that the run is to be cancelled.
    """

    def __init__(self, plane: Plane, limits: Limits, log: structlog.typing.FilteringBoundLogger) -> None:
        self._plane, self._limits, self._log = plane, limits, log
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._news, self._idle = anyio.Event(), anyio.Event()
        self._patience = Patience(limits.call, limits.plane)

    def tell(self, kind: str, message: str, **data: Any) -> None:
        """Something happened."""
        self._log.info(message, kind=kind, **data)
        self._put(Event(kind=kind, message=message, at=anyio.current_time(), data=data))

    def confide(self, kind: str, message: str, data: Mapping[str, Any]) -> None:
        """Something for the plane alone: a prompt has no place in our own log."""
        self._put(Event(kind=kind, message=message, at=anyio.current_time(), data=data))

    def _put(self, event: Event) -> None:
        self._events.append(event)
        self._idle = anyio.Event() if self._idle.is_set() else self._idle
        self._news.set()

    def trace(self, task: str, state: str) -> None:
        """A task of the run began or ended."""
        self._put(
            Event(
                kind="task",
                message=f"{task} {state}",
                at=anyio.current_time(),
                data={"task": task, "state": state},
            )
        )

    async def run(self) -> None:
        """Delivers until it is cancelled."""
        while True:
            while self._events:
                await self._deliver(self._events.popleft())
            self._idle.set()
            self._news = anyio.Event()
            await self._news.wait()

    async def cancellation(self) -> str:
        """Waits until the plane wants the run cancelled; why."""
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        while True:
            try:
                return str(await own(self._plane.cancellation()))
            except Exception as error:  # noqa: BLE001 - a plane may raise anything, and may not end a run
                self.tell("cancel", f"the plane cannot be asked for a cancel: {error!r}")
            await backoff.wait()

    async def position(self, stream: Stream) -> Position | None:
        """Where the plane's log ends; None if it does not say."""
        with anyio.move_on_after(self._limits.call):
            try:
                return place(await own(self._plane.position(stream)))
            except Exception as error:  # noqa: BLE001 - a plane may raise anything, and may not end a run
                self.tell("sink", f"the plane did not say where its log ends: {error!r}")
        return None

    async def flushed(self) -> None:
        """Waits until every event was delivered, or could not be."""
        while not self._idle.is_set():
            await self._idle.wait()

    async def _deliver(self, event: Event) -> None:
        try:
            with self._patience.wait():
                await own(self._plane.event(event))
        except Exception as error:  # noqa: BLE001 - a plane may raise anything, and may not end a run
            self._log.warning("plane.event_failed", error=repr(error))


class Courier:
    """Log: from the spool to the plane, each chunk until it is taken. The cursor moves only then."""

    def __init__(
        self, plane: Plane, spool: Spool, offset: int, limits: Limits, herald: Herald, stream: Stream = "stdout"
    ) -> None:
        self._plane, self._spool, self._limits, self._herald, self._stream = plane, spool, limits, herald, stream
        self._notes: list[str] = []
        self._in_hand = 0
        self.offset = offset

    def note(self, text: str) -> None:
        """Something of the log is missing, or may be: said once, beside the log, with its place."""
        if text not in self._notes:
            self._notes.append(text)
        self._herald.tell("log_gap", text, offset=self.offset, stream=self._stream)

    def summary(self) -> LogSummary:
        """What became of the log so far."""
        return LogSummary(delivered=self.offset, complete=not self._notes, notes=tuple(self._notes))

    async def run(self) -> None:
        """Delivers until the spool is closed and empty."""
        try:
            while (batch := await self._spool.get()) is not None:
                if batch.gap:
                    self.note(batch.gap)
                else:
                    await self._deliver(batch)
        finally:
            left = self._in_hand + self._spool.pending
            if left:
                self._notes.append(f"log incomplete: the plane did not take the last {left} bytes")
            self._spool.discard()

    async def _deliver(self, batch: Batch) -> None:
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        chunk = LogChunk(
            offset=self.offset,
            data=batch.data,
            cursor=batch.cursor,
            stamp=batch.stamp.decode("ascii"),
            continued=batch.continued,
            stream=self._stream,
        )
        self._in_hand = len(chunk.data)
        while not await self._taken(chunk):
            await backoff.wait()
        self._in_hand = 0
        self.offset += len(chunk.data)

    async def _taken(self, chunk: LogChunk) -> bool:
        try:
            with anyio.fail_after(self._limits.sink):
                await own(self._plane.log(chunk))
        except Exception as error:  # noqa: BLE001 - a sink may raise anything, and may not end a run
            self._herald.tell("sink", f"the log sink failed, trying again: {error!r}", offset=chunk.offset)
            return False
        return True


class Heart:
    """The keepalive: beats while the run's work lasts, honestly, and never after the result was accepted."""

    def __init__(self, plane: Plane, limits: Limits, log: structlog.typing.FilteringBoundLogger) -> None:
        self._plane, self._limits, self._log = plane, limits, log
        self._speaking = anyio.Lock()
        self._in_flight = anyio.CancelScope()
        self._patience = Patience(limits.call, limits.plane)
        self._accepted = False

    @property
    def patience(self) -> float:
        """How long one try to report may take, in seconds."""
        return self._limits.beat_in_flight + self._patience.now

    async def run(self, beat: Callable[[], Beat | None]) -> None:
        """Beats until it is cancelled. `beat` says what there is to say; None: the supervisor is stuck.

        Where the plane does not say when it wants the next one, the interval counts from the beginning of a beat: one
        that was waited for in vain has waited long enough.
        """
        wanted: float | None = None
        while True:
            now, began = beat(), anyio.current_time()
            if now is None:
                self._log.error("keepalive.stuck", hint="the supervisor has not observed its Job; no beat is sent")
            else:
                wanted = await self._beat(now)
            least = self._limits.beat / 30  # a plane may ask for anything, but not for a loop without a pause
            due = wanted if wanted is not None else began + self._limits.beat - anyio.current_time()
            pause = min(max(due, least), self._limits.beat)
            await anyio.sleep(pause * random.uniform(0.9, 1.0))  # noqa: S311 - jitter, no secret

    async def _beat(self, beat: Beat) -> float | None:
        """One beat; when the plane wants the next."""
        async with self._speaking:
            if self._accepted:
                return None
            try:
                with self._patience.wait() as self._in_flight:
                    return _pause(await own(self._plane.beat(beat)))
            except Exception as error:  # noqa: BLE001 - a plane may raise anything, and may not end a run
                self._log.warning("plane.beat_failed", error=repr(error))
            return None

    async def report(self, result: RunResult) -> bool:
        """One try to report. A beat in flight is awaited first, for a moment: it must not follow the result."""
        with anyio.move_on_after(self._limits.beat_in_flight) as waiting:
            await self._speaking.acquire()
        if waiting.cancelled_caught:
            self._in_flight.cancel()
            await self._speaking.acquire()
        try:
            with self._patience.wait():
                await own(self._plane.result(result))
            self._accepted = True
        except Exception as error:  # noqa: BLE001 - a plane may raise anything, and may not end a run
            self._log.warning("plane.result_failed", error=repr(error))
        finally:
            self._speaking.release()
        return self._accepted


def _pause(answer: object) -> float | None:
    """When the next beat is wanted. A plane may answer anything: what is no time has no meaning, and ends no run."""
    return answer if isinstance(answer, int | float) and answer > 0 else None
