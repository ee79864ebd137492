"""From a control plane's run context to an agent's run: everything that is prepared, and the attempts it takes."""

from __future__ import annotations

import math
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, Self, TypeVar

import anyio
import structlog
from anyio import to_thread

from adapter.agent.bundle import Bundle, read_bundle
from adapter.agent.claude import AgentJob, claude_job
from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.environment import API_URL
from adapter.agent.findings import interpret
from adapter.agent.labels import label_value
from adapter.agent.prompt import assemble
from adapter.agent.secrets import secrets_of
from adapter.agent.selfpod import SelfPod
from adapter.agent.session import session_for
from adapter.agent.skills import ADAPTER_TYPE
from adapter.agent.workspace import claim_of
from adapter.backoff import Backoff
from adapter.cluster.belongings import agent_key
from adapter.cluster.connection import ApiError, Connection, Unreachable
from adapter.cluster.introspection import own_pod
from adapter.cluster.jobs import AGENT_LABEL, REQUEST, RUN_ID, Jobs, digest, job_name
from adapter.errors import Code, ConnectError, InvalidRequest
from adapter.limits import Limits
from adapter.listener import Heard, Listener
from adapter.mouth import own, place
from adapter.plane import Plane, Position, Stream
from adapter.reception import LetGo, Reception
from adapter.run import AGAIN, Outcome, RunResult
from adapter.verdict import plain_result
from adapter.work import Work, marks

T = TypeVar("T")
log = structlog.get_logger(__name__)

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class Host(Protocol):
    """What this module wants of an `Adapter`."""

    connection: Connection
    namespace: str
    instance: str
    limits: Limits

    async def at(self, kubeconfig: str) -> Self: ...
    async def supervise(
        self,
        work: Work,
        plane: Plane,
        *,
        namespace: str | None = None,
        interpret: Callable[[RunResult], RunResult] = ...,
        **limits: Any,
    ) -> RunResult: ...


@dataclass(frozen=True, slots=True)
class Attempt:
    """One Job of a run: what it is made of, and what is needed to make sense of its end."""

    work: Work
    job: AgentJob = field(repr=False)
    config: AgentConfig = field(repr=False)
    session: str | None
    secrets: list[str] = field(repr=False)

    @property
    def again_at(self) -> Code | None:
        """The code that is no end: the run is tried once more, with a fresh session."""
        return Code.SESSION_UNAVAILABLE if self.session and self.config.retry_fresh_session else None

    def interpret(self, result: RunResult, listener: Listener) -> RunResult:
        """The result, with what the agent's transcript says."""
        listener.transcript.close()
        told = interpret(
            result,
            listener.transcript,
            stderr=listener.stderr.decode("utf-8", "replace"),
            resumed=self.session is not None,
            resumable=self.job.persistent,
            secrets=self.secrets,
        )
        # The directory as it was given: a session is found by it, and the agent may see it through a link.
        agent = {**(told.agent or {}), "cwd": self.job.cwd}
        return replace(told, agent=agent | ({AGAIN: True} if told.code is self.again_at else {}))


async def execute(
    host: Host, context: RunContext, plane: Plane, reception: Reception, *, patient: bool = False
) -> RunResult:
    """Runs the agent to its end: once, or, where its session turns out to be unknown and it may, once more afresh.

    `patient`: it was accepted for good, so that an API server that is away is waited for, however long.
    """
    limits = replace(host.limits, launch=math.inf) if patient else host.limits
    try:
        return await _attempts(host, context, plane, reception, limits)
    except LetGo:
        text = "the adapter let go of the run; its Job, if there is one, goes on"
        return plain_result(context.run_id, Outcome.DETACHED, Code.DETACHED, text)
    except (InvalidRequest, ConnectError, ApiError, Unreachable) as error:
        code = Code.INVALID_REQUEST if isinstance(error, InvalidRequest) else Code.API_UNREACHABLE
        refused = plain_result(context.run_id, Outcome.FAILED, code, str(error))
    try:
        await reception.report(refused)
    except LetGo:
        return replace(refused, warnings=("the plane did not accept this result",))
    return refused


