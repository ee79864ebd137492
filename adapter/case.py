"""What was seen of one run, and whether its end has come. Facts and clocks only: no I/O, nothing is awaited.

Every clock is our own, monotonic one: nothing is decided by comparing two machines' times.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from math import inf

from adapter.cluster.jobs import Job, older
from adapter.cluster.pods import AGENT, Container, Pod
from adapter.errors import Code
from adapter.limits import Limits

CANCEL_ENDS = 4.0
"""Beyond its grace period, how many seconds a cancelled run may take before its result is given all the same.

Five are promised: one is for a last look at its log.
"""

_IMAGE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable", "ImageInspectError"}
    | {"SignatureValidationFailed"}
)
_CONFIG = frozenset(
    {
        "CreateContainerConfigError",
        "CreateContainerError",
        "PreCreateHookError",
        "PreStartHookError",
    }
)


_START = frozenset({"RunContainerError", "CrashLoopBackOff"})
"""What a container that is started again and again alternates between: one trouble, one clock."""


class EndKind(Enum):
    """In which way a run's end was known."""

    OVER = "over"
    """The agent's container terminated, the Job is Complete or Failed, or the Job is gone."""
    VERDICT = "verdict"
    """The Job lives, but will not get anywhere: it must be stopped."""
    NEVER = "never"
    """An end was announced and did not come. The Job stays as it is."""
    UNSEEN = "unseen"
    """The cluster could not be observed for longer than the run allows, or the Job is another run's now: let go."""


@dataclass(frozen=True, slots=True)
class End:
    """That a run's end has come, and, where it is a verdict, why."""

    kind: EndKind
    code: Code | None = None
    text: str = ""


@dataclass(slots=True)
class Trouble:
    """Something that fails the run unless it goes away within the grace."""

    code: Code
    text: str
    since: float


