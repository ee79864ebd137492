"""From what the wire shows (raw objects as a real cluster gave them) to the one result."""

from __future__ import annotations

import pytest

from adapter.case import Case, End, EndKind
from adapter.cluster.jobs import Job
from adapter.cluster.pods import Pod
from adapter.errors import TABLE, Code
from adapter.limits import Limits
from adapter.run import LogSummary, Outcome, RunResult
from adapter.verdict import judge, needs_another_look, result_of
from tests.unit.raws import (
    DEADLINE,
    FINISHED,
    START_ERROR,
    STARTED,
    case,
    complete,
    condition,
    failed,
    failing,
    job,
    pod,
    running,
    terminated,
    waiting,
)

OVER = End(EndKind.OVER)
NEVER = End(EndKind.NEVER)

START_ERROR_POD = pod(
    terminated(128, "StartError", message=START_ERROR, startedAt="1970-01-01T00:00:00Z"), phase="Pending"
)
INIT_FAILED_POD = pod(waiting("PodInitializing"), init=(terminated(7, "Error", name="setup"),), phase="Failed")


def disrupted(reason: str, message: str = "why") -> tuple[dict[str, str], ...]:
    return (condition("DisruptionTarget", reason, message),)


ENDS: dict[str, tuple[tuple[Job | Pod, ...], Outcome, Code, str]] = {
    "exit 0": (
        (pod(running()), pod(terminated(0, "Completed"))),
        Outcome.SUCCEEDED,
        Code.OK,
        "claude: terminated (exit 0, Completed)",
    ),
    "exit 3 at once, phase still Pending": (
        (pod(waiting("ContainerCreating"), phase="Pending"), pod(terminated(3, "Error"), phase="Pending")),
        Outcome.FAILED,
        Code.EXIT_CODE,
        "Pod ck-run-abcde reached phase=Failed: claude exited 3 (Error)",
    ),
    "exit 3 after it ran": (
        (pod(running()), pod(terminated(3, "Error"))),
        Outcome.FAILED,
        Code.EXIT_CODE,
        "claude: terminated (exit 3, Error)",
    ),
    "OOM": (
        (pod(running()), pod(terminated(137, "OOMKilled"))),
        Outcome.FAILED,
        Code.OOM_KILLED,
        "claude: terminated (exit 137, OOMKilled), SIGKILL",
    ),
    "OOM of a child, exit 0": (
        (pod(running()), pod(terminated(0, "OOMKilled"))),
        Outcome.SUCCEEDED,
        Code.OK,
        "claude: terminated (exit 0, OOMKilled)",
    ),
    "killed by somebody on the node": (
        (pod(running()), pod(terminated(137, "Error"))),
        Outcome.FAILED,
        Code.SIGNALLED,
        "claude: terminated (exit 137, Error), SIGKILL",
    ),
    "an exit code above every signal": (
        (pod(running()), pod(terminated(255, "Error"))),
        Outcome.FAILED,
        Code.EXIT_CODE,
        "claude: terminated (exit 255, Error)",
    ),
    "an exit code that the node has lost": (
        (pod(running()), pod(terminated(255, "Unknown", message="200000"))),
        Outcome.UNKNOWN,
        Code.STATUS_UNKNOWN,
        "claude: terminated (exit 255, Unknown): its node has lost its exit code",
    ),
    "start error": (
        (START_ERROR_POD,),
        Outcome.FAILED,
        Code.START_ERROR,
        f"Pod ck-run-abcde reached phase=Failed: claude exited 128 (StartError): {START_ERROR}",
    ),
    "init failed": ((INIT_FAILED_POD,), Outcome.FAILED, Code.INIT_FAILED, "init container setup: terminated (exit 7"),
    "a native sidecar lives on": (
        (pod(terminated(0, "Completed"), init=(running("proxy"),), sidecars=("proxy",)),),
        Outcome.SUCCEEDED,
        Code.OK,
        "claude: terminated",
    ),
    "a failed native sidecar is not an init container": (
        (
            pod(
                terminated(3, "Error"),
                init=(terminated(137, "Error", name="proxy"),),
                sidecars=("proxy",),
                phase="Failed",
            ),
        ),
        Outcome.FAILED,
        Code.EXIT_CODE,
        "claude exited 3",
    ),
    "deadline": (
        (pod(running()), failing(*DEADLINE), pod(terminated(143, "Error"), deleting=True)),
        Outcome.TIMED_OUT,
        Code.DEADLINE,
        "the run reached its deadline; claude: terminated (exit 143, Error)",
    ),
    "deadline, exit 0 on TERM": (
        (pod(running()), failing(*DEADLINE), pod(terminated(0, "Completed"), phase="Succeeded", deleting=True)),
        Outcome.TIMED_OUT,
        Code.DEADLINE,
        "the run reached its deadline; claude: terminated (exit 0, Completed)",
    ),
    "deadline, told by the Job alone": ((failed(*DEADLINE),), Outcome.TIMED_OUT, Code.DEADLINE, "deadline"),
    "cancelled": (
        (pod(running()), job(cancel="enough", deleting=True), pod(terminated(143, "Error"), deleting=True)),
        Outcome.CANCELLED,
        Code.CANCELLED,
        "cancelled: enough; claude: terminated (exit 143, Error)",
    ),
    "cancelled, exit 0 on TERM": (
        (pod(running()), job(cancel="", deleting=True), pod(terminated(0, "Completed"), deleting=True)),
        Outcome.CANCELLED,
        Code.CANCELLED,
        "cancelled; claude: terminated (exit 0, Completed)",
    ),
    "evicted by the API": (
        (pod(running()), pod(terminated(143, "Error"), deleting=True, conditions=disrupted("EvictionByEvictionAPI"))),
        Outcome.FAILED,
        Code.EVICTED,
        "EvictionByEvictionAPI: why; claude: terminated (exit 143, Error)",
    ),
    "evicted by the kubelet": (
        (
            pod(
                terminated(137, "Error"),
                phase="Failed",
                reason="Evicted",
                message="The node was low on resource: memory.",
                conditions=disrupted("TerminationByKubelet"),
            ),
        ),
        Outcome.FAILED,
        Code.EVICTED,
        "The node was low on resource: memory.",
    ),
    "evicted, an older kubelet": (
        (pod(phase="Failed", reason="Evicted", message="Pod was low on ephemeral-storage."),),
        Outcome.FAILED,
        Code.EVICTED,
        "Evicted: Pod was low on ephemeral-storage.",
    ),
    "node shut down": (
        (
            pod(
                terminated(143, "Error"),
                phase="Failed",
                reason="Terminated",
                message="Pod was terminated in response to imminent node shutdown.",
                conditions=disrupted("TerminationByKubelet"),
            ),
        ),
        Outcome.FAILED,
        Code.NODE_LOST,
        "imminent node shutdown",
    ),
    "preempted": (
        (pod(terminated(143, "Error"), deleting=True, conditions=disrupted("PreemptionByScheduler")),),
        Outcome.FAILED,
        Code.PREEMPTED,
        "PreemptionByScheduler",
    ),
    "node lost, collected": (
        (pod(phase="Failed", conditions=disrupted("DeletionByPodGC")),),
        Outcome.FAILED,
        Code.NODE_LOST,
        "DeletionByPodGC",
    ),
    "refused by the kubelet": (
        (pod(phase="Failed", reason="OutOfcpu", message="Pod was rejected: Node didn't have enough resource"),),
        Outcome.FAILED,
        Code.UNSCHEDULABLE,
        "OutOfcpu",
    ),
    "pod deleted": (
        (pod(running()), pod(terminated(143, "Error"), deleting=True)),
        Outcome.DELETED,
        Code.POD_DELETED,
        "pod ck-run-abcde was deleted; claude: terminated (exit 143, Error)",
    ),
    "pod deleted, exit 0 on TERM": (
        (pod(running()), pod(terminated(0, "Completed"), phase="Succeeded", deleting=True)),
        Outcome.DELETED,
        Code.POD_DELETED,
        "was deleted",
    ),
    "Job deleted in the foreground": (
        (pod(running()), job(deleting=True), pod(terminated(143, "Error"), deleting=True)),
        Outcome.DELETED,
        Code.JOB_DELETED,
        "Job ck-run was deleted; claude: terminated (exit 143, Error)",
    ),
    "Job deleted, but the container had ended by itself": (
        (pod(running()), job(deleting=True), pod(terminated(0, "Completed"))),
        Outcome.SUCCEEDED,
        Code.OK,
        "exit 0",
    ),
    "suspended by somebody": (
        (pod(running()), job(suspend=True), pod(terminated(143, "Error"), deleting=True)),
        Outcome.FAILED,
        Code.JOB_SUSPENDED,
        "Job ck-run was suspended; claude: terminated (exit 143, Error)",
    ),
    "status unknown": (
        (
            pod(running()),
            pod(terminated(137, "ContainerStatusUnknown", message="could not be located"), phase="Failed"),
        ),
        Outcome.UNKNOWN,
        Code.STATUS_UNKNOWN,
        "claude: terminated (exit 137, ContainerStatusUnknown): could not be located",
    ),
    "no exit code": (
        (pod(terminated(None, "Error"), phase="Failed"),),
        Outcome.UNKNOWN,
        Code.UNKNOWN,
        "Pod ck-run-abcde reached phase=Failed: claude exited unknown (Error)",
    ),
    "failed without any container": (
        (pod(phase="Failed", message="the disk broke"),),
        Outcome.FAILED,
        Code.JOB_FAILED,
        "Pod ck-run-abcde reached phase=Failed (the disk broke)",
    ),
    "complete without a container": (
        (complete(),),
        Outcome.SUCCEEDED,
        Code.OK,
        "Job ck-run is complete",
    ),
    "failed without a pod": (
        (failed(),),
        Outcome.FAILED,
        Code.JOB_FAILED,
        "Job ck-run failed (BackoffLimitExceeded: Job has reached the specified backoff limit)",
    ),
}


