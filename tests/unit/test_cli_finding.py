"""Which run is meant, and how it is listed. Pure."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from adapter.cli.finding import fitting
from adapter.cli.rows import age, of_job, table, view_of
from adapter.cluster.jobs import Job
from adapter.cluster.pods import Pod
from tests.unit.raws import Raw, condition, pod, raw_job, running, terminated, unscheduled, waiting

COMPLETE = condition("Complete", "CompletionsReached")
RESULT = {"run_id": "r", "outcome": "failed", "code": "exit_code", "message": "claude: terminated (exit 3, Error)"}


def job(run_id: str = "r", *conditions: Raw, name: str = "", instance: str = "mine", **more: Any) -> Job:
    """A Job of a run; `more` are its annotations, and what `raw_job` takes."""
    spec = {key: more.pop(key) for key in ("suspend", "cancel", "deleting") if key in more}
    made = raw_job(*conditions, **spec)
    made["metadata"] |= {"name": name or f"ck-{run_id}", "labels": {"claude-k8s/instance": instance}}
    notes = {f"claude-k8s/{key.replace('_', '-')}": value for key, value in more.items()}
    made["metadata"]["annotations"] |= {"claude-k8s/run-id": run_id, **notes}
    return Job.of(made)


def fit(text: str, *jobs: Job) -> list[str]:
    return [one.name for one in fitting(jobs, text)]


def test_an_id_wins_over_what_it_begins() -> None:
    jobs = job("run"), job("run-2"), job("run-3")
    assert fit("run", *jobs) == ["ck-run"]
    assert fit("run-", *jobs) == ["ck-run-2", "ck-run-3"]
    assert fit("run-3", *jobs) == ["ck-run-3"]


def test_a_jobs_name_is_taken_whole() -> None:
    assert fit("ck-run", job("run"), job("ck")) == ["ck-run"]
    assert fit("ck-", job("run"), job("other")) == []
    assert fit("ck", job("run"), job("ck")) == ["ck-ck"]


def test_nothing_is_no_beginning() -> None:
    assert fit("", job("run")) == []


def test_of_a_runs_jobs_the_live_one_is_meant_then_the_last() -> None:
    first, second = job("r", COMPLETE, name="first"), job("r", name="second")
    assert fit("r", first, second) == ["second"]
    assert fit("r", second, first) == ["second"]
    assert fit("r", job("r", COMPLETE, name="one"), job("r", COMPLETE, name="two")) == ["two"]


def test_a_job_that_was_taken_over_is_the_later_runs_and_found_by_either() -> None:
    taken = job("one", adopted_by="two")
    assert fit("two", taken) == ["ck-one"]
    assert fit("one", taken) == ["ck-one"]
    assert fit("one", taken, job("one", name="own")) == ["own"]


def test_the_same_id_in_two_instances_is_two_runs() -> None:
    assert fit("r", job("r", name="a"), job("r", name="b", instance="staging")) == ["a", "b"]


@pytest.mark.parametrize(
    ("seen", "of", "state"),
    [
        (job(suspend=True), None, "queued"),
        (job(), None, "pending"),
        (job(), unscheduled(), "pending"),
        (job(), pod(waiting("ImagePullBackOff"), phase="Pending"), "pending"),
        (job(), pod(running()), "running"),
        (job(), pod(terminated(0)), "ending"),
        (job(deleting=True), pod(running(), deleting=True), "ending"),
        (job(cancel="why"), pod(running()), "ending"),
        (job("r", COMPLETE), pod(terminated(0)), "ended"),
        (job("r", COMPLETE, result=json.dumps(RESULT)), None, "finished"),
        (job("r", COMPLETE, result=json.dumps({**RESULT, "run_id": "other"})), None, "ended"),
        (job("r", COMPLETE, result="{"), None, "ended"),
    ],
)
def test_where_a_run_stands(seen: Job, of: Pod | None, state: str) -> None:
    assert view_of(seen, of, "default")["state"] == state


def test_what_a_row_notes() -> None:
    assert of_job(job(suspend=True, waits="for ever"), None, "n").note == "waits: for ever"
    assert of_job(job(cancel=""), None, "n").note == "cancelling"
    assert of_job(job(cancel="enough"), None, "n").note == "cancelling: enough"
    done = of_job(job("r", COMPLETE, cancel="late", result=json.dumps(RESULT)), None, "n")
    assert (done.note, done.outcome, done.over) == ("", "failed", True)
    assert of_job(job(supervisor="replica-1"), None, "n").supervisor == "replica-1"


@pytest.mark.parametrize(
    ("created", "text"),
    [
        ("2026-11-22T21:15:39Z", "0s"),
        ("2026-11-22T21:15:40Z", "0s"),
        ("2026-11-22T21:12:27Z", "3m12s"),
        ("2026-11-22T20:15:39Z", "1h0m"),
        ("2026-11-20T20:15:39Z", "2d1h"),
        ("", ""),
        ("yesterday", ""),
    ],
)
def test_an_age(created: str, text: str) -> None:
    assert age(created, datetime(2026, 11, 22, 21, 15, 39, tzinfo=UTC)) == text


def test_a_table_is_as_wide_as_it_must_be_and_steers_nothing() -> None:
    assert table(("A", "LONG"), [("\x1b[2Jx", ""), ("y", "z")]) == "A      LONG\n [2Jx  -\ny      z\n"
