"""What happened to a run, from what its objects say."""

from __future__ import annotations

from typing import Any

from adapter.story import story
from tests.unit.raws import BACKOFF, FINISHED, STARTED, Raw, condition, raw_job, raw_pod, running, terminated

CREATED, LATER = "2026-11-22T21:15:30Z", "2026-11-22T21:16:05Z"


def a_job(*conditions: Raw, **more: Any) -> Raw:
    made = raw_job(*[{**one, "lastTransitionTime": LATER} for one in conditions], **more)
    made["metadata"]["creationTimestamp"] = CREATED
    made["status"]["startTime"] = CREATED
    return made


def a_pod(*containers: Raw, **more: Any) -> Raw:
    made = raw_pod(*containers, **more)
    made["metadata"]["creationTimestamp"] = CREATED
    return made


def told(*args: Any) -> list[tuple[str, str]]:
    return [(moment.at.strftime("%H:%M:%S"), moment.words) for moment in story(*args)]


def test_a_run_from_its_beginning_to_its_end() -> None:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": CREATED}
    pod = a_pod(terminated(3, "Error"), conditions=(scheduled,))
    assert told(a_job(condition("Failed", *BACKOFF)), [pod], []) == [
        ("21:15:30", "Job ck-run created"),
        ("21:15:30", "the Job was let run"),
        ("21:15:30", "pod ck-run-abcde created"),
        ("21:15:30", "pod ck-run-abcde scheduled to node-1"),
        ("21:15:39", "container claude started"),
        ("21:16:02", "container claude: terminated (exit 3, Error)"),
        ("21:16:05", "the Job is failed (BackoffLimitExceeded: Job has reached the specified backoff limit)"),
    ]


def test_an_end_that_is_announced_is_told_once() -> None:
    both = a_job(condition("FailureTarget", *BACKOFF), condition("Failed", *BACKOFF))
    assert [words for _, words in told(both, [], [])][2:] == [
        "the Job is failed (BackoffLimitExceeded: Job has reached the specified backoff limit)"
    ]
    assert "the Job is about to fail (DeadlineExceeded)" in [
        words for _, words in told(a_job(condition("FailureTarget", "DeadlineExceeded")), [], [])
    ]


def test_a_container_that_never_started_has_no_times() -> None:
    never = terminated(137, "ContainerStatusUnknown", startedAt="1970-01-01T00:00:00Z", finishedAt=None)
    assert [words for _, words in told(a_job(), [a_pod(never)], [])] == [
        "Job ck-run created",
        "the Job was let run",
        "pod ck-run-abcde created",
    ]


def test_a_deletion_is_told_at_its_beginning_and_a_disruption_with_its_words() -> None:
    disruption = condition("DisruptionTarget", "EvictionByEvictionAPI", "node is drained")
    pod = a_pod(running(), conditions=({**disruption, "lastTransitionTime": STARTED},), deleting=True, grace=20)
    moments = told(a_job(), [pod], [])
    assert ("21:15:42", "pod ck-run-abcde was told to end") in moments, f"20 s before {FINISHED}"
    assert ("21:15:39", "pod ck-run-abcde: EvictionByEvictionAPI (node is drained)") in moments


def test_what_was_warned_of() -> None:
    about = {"kind": "Pod", "name": "p"}
    event = {"metadata": {}, "involvedObject": about, "reason": "FailedMount", "message": "no\nsuch volume", "count": 3}
    given = [{**event, "lastTimestamp": STARTED}, {**event, "count": 1, "eventTime": "2026-11-22T21:15:50.123456Z"}]
    assert told(a_job(), [], given)[2:] == [
        ("21:15:39", "warning of pod p: FailedMount: no such volume (3 times)"),
        ("21:15:50", "warning of pod p: FailedMount: no such volume"),
    ]


def test_times_that_are_none_are_left_out() -> None:
    assert told({"metadata": {"name": "j", "creationTimestamp": "yesterday"}}, [], [{"metadata": {}}]) == []
