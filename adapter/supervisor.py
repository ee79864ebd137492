"""THE HEART: one run, one task group.

    launch --+-- watch      until the end is known
             +-- follow     from the pod's start; cancelled by the watch -----+
             +-- deliver    what was followed, to the sink; not cancelled ----+
             +-- keepalive ---------------------------------------------------+-----------+
                                                                drain - diagnose - report +- clean up

The watch's end cancels the follow through its handle, so that no stream can outlive its Job. Every step, the tail too,
is a child of the group; the host's task only waits for the group. (A native `Task.cancel()` goes through a shield in
the body of a group, but not into a shielded child.)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import anyio
import structlog
from anyio import TaskHandle
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from adapter.backoff import Backoff
from adapter.case import Case, End, EndKind
from adapter.cluster.belongings import Belongings
from adapter.cluster.connection import Connection
from adapter.cluster.jobs import Jobs
from adapter.cluster.rights import Rights
from adapter.cluster.watching import Feed
from adapter.errors import Code
from adapter.launch import Launch
from adapter.limits import Limits
from adapter.line import Line
from adapter.mouth import Heart, Herald
from adapter.plane import Beat, Plane
from adapter.refusal import Refused
from adapter.run import LogSummary, Outcome, RunResult
from adapter.stream import LogStream
from adapter.tail import Tail
from adapter.takeover import Elsewhere, Launched
from adapter.verdict import plain_result, result_of
from adapter.watch import Watch
from adapter.work import Work

UNREAD = "log incomplete: the Job was gone before it was known that its log was read to the end"


@dataclass(frozen=True, slots=True)
class Flow:
    """One log of the run, and the two tasks that it is made of."""

    stream: LogStream
    follow: TaskHandle[Any]
    deliver: TaskHandle[Any]


class Supervisor:
    """Supervises one run, from its request to its accepted result. `supervise` is its life and is called once.

    `interpret` is what the work's own transcript adds to a result, before it is reported.
    """

    def __init__(
        self,
        work: Work,
        plane: Plane,
        *,
        connection: Connection,
        feed: Feed,
        rights: Rights,
        line: Line,
        limits: Limits,
        interpret: Callable[[RunResult], RunResult] = lambda result: result,
    ) -> None:
        self._work, self._plane, self._interpret = work, plane, interpret
        self._connection, self._feed, self._limits = connection, feed, limits
        log = structlog.get_logger("adapter").bind(run_id=work.run_id)
        self._jobs = Jobs(connection, feed.namespace, call=limits.call)
        self._belongings = Belongings(connection, feed.namespace, call=limits.call)
        self._herald = Herald(plane, limits, log)
        self._heart = Heart(plane, limits, log)
        self._launch = Launch(work, self._jobs, self._belongings, rights, feed, line, limits, self._herald.tell)
        self._claiming, self._step_scope = anyio.CancelScope(), anyio.CancelScope()
        self._group: TaskGroup | None = None
        self._beating: TaskHandle[None]
        self._listening: TaskHandle[None]
        self._obeying: TaskHandle[None]
        self._watch: Watch | None = None
        self._cancelled: str | None = None
        self._phase = "launch"
        self._result = plain_result(
            work.run_id, Outcome.DETACHED, Code.DETACHED, "the adapter let go of the run; its Job goes on"
        )

    @property
    def namespace(self) -> str:
        """Where its Job is."""
        return self._feed.namespace

    @property
    def job(self) -> str | None:
        """The name of the run's Job, which can be one that another run has made; None before there is one."""
        return self._watch.case.job.name if self._watch else None

    async def supervise(self) -> RunResult:
        """One run, one task group. Cancelling the caller's task lets go of the run, and is passed on."""
        async with anyio.create_task_group() as self._group:
            self._beating = self._start(self._keepalive)
            self._listening = self._start(self._listen)
            self._start(self._herald.run)
            life = self._start(self._live)
            try:
                await life.wait()
            except anyio.get_cancelled_exc_class():
                self.let_go()
                raise
            with anyio.move_on_after(self._limits.call):
                await self._herald.flushed()
            self._group.cancel_scope.cancel()
        return self._result

    def let_go(self) -> None:
        """Detaches: at once, or, in the tail, after the step that is under way, which gets a moment."""
        if self._group:
            now = asyncio.get_running_loop().time()  # a signal's handler is no task: anyio cannot tell the time there
            self._step_scope.deadline = min(self._step_scope.deadline, now + self._limits.let_go)
            self._group.cancel_scope.cancel()

    # -- the life of a run -------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        """From the request to the accepted result."""
        try:
            launched = await self._claim()
            if launched is None:
                why = f"cancelled before it was started: {self._cancelled}"
                await self._report(plain_result(self._work.run_id, Outcome.CANCELLED, Code.CANCELLED, why))
            elif launched.earlier and not self._work.replay:
                await self._report(launched.earlier, told_before=True)
            else:
                await self._supervise_job(launched)
        except Elsewhere as elsewhere:
            self._leave(str(elsewhere), Code.CONFLICT if elsewhere.clash else Code.DETACHED)
        except Refused as refused:
            self._listening.cancel()
            await self._report(await self._refused(refused))

    async def _refused(self, refused: Refused) -> RunResult:
        """What a refusal comes down to. Of a Job that is gone nobody knows whether its log was read to its end."""
        run_id, gone = self._work.run_id, refused.code is Code.JOB_DELETED
        result = plain_result(run_id, Outcome.DELETED if gone else Outcome.FAILED, refused.code, refused.text)
        if gone and self._cancelled is not None:  # whoever was killed while it carried out the cancel
            text = f"cancelled: {self._cancelled}; {refused.text}"
            result = plain_result(run_id, Outcome.CANCELLED, Code.CANCELLED, text)
        if not gone:
            return result
        position = await self._herald.position("stdout")  # whoever had the Job before us may have delivered some
        delivered = position.offset if position else 0
        return replace(result, log=LogSummary(delivered=delivered, complete=False, notes=(UNREAD,)))

    async def _supervise_job(self, launched: Launched) -> None:
        """The Job's time, and then the tail: in this order, each step bounded, while the keepalive is beating."""
        with self._feed.subscribe(launched.job.name) as inbox:
            not_before = -inf if launched.adopted else anyio.current_time()
            case = Case(launched.job, self._limits, self._work.run_id, self._work.supervisor, not_before)
            watch = self._watch = Watch(case, self._feed, inbox, self._jobs, self._limits, self._herald)
            streams = self._streams(watch)
            await self._let_run(launched, watch, streams)
            if launched.adopted or not case.let_run:
                watch.look_soon()  # it may have vanished just before we listened

            flows = [self._flow(stream) for stream in streams]
            self._obeying = self._start(watch.obey)
            self._phase = "watch"
            end = await self._traced("watch", lambda: self._until_end(watch, flows))
            if end.kind is EndKind.UNSEEN:
                for flow in flows:
                    flow.deliver.cancel()
                self._leave(end.text)
                return
            await self._end_run(Tail(end, watch, self._jobs, self._belongings, self._limits, self._herald), end, flows)

    async def _end_run(self, tail: Tail, end: End, flows: Sequence[Flow]) -> None:
        """Drain, then diagnose, then report, then clean up."""
        case, time_is_up = flows[0].stream.case, anyio.current_time() + self._limits.tail
        with self._step("drain", self._limits.tail * 0.8):
            for flow in flows:
                await flow.follow.wait()  # it hands over what it has received: nothing may be read before that
            await tail.stop()
            await tail.find_pod()
            async with anyio.create_task_group() as drains:
                for flow in flows:
                    drains.start_soon(flow.stream.drain, end.kind)
            for flow in flows:
                await flow.deliver.wait()
        for flow in flows:
            flow.deliver.cancel()
            await flow.deliver.wait()
        with self._step("diagnose", time_is_up - anyio.current_time()):
            await tail.diagnose()
        await checkpoint()
        if tail.taken():
            self._leave(f"{case.taken_by} has taken Job {case.job.name} over")
            return
        summaries = [flow.stream.summary() for flow in flows]
        accepted = await self._report(result_of(self._work.run_id, case, end, *summaries))
        await checkpoint()
        with self._step("clean up", self._limits.call * 2):
            if accepted:
                await tail.clean_up(self._result, self._work)

    def _leave(self, why: str, code: Code = Code.DETACHED) -> None:
        """The run is not ours to report: somebody else will, or we, once it is asked for again."""
        self._result = replace(self._result, message=why, code=code)

    async def _until_end(self, watch: Watch, flows: Sequence[Flow]) -> End:
        """Watches; and the end of the Job ends the follow, directly."""
        end = await watch.until_end()
        for flow in flows:
            flow.follow.cancel()
        self._obeying.cancel()
        self._listening.cancel()  # what has ended cannot be cancelled any more
        return end

    # -- before the Job's time ---------------------------------------------------------------------------------------

    async def _claim(self) -> Launched | None:
        """The run's Job, suspended, once we can see; None if the run was cancelled before there was one."""
        with self._claiming:
            await self._launch.can_see()
            return await self._launch.claim()
        return await self._launch.withdraw()

    async def _let_run(self, launched: Launched, watch: Watch, streams: Sequence[LogStream]) -> None:
        """Tells the plane which Job it is, then lets it run. Raises `Refused`; nothing is left behind then."""
        job = launched.job
        await self._introduce(launched)
        for stream in streams if launched.adopted else ():
            await stream.resume()
        if self._cancelled is not None:
            watch.cancel(self._cancelled, told=True)
        try:
            watch.case.job = await self._launch.let_run(job, lambda: self._cancelled is not None)
        except Refused:
            running = await self._launch.withdraw()
            if running is None:
                raise
            watch.case.job = running.job
        watch.case.running(anyio.current_time())

    async def _introduce(self, launched: Launched) -> None:
        """The Job's name and UID, told to the plane before it is let run, and what is to be known of the work."""
        job, verb = launched.job, "adopted" if launched.adopted else "created"
        self._herald.tell("job", f"Job {job.name} {verb}", job=job.name, uid=job.uid, namespace=self._feed.namespace)
        for note in self._work.notes:
            self._herald.tell("note", note)
        if self._work.meta:
            self._herald.confide("meta", f"Job {job.name}", self._work.meta)
        with anyio.move_on_after(self._limits.call):
            await self._herald.flushed()

    def _streams(self, watch: Watch) -> list[LogStream]:
        """The run's logs: an agent's stderr is one of its own, so that it can never land inside a line of stdout."""
        place = self._plane, self._connection, self._feed.namespace, watch, self._limits, self._herald
        return [LogStream(*place), *([LogStream(*place, "stderr")] if self._work.stderr else [])]

    def _flow(self, stream: LogStream) -> Flow:
        beside = "" if stream.name == "stdout" else f" {stream.name}"
        deliver = self._start(self._traced, f"deliver{beside}", stream.deliver)
        return Flow(stream, self._start(self._traced, f"follow{beside}", stream.follow), deliver)

    # -- the tail ----------------------------------------------------------------------------------------------------

    async def _report(self, result: RunResult, *, told_before: bool = False) -> bool:
        """Offers the result until it is accepted, beating all the while; whether it was."""
        self._phase = "report"
        result = result if told_before else self._interpret(result)
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        give_up = anyio.current_time() + self._limits.report
        while anyio.current_time() < give_up:
            with self._step("report", self._limits.call + self._heart.patience):
                with anyio.move_on_after(self._limits.call):
                    await self._herald.flushed()
                if await self._heart.report(result):
                    self._beating.cancel()
                    self._result = result
                    return True
            await backoff.wait()
        self._result = replace(result, warnings=(*result.warnings, "the plane did not accept this result"))
        return False

    # -- beside it ---------------------------------------------------------------------------------------------------

    async def _keepalive(self) -> None:
        """Beats from acceptance until the result is accepted."""
        await self._traced("keepalive", lambda: self._heart.run(self._beat))

    def _beat(self) -> Beat | None:
        """What there is to say; None when the watch is stuck: then silence is the truth."""
        watch, now = self._watch, anyio.current_time()
        if watch and self._phase == "watch" and now - watch.attempted_at > self._limits.stuck:
            return None
        ago = now - watch.observed_at if watch else None
        return Beat(run_id=self._work.run_id, phase=self._phase, observed_ago=ago)

    async def _listen(self) -> None:
        """Waits for the run's cancel, and passes it on to whoever has the run at that moment."""
        self._cancelled = await self._herald.cancellation()
        if self._watch:
            self._watch.cancel(self._cancelled)
        else:
            self._herald.tell("cancel", f"cancelling: {self._cancelled}", why=self._cancelled)
            self._claiming.cancel()

    def _start(self, task: Callable[..., Any], *args: Any) -> TaskHandle[Any]:
        assert self._group is not None  # noqa: S101 - set by supervise, which starts everything
        return self._group.start_soon(task, *args)

    @contextmanager
    def _step(self, phase: str, seconds: float) -> Iterator[None]:
        """One step of the tail: bounded, and not cut off when the adapter lets go of the run meanwhile."""
        self._phase = phase
        with anyio.move_on_after(seconds, shield=True) as self._step_scope, self._span(phase):
            yield

    async def _traced(self, name: str, task: Callable[[], Awaitable[Any]]) -> Any:
        with self._span(name):
            return await task()

    @contextmanager
    def _span(self, task: str) -> Iterator[None]:
        """Tells when a task of the run began and ended."""
        self._herald.trace(task, "began")
        try:
            yield
        finally:
            self._herald.trace(task, "ended")