@pytest.mark.parametrize(("seen", "outcome", "code", "words"), ENDS.values(), ids=ENDS.keys())
def test_what_became_of_the_run(seen: tuple[Job | Pod, ...], outcome: Outcome, code: Code, words: str) -> None:
    seen_case = case(*seen)
    end = seen_case.end(50.0)

    assert end == OVER
    verdict = judge(seen_case, end)
    assert (verdict.outcome, verdict.code) == (outcome, code)
    assert words in verdict.message


def test_an_oom_of_a_child_is_a_warning() -> None:
    assert judge(case(pod(terminated(0, "OOMKilled"))), OVER).warnings == (
        "claude exited with 0, but a process of it was killed for memory",
    )


def test_a_complete_job_without_a_container_status_is_a_warning() -> None:
    assert judge(case(complete()), OVER).warnings == ("the container's own exit code was not seen",)


def gone(made: Case) -> Case:
    made.job_gone = True
    return made


def test_a_job_that_is_gone_was_deleted() -> None:
    made = gone(case(pod(running())))

    assert made.end(2.0) == OVER
    assert judge(made, OVER).code is Code.JOB_DELETED


@pytest.mark.parametrize(("exit_code", "code"), [(0, Code.OK), (3, Code.EXIT_CODE)])
def test_a_job_that_is_gone_after_its_container_had_ended_by_itself_came_to_that(exit_code: int, code: Code) -> None:
    made = gone(case(pod(running()), pod(terminated(exit_code))))

    assert (judge(made, OVER).code, of(made).exit_code) == (code, exit_code)


