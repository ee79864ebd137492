"""Many runs: the adapter that a host opens once, and the runs it supervises through it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import structlog

from adapter.cluster.connection import Connection
from adapter.cluster.credentials import Source
from adapter.cluster.jobs import CANCEL, Job, Jobs, selector
from adapter.errors import Code
from adapter.limits import Limits
from adapter.line import Line
from adapter.places import Places, without_locals
from adapter.plane import Plane
from adapter.plane.callbacks import CallbackPlane
from adapter.reception import Reception
from adapter.run import Outcome, RunRequest, RunResult
from adapter.supervisor import Supervisor
from adapter.verdict import plain_result
from adapter.work import Kept, Work, instance_name, plain_work

if TYPE_CHECKING:
    from adapter.agent.context import RunContext

log = structlog.get_logger(__name__)


class Adapter:
    """Runs requests as Jobs of one namespace. Made by `connect`; any number of runs at once.

    Its watch lives in tasks of its own, so that it can be opened in one task and closed in another.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        instance: str,
        limits: Limits,
        *,
        replica: str | None = None,
        line: Line | None = None,
    ) -> None:
        self.limits, self.replica, self.line = limits, replica, line or Line()
        self._kept: dict[str, Kept] = {}
        self.connection, self.namespace, self.instance = connection, namespace, instance
        self.places = Places(connection, instance, limits)
        self._elsewhere: dict[str, Adapter] = {}
        self._runs: dict[str, Supervisor] = {}
        self._receptions: dict[str, Reception] = {}
        self._closing = False
        self._over = anyio.Event()

    @property
    def closing(self) -> float:
        """How long `aclose` may take, in seconds: a step of a tail that is under way gets its moment."""
        return self.limits.let_go + 2 * self.limits.call

    @classmethod
    @asynccontextmanager
    async def connect(
        cls,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        instance: str = "default",
        limits: Limits | None = None,
    ) -> AsyncIterator[Adapter]:
        """Opens an adapter; leaving the context lets go of its runs and closes it.

        Without a `kubeconfig` it takes what kubectl would take, or the pod's service account. `instance` names whose
        Jobs these are: only adapters of the same instance adopt them. Raises `ConnectError` with the cause.
        """
        adapter = await cls.open(
            kubeconfig=kubeconfig, context=context, namespace=namespace, instance=instance, limits=limits
        )
        try:
            yield adapter
        finally:
            with anyio.move_on_after(adapter.closing, shield=True):
                await adapter.aclose()

    @classmethod
    async def open(
        cls,
        *,
        kubeconfig: str | None = None,
        context: str | None = None,
        namespace: str | None = None,
        instance: str = "default",
        limits: Limits | None = None,
        replica: str | None = None,
        line: Line | None = None,
        ask: bool = True,
    ) -> Adapter:
        """As `connect`, for whoever calls `aclose` by hand.

        `replica` is the name of this process among others of the same instance: its Jobs bear it, and what another one
        looks after is left to it. `line` bounds how many runs are at work at once. Without `ask` the
        API server need not answer yet.
        """
        limits = limits or Limits()
        connection = await Connection.open(Source(kubeconfig, context), deadline=limits.call, ask=ask)
        place = namespace or connection.namespace, instance_name(instance)
        return cls(connection, *place, limits, replica=replica, line=line)

    async def run(self, request: RunRequest, plane: Plane | None = None, *, kept: Kept | None = None) -> RunResult:
        """Runs a request to its end and returns its result. Never raises for what a run can meet.

        Cancelling the calling task lets go of the run: its Job goes on, and the same request, later or elsewhere,
        comes back to it. To end the Job, cancel the run: by its plane, or with `cancel`. `kept` is what a replica of
        the service knows of it.
        """
        with self._keeping(request.run_id, kept):
            return await self.supervise(plain_work(request, self.instance), plane or CallbackPlane())

    async def execute(self, context: RunContext, plane: Plane | None = None, *, kept: Kept | None = None) -> RunResult:
        """Runs an agent as a control plane's run context says, to its end. Never raises for what a run can meet.

        As `run`, with the agent's transcript in the result's `agent`; `adapter.agent.execution.execution_result` makes
        of it what a control plane stores.
        """
        from adapter.agents import execute  # an agent's configuration is a heavy import: only for who runs agents

        plane, run_id = plane or CallbackPlane(), context.run_id
        if run_id in self._receptions:
            return _twice(run_id)
        reception = self._receptions[run_id] = Reception(run_id, plane, self.limits)
        if self._closing:
            reception.let_go()
        try:
            with self._keeping(run_id, kept):
                return await execute(self, context, plane, reception, patient=kept is not None)
        finally:
            del self._receptions[run_id]
            self._ended()

    @contextmanager
    def _keeping(self, run_id: str, kept: Kept | None) -> Iterator[None]:
        if kept is not None:
            self._kept[run_id] = kept
        try:
            yield
        finally:
            self._kept.pop(run_id, None)

    async def supervise(
        self,
        work: Work,
        plane: Plane,
        *,
        namespace: str | None = None,
        interpret: Callable[[RunResult], RunResult] = lambda result: result,
        **limits: Any,
    ) -> RunResult:
        """Supervises one Job to be, in this or another namespace; `limits` are other ones than the adapter's own."""
        if work.run_id in self._runs:
            return _twice(work.run_id)
        if self._closing or self._was_let_go(work.run_id):
            text = "the adapter let go of the run before it was launched"
            return plain_result(work.run_id, Outcome.DETACHED, Code.DETACHED, text)
        place = self.places.at(namespace or self.namespace)
        supervisor = Supervisor(
            work.under(self.replica, self._kept.get(work.run_id)) if self.replica else work,
            plane,
            connection=self.connection,
            feed=place.feed,
            rights=place.rights,
            line=self.line,
            limits=replace(self.limits, **limits),
            interpret=interpret,
        )
        self._runs[work.run_id] = supervisor
        try:
            return await _uncancelled(supervisor, work.run_id)
        finally:
            del self._runs[work.run_id]
            self.line.leave(work.run_id)
            self._ended()

    def _was_let_go(self, run_id: str) -> bool:
        return run_id in self._receptions and self._receptions[run_id].gone

    def _ended(self) -> None:
        self._over.set()
        self._over = anyio.Event()

    async def cancel(self, run_id: str, why: str = "", *, namespace: str | None = None) -> bool:
        """Cancels a run of this instance, whoever supervises it: written on its Job. False if there is no such Job.

        `namespace` is where its Job is, if it is not ours and the run is not supervised here. Raises `AdapterError`
        when the API server did not take it.
        """
        for other in self._elsewhere.values():
            if run_id in other._runs:
                return await other.cancel(run_id, why, namespace=namespace)
        jobs = self._jobs_of(run_id, namespace)
        job = await self._job_of(run_id, jobs)
        if job is None:
            return False
        await jobs.annotate(job, CANCEL, why)
        return True

    async def job_of(self, run_id: str, *, namespace: str | None = None) -> Job | None:
        """The Job that a run of this instance has now: its own, that of its second try, or one it has taken over.

        Raises `AdapterError` when the API server does not answer.
        """
        return await self._job_of(run_id, self._jobs_of(run_id, namespace))

    async def _job_of(self, run_id: str, jobs: Jobs) -> Job | None:
        supervisor = self._runs.get(run_id)
        if supervisor and supervisor.job and (found := await jobs.get(supervisor.job)):
            return found
        theirs = [job for job in await jobs.all(selector(self.instance)) if job.of_run == run_id]
        live = [job for job in theirs if not job.over and job.result is None]
        return next(reversed(live or theirs), None)

    def _jobs_of(self, run_id: str, namespace: str | None) -> Jobs:
        supervisor = self._runs.get(run_id)
        place = supervisor.namespace if supervisor else namespace or self.namespace
        return Jobs(self.connection, place, call=self.limits.call)

    async def at(self, kubeconfig: str) -> Adapter:
        """The adapter for an agent whose configuration names a cluster of its own; opened once, closed with this one.

        Raises `ConnectError`.
        """
        if kubeconfig and kubeconfig not in self._elsewhere:
            other = await Adapter.open(
                kubeconfig=kubeconfig,
                instance=self.instance,
                limits=self.limits,
                replica=self.replica,
                line=self.line,
            )
            other._kept = self._kept  # what is asked of us is carried out there
            if self._elsewhere.setdefault(kubeconfig, other) is not other:  # somebody else was quicker
                await other.aclose()
        return self._elsewhere[kubeconfig] if kubeconfig else self

    def let_go(self, run_id: str) -> bool:
        """Detaches one run, if there is such a one: its `run` returns with the outcome `detached`, its Job goes on."""
        supervisor, reception = self._runs.get(run_id), self._receptions.get(run_id)
        for one in (reception, supervisor):
            if one:
                one.let_go()
        elsewhere = [other.let_go(run_id) for other in self._elsewhere.values()]
        return supervisor is not None or reception is not None or any(elsewhere)

    async def aclose(self) -> None:
        """Lets go of every run, then closes the connection. May be called from any task."""
        self._closing = True
        while self._runs or self._receptions:
            for run_id in {*self._receptions, *self._runs}:
                self.let_go(run_id)
            await self._over.wait()
        for other in list(self._elsewhere.values()):
            await other.aclose()
        await self.places.aclose()
        await self.connection.close()


async def _uncancelled(supervisor: Supervisor, run_id: str) -> RunResult:
    """The run's result; the host's cancellation passed on even where a scope's own one swallowed it (anyio #1214)."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        result = await supervisor.supervise()
    except* Exception as group:  # noqa: BLE001 - a fault of ours must not raise out of a run; it is logged and told
        error = _first(group)
        log.error("run.fault", run_id=run_id, **without_locals(error))
        result = plain_result(run_id, Outcome.UNKNOWN, Code.INTERNAL, f"{type(error).__name__}: {error}")
    if task and task.cancelling() > before:
        raise asyncio.CancelledError
    return result


def _twice(run_id: str) -> RunResult:
    return plain_result(run_id, Outcome.FAILED, Code.CONFLICT, f"run {run_id!r} is supervised here already")


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
