"""A run as the service shows it: as it is held here, or as its Job tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from pydantic.alias_generators import to_camel

from adapter.cluster.jobs import Job
from adapter.run import RunResult
from adapter.takeover import result_on


class State(StrEnum):
    """Where a run stands."""

    ACCEPTED = "accepted"
    """Taken, but nothing of it is in the cluster yet: only who sent it could go on with it."""
    QUEUED = "queued"
    """Its Job is there, suspended: it waits for its turn, or for its agent."""
    PENDING = "pending"
    """Its Job was let run; the agent's container has not started."""
    RUNNING = "running"
    ENDING = "ending"
    """Over, or about to be: what is left is read, and the result reported."""
    FINISHED = "finished"
    DETACHED = "detached"
    """Let go of: its Job goes on, and somebody will take it up."""
    ELSEWHERE = "elsewhere"
    """Another process looks after it."""
    ORPHANED = "orphaned"
    """Nobody looks after it, and nobody can until its request is sent again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One run. `mine` says that this replica looks after it, `unattended` that nobody reads a run that is not pushed.

    Who reads a run is known to its own replica alone. `durable`: another replica could go on with it. `execution` is
    the result as the control plane stores it.
    """

    run_id: str
    state: State
    outcome: str | None = None
    durable: bool = False
    cancel: str | None = None
    waits: str | None = None
    phase: str | None = None
    job: str | None = None
    job_uid: str | None = None
    namespace: str | None = None
    pod: str | None = None
    agent: str | None = None
    agent_key: str | None = None
    task: str | None = None
    session: str | None = None
    supervisor: str | None = None
    mine: bool = False
    unattended: bool = False
    pushed: bool = False
    created_at: str | None = None
    result: Mapping[str, Any] | None = field(default=None, repr=False)
    execution: Mapping[str, Any] | None = field(default=None, repr=False)

    def to_json(self) -> dict[str, Any]:
        """The view as JSON, with the control plane's spelling."""
        return {to_camel(one.name): getattr(self, one.name) for one in fields(self)}


def of_job(job: Job, run_id: str, namespace: str, is_left: Callable[[Job], bool]) -> RunView:
    """A run that is not held here, as its Job tells; `is_left` says whether the Job's replica is dead."""
    result = result_on(job)
    own = result if result and result.run_id == run_id and not result.again else None
    return RunView(
        run_id=run_id,
        state=_state_of(job, own, is_left),
        outcome=own.outcome.value if own else None,
        durable=True,
        cancel=job.cancel,
        waits=job.waits if job.waiting else None,
        job=job.name,
        job_uid=job.uid,
        namespace=namespace,
        agent_key=job.agent,
        task=job.task,
        session=job.session,
        supervisor=job.supervisor,
        created_at=job.created,
        result=own.to_json() if own else None,
    )


def _state_of(job: Job, result: RunResult | None, is_left: Callable[[Job], bool]) -> State:
    if result or (job.over and job.supervisor is None):
        return State.FINISHED
    return State.ORPHANED if job.supervisor is not None and is_left(job) else State.ELSEWHERE
