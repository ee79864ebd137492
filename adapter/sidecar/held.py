"""A run that this replica looks after, or has looked after: where it stands, as its own events say."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import anyio

from adapter.agent.execution import execution_result
from adapter.cluster.pods import AGENT
from adapter.errors import Code
from adapter.plane import Beat, Event
from adapter.run import Outcome, RunResult
from adapter.sidecar.documents import Asked
from adapter.sidecar.journal import Journal
from adapter.sidecar.telling import Telling
from adapter.sidecar.views import RunView, State

ENDING = frozenset({"drain", "diagnose", "report", "clean up"})


@dataclass(slots=True)
class Held:
    """One run. `settled` is set when another replica could go on with it, or when it is over here.

    `pushed`: a control plane is told of it. `decided`: it has a result, which is about to be reported. `clash`: its Job
    is of another request. `recalled`: it has ended in an earlier life. `acked` is when whoever fetches results had this
    one, by the loop's clock.
    """

    asked: Asked
    journal: Journal
    replica: str
    pushed: bool
    created: float
    telling: Telling = field(init=False)
    task: asyncio.Task[None] | None = None
    settled: anyio.Event = field(default_factory=anyio.Event)
    durable: bool = False
    introduced: bool = False
    state: State = State.ACCEPTED
    phase: str = "prepare"
    waits: str | None = None
    job: dict[str, Any] = field(default_factory=dict)
    pod: str | None = None
    result: RunResult | None = None
    ended_at: float | None = None
    acked: float | None = None
    decided: bool = False
    clash: bool = False
    recalled: bool = False

    @property
    def run_id(self) -> str:
        return self.asked.run_id

    @property
    def over(self) -> bool:
        """Whether nothing more is done for it here."""
        return self.state in (State.FINISHED, State.DETACHED, State.ELSEWHERE)

    def execution(self, result: RunResult) -> dict[str, Any] | None:
        """The result as the control plane stores it, of an agent's run."""
        return execution_of(result, self.asked)

    def hear(self, told: Event | Beat | RunResult) -> None:
        """Takes in what the run tells."""
        if isinstance(told, RunResult):
            self.decided = True
        elif isinstance(told, Beat):
            self.phase = told.phase
            self.state = State.ENDING if told.phase in ENDING and not self.over else self.state
        elif told.kind in ("kept", "job") and "uid" in told.data:
            self._placed(told)
        elif told.kind == "admission":
            self.waits = told.message.removeprefix("waiting: ")
        elif told.kind == "container":
            self._moved(told)

    def _placed(self, told: Event) -> None:
        self.durable = True
        self.job |= {key: told.data[key] for key in ("job", "uid", "namespace") if key in told.data}
        self.introduced = self.introduced or told.kind == "job"
        self.state, self.waits = (State.PENDING, None) if told.kind == "job" else (State.QUEUED, self.waits)
        self.settled.set()

    def _moved(self, told: Event) -> None:
        self.pod = told.data.get("pod", self.pod)
        if told.message.startswith(f"{AGENT}: running"):
            self.state = State.RUNNING
        elif told.message.startswith(f"{AGENT}: terminated"):
            self.state = State.ENDING

    def end(self, result: RunResult, *, elsewhere: bool = False) -> None:
        """Nothing more is done for it here; `elsewhere`: because somebody else does."""
        left = result.outcome is Outcome.DETACHED
        self.clash = left and result.code is Code.CONFLICT
        self.state = (State.ELSEWHERE if elsewhere else State.DETACHED) if left else State.FINISHED
        self.result, self.ended_at = None if left else result, anyio.current_time()
        self.settled.set()

    def view(self) -> RunView:
        """The run as the service shows it."""
        result = self.result
        return RunView(
            run_id=self.run_id,
            state=self.state,
            outcome=result.outcome.value if result else None,
            durable=self.durable or result is not None,
            cancel=self.telling.cancelled,
            waits=self.waits,
            phase=None if self.over else self.phase,
            job=self.job.get("job") or (result.job if result else None),
            job_uid=self.job.get("uid") or (result.job_uid if result else None),
            namespace=self.job.get("namespace"),
            pod=self.pod or (result.pod if result else None),
            agent=self.asked.agent,
            agent_key=self.asked.agent_key,
            task=self.asked.task,
            session=self.asked.session,
            supervisor=self.replica,
            mine=not self.over,
            unattended=not self.pushed and not self.over and self.journal.readers == 0,
            pushed=self.pushed,
            created_at=datetime.fromtimestamp(self.created, UTC).isoformat(timespec="seconds"),
            result=result.to_json() if result else None,
            execution=self.execution(result) if result else None,
        )


def execution_of(result: RunResult, asked: Asked | None) -> dict[str, Any] | None:
    """A result as the control plane stores it, if it is an agent's."""
    return execution_result(result, asked.context) if asked and asked.context else None
