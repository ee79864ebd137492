"""From a control plane's run context to an agent's run: everything that is prepared, and the attempts it takes."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

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
from adapter.cluster.jobs import AGENT_LABEL, REQUEST, RUN_ID, digest
from adapter.errors import AdapterError, Code, ConnectError, InvalidRequest
from adapter.limits import Limits
from adapter.listener import Heard, Listener
from adapter.mouth import Heart, own
from adapter.plane import Plane, Position, Stream
from adapter.run import Outcome, RunResult
from adapter.verdict import plain_result
from adapter.work import Work, marks

log = structlog.get_logger(__name__)

STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class Host(Protocol):
    """What this module wants of an `Adapter`."""

    connection: Connection
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
    job: AgentJob
    config: AgentConfig
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
        return replace(told, agent={**(told.agent or {}), "cwd": self.job.cwd})


async def execute(adapter: Host, context: RunContext, plane: Plane) -> RunResult:
    """Runs the agent to its end: once, or, where its session turns out to be unknown and it may, once more afresh."""
    ends, number = await _where_it_stands(plane, adapter.limits.call)
    while True:
        try:
            self_pod = await own_pod_of(adapter)
            attempt = await prepare(context, adapter.instance, self_pod, number)
            adapter = await adapter.at(attempt.config.kubeconfig)
        except (InvalidRequest, ConnectError, ApiError, Unreachable) as error:
            return await _refuse(adapter.limits, plane, context.run_id, error)
        listener = Listener(plane, number, ends, again_at=attempt.again_at)
        result = await _attempt(adapter, attempt, listener)
        if not listener.again:
            return result
        ends, number = listener.ends, number + 1


async def _attempt(adapter: Host, attempt: Attempt, listener: Listener) -> RunResult:
    return await adapter.supervise(
        attempt.work,
        listener,
        namespace=attempt.config.namespace or None,
        interpret=lambda result: attempt.interpret(result, listener),
        schedule=float(attempt.config.pod_schedule_timeout_sec),
        start=float(attempt.config.pod_start_timeout_sec),
    )


async def prepare(context: RunContext, instance: str, self_pod: SelfPod | None, number: int = 1) -> Attempt:
    """The Job of a run's first or later attempt. Reads the files of skills and instructions.

    Raises `InvalidRequest`, which names what is wrong.
    """
    config = AgentConfig.parse(context.config, target=context.execution_target)
    session, note = _session(context, config, persistent=claim_of(config, self_pod) is not None, number=number)
    bundle = await to_thread.run_sync(read_bundle, context, config)
    prompt = assemble(context, config, resuming=session is not None)
    suffix = "" if number == 1 else f"\0{number}"
    labels = marks(instance, context.run_id + suffix, request_hash(context))
    job = job_of(context, config, labels, self_pod=self_pod, prompt=prompt, bundle=bundle, session=session)
    work = Work(
        **basics(context, config, job),
        agent=agent_key(context.agent.company_id, context.agent.id),
        lost=context.retry_of,
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


async def _where_it_stands(plane: Plane, seconds: float) -> tuple[dict[Stream, int], int]:
    """Where the plane's streams end, and the attempt that has written them last: 1 for a new run."""
    ends: dict[Stream, int] = {}
    number = 1
    for stream in STREAMS:
        if position := await _position(plane, stream, seconds):
            ends[stream] = position.offset
            with suppress(ValueError):
                number = max(number, Heard.parse(str(position.cursor)).attempt)
    return ends, number


async def _position(plane: Plane, stream: Stream, seconds: float) -> Position | None:
    with anyio.move_on_after(seconds):
        try:
            return await own(plane.position(stream))
        except Exception as error:  # noqa: BLE001 - a plane may raise anything, and may not end a run
            log.warning("plane.position_failed", error=repr(error))
    return None


async def _refuse(limits: Limits, plane: Plane, run_id: str, error: AdapterError) -> RunResult:
    """The result of a run that never became a Job, offered until it is accepted."""
    code = Code.INVALID_REQUEST if isinstance(error, InvalidRequest) else Code.API_UNREACHABLE
    result = plain_result(run_id, Outcome.FAILED, code, str(error))
    heart = Heart(plane, limits, log)
    backoff = Backoff(limits.retry_first, limits.retry_most)
    with anyio.move_on_after(limits.report):
        while not await heart.report(result):
            await backoff.wait()
    return result
