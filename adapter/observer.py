"""A run that some other process supervises, observed to its end: its log, its states in words, its result.

It only reads. It has a watch of its own, narrowed to the run's one Job: whoever subscribes to the shared feed is taken
for the Job's supervisor, and a poll would miss the end of a Job that is deleted as soon as its result was accepted.
Where it may not watch, or cannot, it looks each few seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import anyio
import structlog

from adapter.agent.findings import interpret
from adapter.backoff import Backoff
from adapter.case import Case
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.jobs import AGENT_LABEL, RUN_LABEL, Job, Jobs, job_name, selector
from adapter.cluster.watching import Feed
from adapter.errors import Code
from adapter.listener import Listener
from adapter.mouth import Herald
from adapter.observation import Observation, Observed
from adapter.plane import Beat, Event, LogChunk, Plane, Position, Stream
from adapter.plane.callbacks import CallbackPlane
from adapter.stream import LogStream
from adapter.watch import Watch

if TYPE_CHECKING:
    from adapter.service import Adapter

__all__ = ["PATIENCE", "Observed", "Observer", "Sink"]

PATIENCE = 15.0
"""Seconds that a result may take to come onto the Job after its end: its supervisor reports it to its plane first."""

LOOK = 5.0
"""Between two looks, in seconds, while the watch does not speak."""

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class Sink(Protocol):
    """Who is told. What it does not take of the log is offered again; an event is not."""

    async def log(self, chunk: LogChunk) -> None: ...
    async def event(self, event: Event) -> None: ...


class Observer:
    """Observes one run, from wherever it is to its end; `observe` is its life and is called once.

    The log comes from the beginning, or from behind `positions`, as the last chunks have given them. Without `logs` it
    is not read. A run whose agent has to begin afresh has a second Job: its log is the first one's continuation.
    """

    def __init__(
        self,
        adapter: Adapter,
        job: Job,
        sink: Sink,
        *,
        namespace: str | None = None,
        positions: Mapping[Stream, Position] | None = None,
        logs: bool = True,
        patience: float = PATIENCE,
    ) -> None:
        self._ear = _Ear(sink, positions or {})
        self._connection, self._namespace = adapter.connection, namespace or adapter.namespace
        self._jobs = Jobs(self._connection, self._namespace, call=adapter.limits.call)
        # What keeps a Job from starting is noticed at once; what is to be made of it is its supervisor's to say.
        look = min(adapter.limits.safety, LOOK)
        self._limits = replace(adapter.limits, grace=0.0, safety=look, unreachable=None)
        self._limits = replace(self._limits, schedule=math.inf, start=math.inf, ending=math.inf)
        self._job, self._streams, self._patience = job, STREAMS if logs else (), patience
        self._now: Observation | None = None

    async def observe(self) -> Observed:
        """Observes until the run is over and, for a moment more, until its result is on its Job. Never writes."""
        while True:
            observed = await self._until_over(self._job)
            following = await self._next(observed) if _may_begin_afresh(observed) else None
            if following is None:
                return observed
            self._job = following

    def beat(self) -> Beat:
        """What a keepalive would say of the run now."""
        return self._now.beat() if self._now else Beat(run_id=self._job.of_run or "", phase="queued", observed_ago=None)

    async def _until_over(self, job: Job) -> Observed:
        listener = await self._listener(job) if job.agent and self._streams else None
        plane = listener or self._ear
        herald = Herald(plane, self._limits, structlog.get_logger("adapter").bind(run_id=job.of_run, observed=True))
        feed = Feed(self._connection, self._namespace, f"{RUN_LABEL}={job.name}", self._limits)
        async with anyio.create_task_group() as group:
            group.start_soon(feed.run)
            group.start_soon(herald.run)
            with feed.subscribe(job.name) as inbox:
                case = Case(job, self._limits, job.of_run or "")
                watch = Watch(case, feed, inbox, self._jobs, self._limits, herald)
                streams = await self._logs(plane, watch, herald)
                self._now = Observation(watch, streams, herald, self._limits, self._patience)
                observed = await self._now.run(group)
            with anyio.move_on_after(self._limits.call):
                await herald.flushed()
            group.cancel_scope.cancel()
        return _interpreted(observed, listener) if listener else observed

    async def _listener(self, job: Job) -> Listener:
        """Who reads an agent's transcript on its way, and gives each chunk the cursor that a supervisor gives it."""
        positions = {stream: await self._ear.position(stream) for stream in STREAMS}
        ends = {stream: position.offset for stream, position in positions.items() if position}
        second = job.name == job_name(job.instance or "", f"{job.run_id}\0" + "2")
        return Listener(self._ear, 2 if second else 1, ends)

    async def _logs(self, plane: Plane, watch: Watch, herald: Herald) -> list[LogStream]:
        place = plane, self._connection, self._namespace, watch, self._limits, herald
        streams = [LogStream(*place, name) for name in self._streams]
        for stream in streams:
            if await plane.position(stream.name):
                await stream.resume()
        return streams

    async def _next(self, observed: Observed) -> Job | None:
        """The Job with which the run begins afresh; None if there is none after a while."""
        pace = Backoff(self._limits.retry_first, 1.0)
        with anyio.move_on_after(self._patience):
            while True:
                if following := await self._another(observed.job):
                    return following
                await pace.wait()
        return None

    async def _another(self, job: Job) -> Job | None:
        try:
            jobs = await self._jobs.all(f"{selector(job.instance or '')},{AGENT_LABEL}={job.agent}")
        except (ApiError, Unreachable):
            return None
        theirs = [one for one in jobs if one.of_run == job.of_run and one.uid != job.uid and one.result is None]
        return next((one for one in reversed(theirs) if not one.over), None)


class _Ear(CallbackPlane):
    """The sink as a plane that has some of the log already."""

    def __init__(self, sink: Sink, positions: Mapping[Stream, Position]) -> None:
        super().__init__(on_log=sink.log, on_event=sink.event)
        self._positions |= positions


def _may_begin_afresh(observed: Observed) -> bool:
    return observed.result is not None and observed.result.code is Code.SESSION_UNAVAILABLE


def _interpreted(observed: Observed, listener: Listener) -> Observed:
    """What the pod says, with what the agent's own transcript says: what was reported has it already."""
    if observed.result is None or observed.reported:
        return observed
    listener.transcript.close()
    stderr = listener.stderr.decode("utf-8", "replace")
    resumed = observed.job.session is not None
    return replace(observed, result=interpret(observed.result, listener.transcript, stderr=stderr, resumed=resumed))