@dataclass(slots=True)
class Case:
    """All that is known of one run. Times are the event loop's clock; `not_before` no container of it can have run."""

    job: Job
    limits: Limits
    run_id: str = ""
    supervisor: str | None = None
    not_before: float = -inf
    let_run_at: float = 0.0
    pod: Pod | None = None
    job_gone: bool = False
    pod_gone: bool = False
    ever_ran: bool = False
    by_itself: bool | None = None
    let_run: bool = False
    cancel: str | None = None
    cancel_at: float = 0.0
    suspended: bool = False
    rejected: Trouble | None = None
    node_at: float | None = None
    ending_at: float | None = None
    disruption: tuple[str, str] | None = None
    failing: str | None = None
    _trouble: Trouble | None = field(default=None)

    def see_job(self, job: Job, now: float) -> None:
        """The Job, as it was last seen."""
        if job.uid != self.job.uid or older(job.version, self.job.version):
            return
        self.job = job
        self.failing = self.failing or job.failing or job.failed
        self.suspended = self.suspended or (self.let_run and job.suspended and not job.over)
        if job.cancel is not None:
            self.cancelled(job.cancel, now)
        if job.deleting or job.failing or self.suspended:
            self._ending(now)

    def see_pod(self, pod: Pod, now: float) -> None:
        """A pod of the Job, as it was last seen."""
        if pod.owner not in (None, self.job.uid):
            return  # the pod of an earlier Job of the same name, still in its grace period
        if self.suspended and self.pod and pod.uid != self.pod.uid:
            return  # somebody has let the Job run again: that is no second try of the run, and goes with the Job
        if self.pod and pod.uid == self.pod.uid and older(pod.version, self.pod.version):
            return
        self.pod, self.pod_gone, self.rejected = pod, False, None
        if pod.node and self.node_at is None:
            self.node_at = now
        if pod.agent and pod.agent.state == "running":
            self.ever_ran = True
        if self.by_itself is None and pod.quiet:
            self.by_itself = not pod.deleting  # what is deleted after its end, by a TTL or by hand, has ended before
        if pod.disruption:
            self.disruption = (pod.disruption, pod.disruption_message or "")
        if pod.deleting:
            self._ending(now)
        self._note_trouble(now)

    def running(self, now: float) -> None:
        """The Job was let run: its budgets begin."""
        self.let_run, self.let_run_at = not self.job.waiting, now
        self.see_job(self.job, now)  # an adopted one may be cancelled, ending or failed already

    def cancelled(self, why: str, now: float) -> None:
        """The run is to be cancelled; only the first reason counts."""
        if self.cancel is None:
            self.cancel, self.cancel_at = why, now

    def _ending(self, now: float) -> None:
        self.ending_at = now if self.ending_at is None else self.ending_at

    @property
    def taken(self) -> bool:
        """Whether another run, or another replica, has taken the Job over: nothing of it is ours to report or end."""
        return self.taken_by is not None

    @property
    def taken_by(self) -> str | None:
        """Who has taken the Job over, in words."""
        if self.job.adopter not in (None, self.run_id):
            return f"run {self.job.adopter}"
        theirs = self.supervisor is not None and self.job.supervisor not in (None, self.supervisor)
        return f"replica {self.job.supervisor}" if theirs else None

    @property
    def started(self) -> bool:
        """Whether the agent's container has started, so that there is a log to follow."""
        return self.began(AGENT)

    def began(self, name: str) -> bool:
        """Whether a container has started."""
        container = self.pod.container(name) if self.pod else None
        return container is not None and container.state in ("running", "terminated")

    @property
    def quiet(self) -> bool:
        """Whether nothing more can come into the agent's log."""
        return self.ended(AGENT)

    def ended(self, name: str) -> bool:
        """Whether nothing more can come into a container's log."""
        return self.pod is None or self.pod_gone or self.pod.ended(name)

    @property
    def grace(self) -> int:
        """How long the pod may go on after it was told to end, in seconds."""
        return self.pod.grace if self.pod else self.job.grace

    @property
    def trouble(self) -> Trouble | None:
        """What keeps the run from starting, as it was seen last; None where nothing does."""
        return self._trouble or self.rejected

    def end(self, now: float) -> End | None:
        """The end, if it has come."""
        if self.taken:
            return End(EndKind.UNSEEN, text=f"{self.taken_by} has taken Job {self.job.name} over")
        no_pod = self.pod is None or self.pod_gone
        if (
            self.job_gone
            or self.job.over
            or (self.suspended and no_pod)
            or (self.pod and not no_pod and self.pod.quiet)
        ):
            return End(EndKind.OVER)
        if self.ending_at is not None:
            return End(EndKind.NEVER) if now >= self._last_moment() else None
        return next((end for at, end in self._verdicts() if now >= at), None)

    def wake_at(self) -> float:
        """When `end` may say something else although nothing was seen."""
        if self.ending_at is not None:
            return self._last_moment()
        return min((at for at, _ in self._verdicts()), default=inf)

    def _last_moment(self) -> float:
        if self.cancel is not None:
            return max(self.cancel_at, self.ending_at or 0.0) + self.grace + CANCEL_ENDS
        return (self.ending_at or 0.0) + self.grace + self.limits.ending

    def _verdicts(self) -> Iterator[tuple[float, End]]:
        """What ends a run that has not started, and when."""
        if self.started or not self.let_run:
            return
        for trouble in (self._trouble, self.rejected):
            if trouble:
                wait = 0.0 if trouble.code is Code.IMAGE_INVALID else self.limits.grace
                yield trouble.since + wait, End(EndKind.VERDICT, trouble.code, trouble.text)
        if self.node_at is None:
            where = self.pod.name if self.pod else f"Job {self.job.name}, which has no pod"
            text = f"{where}: no node within {self.limits.schedule:g} s"
            yield self.let_run_at + self.limits.schedule, End(EndKind.VERDICT, Code.SCHEDULE_TIMEOUT, text)
        else:
            text = f"{self.pod.name if self.pod else 'the pod'}: not started within {self.limits.start:g} s"
            yield self.node_at + self.limits.start, End(EndKind.VERDICT, Code.START_TIMEOUT, text)

    def _note_trouble(self, now: float) -> None:
        found = _trouble_of(self.pod) if self.pod else None
        if found is None:
            self._trouble = None
        elif self._trouble is None or self._trouble.code is not found[0]:
            self._trouble = Trouble(*found, since=now)
        else:
            self._trouble.text = found[1]  # ErrImagePull and ImagePullBackOff alternate: one trouble, one clock


def _trouble_of(pod: Pod) -> tuple[Code, str] | None:
    if pod.unschedulable and not pod.node:
        return Code.UNSCHEDULABLE, f"{pod.name}: {pod.unschedulable}"
    for container in pod.containers:
        code = _waiting_trouble(container)
        if code:
            detail = container.message or "no message"
            return code, f"{container.name}: {container.reason} ({detail})"
    return None


def _waiting_trouble(container: Container) -> Code | None:
    if container.role == "sidecar" and container.terminated:
        return Code.START_ERROR  # between two starts, as long as the agent has not begun
    if container.state != "waiting":
        return None
    if container.reason == "InvalidImageName":
        return Code.IMAGE_INVALID
    if container.reason in _IMAGE:
        return Code.IMAGE_PULL
    if container.reason in _START:
        return Code.START_ERROR
    return Code.CONFIG_ERROR if container.reason in _CONFIG else None


def rejection_of(warnings: list[tuple[str, str]]) -> tuple[Code, str] | None:
    """Why a Job has no pod, from its Warning events; the newest FailedCreate counts."""
    text = next((message for reason, message in reversed(warnings) if reason == "FailedCreate"), None)
    if text is None:
        return None
    for mark, code in (
        ("violates PodSecurity", Code.POD_SECURITY),
        ("exceeded quota", Code.POD_QUOTA),
        ("serviceaccount", Code.SERVICE_ACCOUNT),
    ):
        if mark in text:
            return code, text
    return Code.POD_REJECTED, text