def test_a_job_that_is_gone_before_it_had_a_pod_was_deleted() -> None:
    assert judge(gone(case()), OVER).code is Code.JOB_DELETED


def test_a_cancelled_job_that_is_gone_was_cancelled() -> None:
    made = gone(case(pod(running())))
    made.cancelled("enough", 2.0)

    assert judge(made, OVER).message == "cancelled: enough"


def test_a_pod_deleted_with_force_has_no_exit_code() -> None:
    made = case(pod(running()), failed())
    made.pod_gone = True

    assert judge(made, OVER).message == "pod ck-run-abcde was deleted"


def test_an_end_that_never_came_is_unknown() -> None:
    verdict = judge(case(pod(running(), deleting=True)), NEVER)

    assert (verdict.outcome, verdict.code) == (Outcome.UNKNOWN, Code.END_NEVER_CAME)


def test_a_lost_node_says_so_where_the_end_never_came() -> None:
    lost = pod(running(), deleting=True, conditions=disrupted("DeletionByTaintManager"))

    assert judge(case(lost), NEVER).code is Code.NODE_LOST


def test_a_cancel_whose_end_never_came_is_cancelled_with_a_warning() -> None:
    made = case(pod(running(), deleting=True), job(cancel="enough", deleting=True))
    verdict = judge(made, NEVER)

    assert (verdict.outcome, verdict.warnings) == (Outcome.CANCELLED, ("its pod was not seen to end",))