async def _attempts(host: Host, context: RunContext, plane: Plane, reception: Reception, limits: Limits) -> RunResult:
    config = AgentConfig.parse(context.config, target=context.execution_target)
    adapter = await reception.beating(lambda: _patiently(lambda: host.at(config.kubeconfig), limits))
    ends, number = await reception.beating(lambda: _where_it_stands(plane, limits))
    if number == 1 and config.retry_fresh_session:
        number = await reception.beating(
            lambda: _patiently(lambda: _attempt_there_is(adapter, config, context), limits)
        )
    while True:
        self_pod = await reception.beating(lambda: _patiently(lambda: own_pod_of(adapter), limits))
        place = config.namespace or adapter.namespace
        attempt = await reception.beating(
            lambda: prepare(context, adapter.instance, self_pod, namespace=place, number=number)  # noqa: B023 - awaited here
        )
        listener = Listener(plane, number, ends)
        result = await _attempt(adapter, attempt, listener)
        if not listener.again:
            return result
        ends, number = listener.ends, number + 1


async def _attempt_there_is(adapter: Host, config: AgentConfig, context: RunContext) -> int:
    """The attempt to come back to: the second, where its Job is there although no plane knows of it."""
    jobs = Jobs(adapter.connection, config.namespace or adapter.namespace, call=adapter.limits.call)
    second = await jobs.get(job_name(adapter.instance, _attempt_id(context, 2)))
    return 2 if second else 1


async def _patiently(call: Callable[[], Awaitable[T]], limits: Limits) -> T:
    """Repeats what has failed for a moment's trouble, for as long as a launch may take: the run's Job may be there."""
    backoff = Backoff(limits.retry_first, limits.retry_most)
    give_up = anyio.current_time() + limits.launch
    while True:
        try:
            return await call()
        except (ConnectError, ApiError, Unreachable) as error:
            if anyio.current_time() >= give_up or not _passing(error):
                raise
        await backoff.wait()


def _passing(error: BaseException | None) -> bool:
    if isinstance(error, ConnectError):
        return _passing(error.__cause__)
    return isinstance(error, Unreachable) or (isinstance(error, ApiError) and error.transient)


async def _attempt(adapter: Host, attempt: Attempt, listener: Listener) -> RunResult:
    return await adapter.supervise(
        attempt.work,
        listener,
        namespace=attempt.config.namespace or None,
        interpret=lambda result: attempt.interpret(result, listener),
        schedule=float(attempt.config.pod_schedule_timeout_sec),
        start=float(attempt.config.pod_start_timeout_sec),
    )


async def prepare(
    context: RunContext, instance: str, self_pod: SelfPod | None, *, namespace: str = "", number: int = 1
) -> Attempt:
    """The Job of a run's first or later attempt. Reads the files of skills and instructions.

    `namespace` is where it is to be, if the configuration does not say it: what our own pod has by name it has there
    alone. Raises `InvalidRequest`, which names what is wrong.
    """
    config = AgentConfig.parse(context.config, target=context.execution_target)
    config = config.model_copy(update={"namespace": config.namespace or namespace})
    session, note = _session(context, config, persistent=claim_of(config, self_pod) is not None, number=number)
    bundle = await to_thread.run_sync(read_bundle, context, config, abandon_on_cancel=True)
    prompt = assemble(context, config, resuming=session is not None)
    labels = marks(instance, _attempt_id(context, number), request_hash(context))
    job = job_of(context, config, labels, self_pod=self_pod, prompt=prompt, bundle=bundle, session=session)
    work = Work(
        **basics(context, config, job),
        agent=agent_key(context.agent.company_id, context.agent.id),
        lost=context.retry_of if number == 1 else None,
        reattach=config.reattach_orphaned_jobs,
        task=label_value(context.task_id),
        session=label_value(context.session_id),
        meta=_meta(job, bundle, config, context),
        notes=(*note, bundle.note, *job.notes, *_unknown(context, config)),
    )
    return Attempt(work, job, config, session, secrets_of(context, config, job.secret))


def job_of(
    context: RunContext, config: AgentConfig, ours: tuple[str, dict[str, str], dict[str, str]], **parts: Any
) -> AgentJob:
    """The Job with our own marks on it."""
    name, labels, annotations = ours
    labels |= {AGENT_LABEL: agent_key(context.agent.company_id, context.agent.id)}
    annotations |= {RUN_ID: context.run_id}
    api_url = os.environ.get(API_URL, "")
    return claude_job(context, config, name=name, labels=labels, annotations=annotations, api_url=api_url, **parts)


