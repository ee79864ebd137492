"""From what was seen of a run to its one, truthful result. Pure.

Authority, in this order: an observed cancel, deadline, eviction, preemption or deletion says why it ended; the
container's terminated state says how; the Job's condition says that it is over. Output never decides.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapter.case import Case, End, EndKind
from adapter.cluster.pods import STDERR, Container
from adapter.errors import TABLE, Code
from adapter.run import LogSummary, Outcome, RunResult
from adapter.words import describe_pod_terminated_error, signal_name, signal_of, state_of

_DISRUPTIONS = {
    "EvictionByEvictionAPI": Code.EVICTED,
    "TerminationByKubelet": Code.EVICTED,
    "PreemptionByScheduler": Code.PREEMPTED,
    "DeletionByTaintManager": Code.NODE_LOST,
    "DeletionByPodGC": Code.NODE_LOST,
}
_POD_REASONS = {
    "Evicted": Code.EVICTED,
    "Preempting": Code.PREEMPTED,
    "Preempted": Code.PREEMPTED,
    "NodeLost": Code.NODE_LOST,
    "NodeShutdown": Code.NODE_LOST,
    "Shutdown": Code.NODE_LOST,
    "Terminated": Code.NODE_LOST,
}
_EXIT_LOST = (255, "Unknown")
"""What containerd says of a container that ended while it was away. One that exits with 255 has the reason Error."""
_CODES = frozenset(Code)
_KUBELET_REFUSED = ("OutOf", "UnexpectedAdmissionError", "NodeAffinity", "NodePorts", "HostPortConflict")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome, code and the words for them."""

    outcome: Outcome
    code: Code
    message: str
    warnings: tuple[str, ...] = ()


def judge(case: Case, end: End) -> Verdict:
    """What became of the run."""
    for rule in (
        _cancelled,
        _by_verdict,
        _deadline,
        _never,
        _disrupted,
        _deleted,
        _exited,
        _pod_ended,
        _job_ended,
    ):
        verdict = rule(case, end)
        if verdict:
            return verdict
    return Verdict(Outcome.UNKNOWN, Code.UNKNOWN, f"Job {case.job.name} is over, and nothing says how")


def needs_another_look(case: Case) -> bool:
    """Whether the Job must be read again before judging: its stream may lag behind the pod's.

    A container that ended with 0 by itself needs none.
    """
    agent = case.pod.agent if case.pod else None
    clean = agent is not None and agent.terminated and agent.exit_code == 0
    return not clean or case.ending_at is not None


def result_of(run_id: str, case: Case, end: End, log: LogSummary, stderr: LogSummary | None = None) -> RunResult:
    """The verdict with everything the container said of its end."""
    verdict = judge(case, end)
    agent = case.pod.agent if case.pod else None
    # A container that never started and was stopped by us is given an exit code by the kubelet all the same.
    ended = agent if agent and agent.terminated and not _by_verdict(case, end) else None
    row = TABLE[verdict.code]
    return RunResult(
        run_id=run_id,
        outcome=verdict.outcome,
        code=verdict.code,
        message=verdict.message,
        hint=row.hint,
        transient=row.transient,
        exit_code=ended.exit_code if ended else None,
        signal=(ended.signal or signal_of(ended.exit_code)) if ended else None,
        reason=ended.reason if ended else None,
        termination_message=_last_words(case, ended) if ended else None,
        job=case.job.name,
        job_uid=case.job.uid,
        pod=case.pod.name if case.pod else None,
        started_at=_time(ended.started_at) if ended else None,
        finished_at=_time(ended.finished_at) if ended else None,
        warnings=verdict.warnings,
        log=log,
        stderr=stderr,
    )


def plain_result(run_id: str, outcome: Outcome, code: Code, message: str) -> RunResult:
    """A result without a container to speak of."""
    row = TABLE[code]
    return RunResult(run_id=run_id, outcome=outcome, code=code, message=message, hint=row.hint, transient=row.transient)


def _last_words(case: Case, ended: Container) -> str | None:
    """What the agent said on stderr at last, where a container relays it; else the end of its own log."""
    relay = case.pod.container(STDERR) if case.pod else None
    return (relay.message if relay and relay.terminated else None) or ended.message


def _time(text: str | None) -> str | None:
    """A container that never started says 1970."""
    return None if text is None or text.startswith("1970-") else text


def _how(case: Case) -> str:
    """How the container ended, as an addition to why."""
    agent = case.pod.agent if case.pod else None
    return f"; {state_of(agent)}" if agent and agent.terminated else ""


def _cancelled(case: Case, end: End) -> Verdict | None:
    if case.cancel is None:
        return None
    still = ("its pod was not seen to end",) if end.kind is EndKind.NEVER else ()
    why = f": {case.cancel}" if case.cancel else ""
    return Verdict(Outcome.CANCELLED, Code.CANCELLED, f"cancelled{why}{_how(case)}", still)


def _by_verdict(case: Case, end: End) -> Verdict | None:
    """Ours, which stopped the Job; or, as it stands on the Job, that of a supervisor who did not live to report it."""
    code, _, text = (case.job.stopped or "").partition(": ") if case.suspended else ("", "", "")
    if end.kind is EndKind.VERDICT and end.code is not None:
        code, text = end.code, end.text
    return Verdict(Outcome.FAILED, Code(code), text) if code in _CODES else None