def test_nothing_known_is_unknown() -> None:
    assert judge(case(pod(running())), OVER).outcome is Outcome.UNKNOWN


def test_a_verdict_is_told_as_it_is() -> None:
    verdict = judge(case(), End(EndKind.VERDICT, Code.IMAGE_PULL, "no such image"))

    assert (verdict.outcome, verdict.code, verdict.message) == (Outcome.FAILED, Code.IMAGE_PULL, "no such image")


def of(made: Case, end: End = OVER) -> RunResult:
    return result_of("run-1", made, end, LogSummary())


def test_a_result_holds_what_the_container_said() -> None:
    result = of(case(pod(running()), pod(terminated(143, "Error", message="last words"))))

    assert (result.exit_code, result.signal, result.reason) == (143, 15, "Error")
    assert (result.started_at, result.finished_at) == (STARTED, FINISHED)
    assert (result.termination_message, result.pod, result.job_uid) == ("last words", "ck-run-abcde", "5f0c")


def test_a_result_takes_hint_and_transience_from_the_table() -> None:
    result = of(case(pod(running()), pod(terminated(137, "OOMKilled"))))

    assert (result.hint, result.transient) == (TABLE[Code.OOM_KILLED].hint, False)


def test_a_container_that_never_started_has_no_time_of_1970() -> None:
    assert of(case(START_ERROR_POD)).started_at is None


def test_a_container_that_we_stopped_before_it_started_has_no_exit_code() -> None:
    made = case(pod(terminated(137, "ContainerStatusUnknown"), deleting=True))

    assert of(made, End(EndKind.VERDICT, Code.IMAGE_PULL, "no such image")).exit_code is None


@pytest.mark.parametrize(
    ("seen", "needed"),
    [
        ((pod(running()), pod(terminated(0, "Completed"))), False),
        ((pod(running()), pod(terminated(137, "Error"))), True),
        ((pod(running()), failing(*DEADLINE), pod(terminated(0, "Completed"))), True),
        ((complete(),), True),
    ],
)
def test_only_a_clean_end_needs_no_other_look(seen: tuple[Job | Pod, ...], needed: bool) -> None:
    assert needs_another_look(case(*seen)) is needed


def test_limits_are_shown_in_the_words_of_a_budget() -> None:
    end = case(limits=Limits(schedule=7.5)).end(8.0)

    assert end
    assert "7.5 s" in end.text
