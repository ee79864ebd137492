"""Whether the end has come, and when it may: graces, budgets, and what is not about this run."""

from __future__ import annotations

import pytest

from adapter.case import CANCEL_ENDS, Case, End, EndKind, Trouble, rejection_of
from adapter.cluster.jobs import Job
from adapter.cluster.pods import Pod
from adapter.errors import Code
from adapter.limits import Limits
from tests.unit.raws import (
    JOB_UID,
    case,
    complete,
    failed,
    failing,
    job,
    pod,
    running,
    see,
    terminated,
    unscheduled,
    waiting,
)

GRACE = Limits().grace


def code_at(made: Case, at: float) -> Code | None:
    end = made.end(at)
    return end.code if end else None


@pytest.mark.parametrize(
    ("view", "code"),
    [
        (pod(waiting("ErrImagePull", "not found"), phase="Pending"), Code.IMAGE_PULL),
        (pod(waiting("ImagePullBackOff", "Back-off"), phase="Pending"), Code.IMAGE_PULL),
        (pod(waiting("ErrImageNeverPull", "not present"), phase="Pending"), Code.IMAGE_PULL),
        (pod(waiting("CreateContainerConfigError", 'secret "X" not found'), phase="Pending"), Code.CONFIG_ERROR),
        (pod(waiting("CreateContainerError", "seccomp"), phase="Pending"), Code.CONFIG_ERROR),
        (pod(waiting("RunContainerError", "no such file")), Code.START_ERROR),
        (pod(init=(waiting("ErrImagePull", name="setup"),), phase="Pending"), Code.IMAGE_PULL),
        (unscheduled(), Code.UNSCHEDULABLE),
    ],
)
def test_trouble_fails_the_run_after_its_grace(view: Pod, code: Code) -> None:
    made = case(view)

    assert made.end(GRACE) is None
    assert made.wake_at() == 1.0 + GRACE
    assert code_at(made, 1.0 + GRACE) is code


def test_an_invalid_image_name_fails_at_once() -> None:
    made = case(pod(waiting("InvalidImageName", "couldn't parse image name"), phase="Pending"))

    assert made.end(1.0) == End(
        EndKind.VERDICT, Code.IMAGE_INVALID, "claude: InvalidImageName (couldn't parse image name)"
    )


def test_pull_errors_that_alternate_have_one_clock() -> None:
    made = case()
    for at in range(0, 30, 10):
        see(made, pod(waiting("ErrImagePull", "not found"), phase="Pending"), float(at))
        see(made, pod(waiting("ImagePullBackOff", "Back-off"), phase="Pending"), at + 5.0)

    end = made.end(GRACE)
    assert end == End(EndKind.VERDICT, Code.IMAGE_PULL, "claude: ImagePullBackOff (Back-off)")


@pytest.mark.parametrize("trouble", [unscheduled(), pod(waiting("ErrImagePull"), phase="Pending")])
def test_trouble_that_goes_away_is_forgotten(trouble: Pod) -> None:
    made = case(trouble, pod(waiting("ContainerCreating"), phase="Pending"))

    assert made.end(GRACE + 10) is None


def test_trouble_that_comes_back_has_a_new_clock() -> None:
    pulling = pod(waiting("ErrImagePull"), phase="Pending")
    made = case(pulling, pod(waiting("ContainerCreating"), phase="Pending"))
    see(made, pulling, 20.0)

    assert made.end(19.0 + GRACE) is None
    assert code_at(made, 20.0 + GRACE) is Code.IMAGE_PULL


def test_a_pod_without_a_node_has_the_schedule_budget() -> None:
    made = case(pod(phase="Pending", node=None))

    assert made.end(119.0) is None
    assert code_at(made, 120.0) is Code.SCHEDULE_TIMEOUT


def test_a_job_without_a_pod_has_the_schedule_budget() -> None:
    end = case().end(120.0)

    assert end
    assert end.text == "Job ck-run, which has no pod: no node within 120 s"


def test_a_container_has_the_start_budget_from_its_node_on() -> None:
    made = case(pod(phase="Pending", node=None), pod(waiting("ContainerCreating"), phase="Pending"))

    assert made.end(601.0) is None
    assert code_at(made, 602.0) is Code.START_TIMEOUT


def test_a_container_that_runs_has_no_budget() -> None:
    made = case(pod(running()))

    assert made.end(1e9) is None
    assert made.wake_at() == float("inf")


def test_a_job_that_was_not_let_run_has_no_budget() -> None:
    made = Case(job(suspend=True), Limits())
    made.running(0.0)

    assert made.end(1e9) is None


@pytest.mark.parametrize("view", [failing(), job(deleting=True), pod(running(), deleting=True)])
def test_an_announced_end_is_not_the_end(view: Job | Pod) -> None:
    assert case(pod(running()), view).end(3.0) is None


@pytest.mark.parametrize("view", [failing(), job(deleting=True), pod(running(), deleting=True)])
def test_an_end_that_does_not_come_is_never(view: Job | Pod) -> None:
    made = case(pod(running()), view)

    assert made.wake_at() == 2.0 + 30 + 60
    assert made.end(91.0) is None
    assert made.end(92.0) == End(EndKind.NEVER)


def test_an_announced_end_is_counted_once() -> None:
    made = case(pod(running(), deleting=True))
    see(made, pod(running(), deleting=True), 50.0)

    assert made.end(91.0) == End(EndKind.NEVER)