def _deadline(case: Case, _: End) -> Verdict | None:
    if case.failing != "DeadlineExceeded":
        return None
    return Verdict(Outcome.TIMED_OUT, Code.DEADLINE, f"the run reached its deadline{_how(case)}")


def _never(case: Case, end: End) -> Verdict | None:
    if end.kind is not EndKind.NEVER:
        return None
    disruption = _DISRUPTIONS.get(case.disruption[0]) if case.disruption else None
    code = Code.NODE_LOST if disruption is Code.NODE_LOST else Code.END_NEVER_CAME
    pod = case.pod.name if case.pod else "its pod"
    return Verdict(Outcome.UNKNOWN, code, f"{pod} was told to end and was not seen to; it may still run")


def _disrupted(case: Case, _: End) -> Verdict | None:
    if case.disruption is None:
        return _by_pod_reason(case)
    reason, message = case.disruption
    code = _DISRUPTIONS.get(reason, Code.EVICTED)
    if code is Code.EVICTED and case.pod and _POD_REASONS.get(case.pod.reason or "") is Code.NODE_LOST:
        code = Code.NODE_LOST
    text = (case.pod.message if case.pod else None) or message or reason
    return Verdict(Outcome.FAILED, code, f"{reason}: {text}{_how(case)}")


def _by_pod_reason(case: Case) -> Verdict | None:
    reason = (case.pod.reason if case.pod else None) or ""
    code = _POD_REASONS.get(reason)
    if code is None and reason.startswith(_KUBELET_REFUSED):
        code = Code.UNSCHEDULABLE
    if code is None or case.pod is None:
        return None
    return Verdict(Outcome.FAILED, code, f"{reason}: {case.pod.message or 'no message'}{_how(case)}")


def _deleted(case: Case, _: End) -> Verdict | None:
    if case.suspended:
        return Verdict(Outcome.FAILED, Code.JOB_SUSPENDED, f"Job {case.job.name} was suspended{_how(case)}")
    if case.by_itself:
        return None
    if case.job_gone or case.job.deleting:
        return Verdict(Outcome.DELETED, Code.JOB_DELETED, f"Job {case.job.name} was deleted{_how(case)}")
    if case.pod and (case.pod.deleting or (case.pod_gone and not case.pod.quiet)):
        return Verdict(Outcome.DELETED, Code.POD_DELETED, f"pod {case.pod.name} was deleted{_how(case)}")
    return None


def _exited(case: Case, _: End) -> Verdict | None:
    agent = case.pod.agent if case.pod else None
    if agent is None or not agent.terminated:
        return None
    if agent.reason == "ContainerStatusUnknown":
        return Verdict(Outcome.UNKNOWN, Code.STATUS_UNKNOWN, f"{state_of(agent)}: {agent.message or 'no message'}")
    if (agent.exit_code, agent.reason) == _EXIT_LOST:
        return Verdict(Outcome.UNKNOWN, Code.STATUS_UNKNOWN, f"{state_of(agent)}: its node has lost its exit code")
    if agent.exit_code is None:
        return Verdict(Outcome.UNKNOWN, Code.UNKNOWN, _words(case, agent))
    if agent.exit_code == 0:
        killed = agent.reason == "OOMKilled"
        warning = (f"{agent.name} exited with 0, but a process of it was killed for memory",) if killed else ()
        return Verdict(Outcome.SUCCEEDED, Code.OK, state_of(agent), warning)
    return Verdict(Outcome.FAILED, _exit_code(agent), _words(case, agent))


def _exit_code(agent: Container) -> Code:
    if agent.reason == "OOMKilled":
        return Code.OOM_KILLED
    if agent.reason in ("StartError", "ContainerCannotRun"):
        return Code.START_ERROR
    return Code.SIGNALLED if signal_of(agent.exit_code) else Code.EXIT_CODE


def _words(case: Case, agent: Container) -> str:
    assert case.pod is not None  # noqa: S101 - the agent is one of its containers
    if case.ever_ran:
        number = signal_of(agent.exit_code)
        return state_of(agent) + (f", {signal_name(number)}" if number else "")
    text = describe_pod_terminated_error(case.pod.name, "Failed", case.pod.containers)
    return (
        f"{text}: {' '.join(agent.message.split())}"
        if agent.message and _exit_code(agent) is Code.START_ERROR
        else text
    )


def _pod_ended(case: Case, _: End) -> Verdict | None:
    """A pod that is over although the agent's container never was."""
    pod = case.pod
    if pod is None or case.pod_gone or not pod.over:
        return None
    for container in pod.containers:
        if container.role == "init" and container.terminated and container.exit_code != 0:
            return Verdict(Outcome.FAILED, Code.INIT_FAILED, f"init container {state_of(container)}")
    if pod.phase == "Failed":
        text = describe_pod_terminated_error(pod.name, pod.phase, pod.containers)
        extra = f" ({pod.reason or pod.message})" if pod.reason or pod.message else ""
        return Verdict(Outcome.FAILED, Code.JOB_FAILED, text + extra)
    return None


def _job_ended(case: Case, _: End) -> Verdict | None:
    if case.job.failed is not None:
        text = f"Job {case.job.name} failed ({case.job.failed}: {case.job.failed_message or 'no message'})"
        return Verdict(Outcome.FAILED, Code.JOB_FAILED, text)
    if case.job.complete:
        text = f"Job {case.job.name} is complete"
        return Verdict(Outcome.SUCCEEDED, Code.OK, text, ("the container's own exit code was not seen",))
    return None
