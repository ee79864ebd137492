"""Pods and Jobs as views of raw JSON, and the names of Jobs."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.cluster.jobs import Job, digest, job_name, selector, slug
from adapter.cluster.pods import Pod
from tests.unit.raws import (
    BACKOFF,
    complete,
    condition,
    failed,
    failing,
    job,
    pod,
    raw_pod,
    running,
    terminated,
    unscheduled,
    waiting,
)


def test_an_early_pod_has_no_status_at_all() -> None:
    early = Pod.of({"metadata": {"name": "p"}})

    assert (early.phase, early.node, early.agent, early.quiet) == ("Pending", None, None, False)


def test_null_is_as_good_as_missing() -> None:
    raw = {"metadata": {"name": "p", "labels": None}, "spec": {"initContainers": None}, "status": None}

    assert Pod.of(raw).containers == ()


def test_the_agent_is_the_main_container_of_that_name() -> None:
    view = pod(running("proxy"), terminated(3, "Error"), init=(terminated(0, name="claude"),))

    assert view.agent
    assert (view.agent.role, view.agent.exit_code) == ("main", 3)


def test_terminated_wins_over_what_is_left_of_another_state() -> None:
    raw = raw_pod(terminated(0, "Completed"))
    raw["status"]["containerStatuses"][0]["state"]["waiting"] = {"reason": "x"}

    agent = Pod.of(raw).agent
    assert agent
    assert agent.terminated


def test_an_exit_code_may_be_missing() -> None:
    agent = pod(terminated(None)).agent

    assert agent
    assert agent.exit_code is None


@pytest.mark.parametrize(
    ("view", "quiet"),
    [
        (pod(running()), False),
        (pod(waiting("PodInitializing"), phase="Failed"), True),
        (pod(terminated(0), phase="Pending"), True),
        (pod(phase="Succeeded"), True),
    ],
)
def test_a_pod_is_quiet_once_its_agent_cannot_speak(view: Pod, quiet: bool) -> None:
    assert view.quiet is quiet


def test_the_schedulers_words() -> None:
    assert unscheduled("too small").unschedulable == "too small"
    assert unscheduled("").unschedulable == "no node fits"


def test_a_disruption_that_is_not_true_is_none() -> None:
    view = pod(conditions=(condition("DisruptionTarget", "x", status="False"),))

    assert view.disruption is None


def test_a_grace_period_is_that_of_the_deletion_then_that_of_the_pod() -> None:
    raw = raw_pod(deleting=True, grace=5)
    raw["spec"]["terminationGracePeriodSeconds"] = 60

    assert Pod.of(raw).grace == 5
    del raw["metadata"]["deletionGracePeriodSeconds"]
    assert Pod.of(raw).grace == 60
    del raw["spec"]["terminationGracePeriodSeconds"]
    assert Pod.of(raw).grace == 30


def test_a_forced_deletion_does_not_shorten_the_grace_period() -> None:
    raw = raw_pod(deleting=True, grace=0)
    raw["spec"]["terminationGracePeriodSeconds"] = 60

    assert Pod.of(raw).grace == 60


def test_a_grace_period_of_zero_is_zero() -> None:
    assert pod(grace=0).grace == 0
    assert job(grace=0).grace == 0


def test_an_early_job_has_nothing_but_a_name() -> None:
    early = Job.of({"metadata": {"name": "j"}})

    assert (early.over, early.suspended, early.grace) == (False, False, 30)


@pytest.mark.parametrize(
    ("view", "over", "reason", "failing_for"),
    [
        (job(), False, None, None),
        (failing(), False, None, BACKOFF[0]),
        (failed(), True, BACKOFF[0], BACKOFF[0]),
        (complete(), True, None, None),
        (job(condition("Complete", status="False"), condition("Suspended", "JobSuspended")), False, None, None),
        (job(condition("Failed")), True, "Failed", None),
    ],
)
def test_a_jobs_conditions(view: Job, over: bool, reason: str | None, failing_for: str | None) -> None:
    assert (view.over, view.failed, view.failing) == (over, reason, failing_for)


NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


@settings(deadline=None, max_examples=100)
@given(instance=st.text(), run_id=st.text(min_size=1))
def test_a_jobs_name_leaves_room_for_its_pods_and_is_valid(instance: str, run_id: str) -> None:
    name = job_name(instance, run_id)

    assert NAME.fullmatch(name)
    assert len(name) <= 57  # its pod's is six characters longer
    assert name == job_name(instance, run_id)


def test_a_jobs_name_is_of_instance_and_run() -> None:
    names = {job_name("a", "b-1"), job_name("a", "B 1"), job_name("a-b", "1"), job_name("b", "b-1"), job_name("a", "")}

    assert len(names) == 5


@pytest.mark.parametrize(
    ("text", "made"), [("My Run!", "my-run"), ("--", ""), ("a" * 50, "a" * 40), ("x" * 39 + ".y", "x" * 39)]
)
def test_a_slug_is_a_label(text: str, made: str) -> None:
    assert slug(text, 40) == made


def test_a_digest_does_not_care_for_order() -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1}) != digest({"a": 1, "b": [3]})


def test_a_selector_is_of_one_instance() -> None:
    assert selector("x") == "app.kubernetes.io/managed-by=claude-k8s-adapter,claude-k8s/instance=x"