def test_the_end_of_a_cancelled_run_is_due_sooner() -> None:
    made = case(pod(running()), job(deleting=True))
    made.cancelled("enough", 3.0)

    assert made.wake_at() == 3.0 + 30 + CANCEL_ENDS < 3.0 + 30 + 5


def test_a_grace_period_of_zero_is_one() -> None:
    made = case(pod(running(), grace=0), job(deleting=True, grace=0), grace=0)

    assert made.grace == 0
    assert case(grace=0).grace == 0


def test_only_the_first_cancel_counts() -> None:
    made = case()
    made.cancelled("first", 1.0)
    made.cancelled("second", 2.0)

    assert (made.cancel, made.cancel_at) == ("first", 1.0)


def test_a_cancel_on_an_adopted_job_is_obeyed() -> None:
    made = Case(job(cancel="enough"), Limits())
    made.running(5.0)

    assert (made.cancel, made.cancel_at) == ("enough", 5.0)


def test_an_adopted_job_that_is_ending_is_seen_to() -> None:
    made = Case(failing("DeadlineExceeded"), Limits())
    made.running(5.0)

    assert (made.failing, made.ending_at) == ("DeadlineExceeded", 5.0)


@pytest.mark.parametrize("view", [complete(), failed(), pod(terminated(0), phase="Pending"), pod(phase="Failed")])
def test_the_end(view: Job | Pod) -> None:
    assert case(view).end(1.0) == End(EndKind.OVER)


def test_the_end_of_a_pod_that_is_gone_is_the_jobs_matter() -> None:
    made = case(pod(running()))
    made.pod_gone = True

    assert made.end(2.0) is None
    see(made, failed(), 3.0)
    assert made.end(3.0) == End(EndKind.OVER)


def test_a_pod_of_another_job_of_the_same_name_is_ignored() -> None:
    made = case(pod(terminated(1), owner="another"))

    assert made.pod is None


def test_another_job_of_the_same_name_is_ignored() -> None:
    assert case(complete(uid="another")).end(1.0) is None


def test_an_older_view_of_the_job_is_ignored() -> None:
    assert case(failed(version="11"), job(version="10")).end(2.0) is not None


def test_an_older_view_of_the_pod_is_ignored() -> None:
    made = case(pod(terminated(0), version="11"), pod(running(), version="9"))

    assert made.quiet


def test_versions_are_numbers() -> None:
    made = case(pod(running(), version="9"), pod(terminated(0), version="10"))

    assert made.quiet


def test_a_version_that_is_no_number_is_believed() -> None:
    made = case(pod(running(), version="9"), pod(terminated(0), version="opaque"))

    assert made.quiet


def test_a_job_suspended_by_somebody_ends_with_its_pod() -> None:
    made = case(pod(running()), job(suspend=True))

    assert made.end(3.0) is None
    made.pod_gone = True
    assert made.end(3.0) == End(EndKind.OVER)


def test_a_suspended_job_that_somebody_let_run_again_was_waited_for() -> None:
    made = case(pod(running()), job(suspend=True))
    see(made, pod(running(), deleting=True, version="12"), 2.0)
    see(made, pod(terminated(143, "Error"), deleting=True, version="13"), 3.0)
    see(made, pod(running(), uid="another", version="14"), 3.0)  # made while the first had its grace period

    assert made.end(3.0) == End(EndKind.OVER)


def test_a_job_suspended_before_it_had_a_pod_is_over() -> None:
    assert case(job(suspend=True)).end(1.0) == End(EndKind.OVER)


def test_a_job_that_we_have_not_let_run_yet_is_not_suspended_by_somebody() -> None:
    made = Case(job(suspend=True), Limits())
    see(made, job(suspend=True, version="11"), 1.0)

    assert not made.suspended


def test_a_pod_takes_a_rejection_back() -> None:
    made = case()
    made.rejected = Trouble(Code.POD_QUOTA, "exceeded quota", 0.0)
    assert code_at(made, GRACE) is Code.POD_QUOTA
    see(made, pod(waiting("ContainerCreating"), phase="Pending"), 10.0)

    assert made.end(GRACE) is None


@pytest.mark.parametrize(
    ("container", "started"),
    [(waiting("ContainerCreating"), False), (running(), True), (terminated(3), True)],
)
def test_there_is_a_log_once_the_container_has_started(container: dict[str, object], started: bool) -> None:
    assert case(pod(container, phase="Pending")).started is started


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot', Code.POD_SECURITY),
        ('pods "x" is forbidden: exceeded quota: q, requested: pods=1', Code.POD_QUOTA),
        ('pods "x" is forbidden: error looking up service account ns/s: serviceaccount "s" not found',
         Code.SERVICE_ACCOUNT),
        ('admission webhook "policy.example" denied the request: no', Code.POD_REJECTED),
    ],
)  # fmt: skip
def test_why_a_job_has_no_pod(message: str, code: Code) -> None:
    text = f"Error creating: {message}"

    assert rejection_of([("MissingClusterDNS", "no"), ("FailedCreate", text)]) == (code, text)


def test_the_newest_reason_for_no_pod_counts() -> None:
    events = [("FailedCreate", "exceeded quota"), ("FailedCreate", "violates PodSecurity")]

    assert rejection_of(events) == (Code.POD_SECURITY, "violates PodSecurity")


def test_other_warnings_say_nothing_about_a_missing_pod() -> None:
    assert rejection_of([("MissingClusterDNS", "no")]) is None


def test_the_pod_is_of_the_job_by_its_uid() -> None:
    assert case(pod(running())).job.uid == JOB_UID