def basics(context: RunContext, config: AgentConfig, job: AgentJob) -> dict[str, Any]:
    """What a Work has of any agent's Job."""
    return {
        "run_id": context.run_id,
        "manifest": job.manifest,
        "request": job.manifest["metadata"]["annotations"][REQUEST],
        "retain": config.ttl_seconds_after_finished if config.retain_jobs else 0,
        "secret": job.secret,
        "stderr": True,
    }


def _attempt_id(context: RunContext, number: int) -> str:
    return context.run_id if number == 1 else f"{context.run_id}\0{number}"


def request_hash(context: RunContext) -> str:
    """What makes two contexts under one run id the same request: all but the token, which is issued anew each time."""
    return digest(context.model_dump(mode="json", by_alias=True, exclude={"auth_token"}))


def _session(
    context: RunContext, config: AgentConfig, *, persistent: bool, number: int
) -> tuple[str | None, tuple[str, ...]]:
    """The session to resume, and what is to be said of it."""
    if number > 1:
        return None, ("the agent's session is unknown to it: trying once more with a fresh one",)
    session, note = session_for(context, config, persistent=persistent)
    return session, (note,) if note else ()


def _unknown(context: RunContext, config: AgentConfig) -> tuple[str, ...]:
    names = (*(f"context.{name}" for name in context.unknown()), *(f"config.{name}" for name in config.unknown))
    return tuple(f"{name}: not known here, so it has no effect" for name in names)


def _meta(job: AgentJob, bundle: Bundle, config: AgentConfig, context: RunContext) -> dict[str, Any]:
    """What a control plane wants to know of an invocation, in its own shape (`AdapterInvocationMeta`)."""
    meta = job.manifest["metadata"]
    image = next(c["image"] for c in job.manifest["spec"]["template"]["spec"]["containers"])
    return {
        "adapterType": ADAPTER_TYPE,
        "command": f"kubectl job/{meta['name']}",
        "cwd": job.cwd,
        "commandArgs": list(job.arguments),
        "commandNotes": [
            f"Image: {image}",
            *([f"Namespace: {config.namespace}"] if config.namespace else []),
            f"Timeout: {config.timeout_sec}s" if config.timeout_sec else "Timeout: none",
            bundle.note,
            *job.notes,
        ],
        "prompt": job.prompt.text,
        "promptMetrics": dict(job.prompt.metrics),
        "context": context.context,
    }


async def own_pod_of(adapter: Host) -> SelfPod | None:
    """The pod we are in, of which an agent inherits. Raises `ApiError` or `Unreachable` where it cannot be read now."""
    found = await own_pod(adapter.connection, call=adapter.limits.call)
    return SelfPod.of(found.raw) if found.raw is not None else None


async def _where_it_stands(plane: Plane, limits: Limits) -> tuple[dict[Stream, int], int]:
    """Where the plane's streams end, and the attempt that has written them last: 1 for a new run."""
    ends: dict[Stream, int] = {}
    number = 1
    for stream in STREAMS:
        if position := await _unless_cancelled(plane, partial(_position, plane, stream, limits)):
            ends[stream] = position.offset
            with suppress(ValueError):
                number = max(number, Heard.parse(str(position.cursor)).attempt)
    return ends, number


async def _unless_cancelled(plane: Plane, ask: Callable[[], Awaitable[T | None]]) -> T | None:
    """An answer that is waited for as long as the run is wanted: a cancel goes to its supervisor without it."""
    answer: list[T | None] = []

    async def hear() -> None:
        with suppress(Exception):  # a plane that cannot be asked does not cancel
            await own(plane.cancellation())
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(hear)
        answer.append(await ask())
        group.cancel_scope.cancel()
    return answer[0] if answer else None


async def _position(plane: Plane, stream: Stream, limits: Limits) -> Position | None:
    """Asks again when it fails: a log that is given from the wrong place is refused for good."""
    backoff = Backoff(limits.retry_first, limits.retry_most)
    with anyio.move_on_after(limits.call * 3):
        while True:
            try:
                return place(await own(plane.position(stream)))
            except Exception as error:  # noqa: BLE001 - a plane may raise anything, and may not end a run
                log.warning("plane.position_failed", error=repr(error))
            await backoff.wait()
    return None
