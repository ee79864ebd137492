"""Launch, as far as it is pure: what a request's Job is called and bears, and what an answer means."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.jobs import INSTANCE_LABEL, REQUEST, RUN_ID
from adapter.errors import Code
from adapter.refusal import refusal_of
from adapter.run import Outcome, RunRequest, RunResult
from adapter.takeover import result_on
from adapter.work import hash_of, instance_name, plain_work
from tests.unit.raws import job

REQUEST_1 = RunRequest(run_id="Run 1", command=("true",), env={"A": "1"})


def refused(status: int, message: str = "no", **body: Any) -> Code:
    return refusal_of(ApiError(status, {"message": message, **body})).code


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (refused(401), Code.UNAUTHORIZED),
        (refused(403), Code.FORBIDDEN),
        (refused(403, 'jobs.batch "b" is forbidden: exceeded quota: q'), Code.JOB_REJECTED),
        (refused(403, "unable to create new content in namespace x because it is being terminated"), Code.NAMESPACE),
        (refused(404, 'namespaces "x" not found', details={"kind": "namespaces"}), Code.NAMESPACE),
        (refused(422, "spec.template: Invalid value"), Code.JOB_REJECTED),
        (refused(413), Code.JOB_REJECTED),
        (refused(429), Code.API_UNREACHABLE),
        (refused(504), Code.API_UNREACHABLE),
        (refusal_of(Unreachable("no route")).code, Code.API_UNREACHABLE),
    ],
)
def test_what_a_refusal_means(code: Code, found: Code) -> None:
    assert code is found


def test_how_long_a_job_is_kept_does_not_make_another_request() -> None:
    assert hash_of(REQUEST_1) == hash_of(replace(REQUEST_1, retain=0))


@pytest.mark.parametrize("change", [{"env": {"A": "2"}}, {"command": ("false",)}, {"timeout": 5}, {"image": "x"}])
def test_whatever_else_differs_makes_another_request(change: dict[str, Any]) -> None:
    assert hash_of(REQUEST_1) != hash_of(replace(REQUEST_1, **change))


def test_a_job_bears_its_run_and_its_instance() -> None:
    meta = plain_work(REQUEST_1, "laptop").manifest["metadata"]

    assert meta["name"].startswith("ck-run-1-")
    assert meta["labels"][INSTANCE_LABEL] == "laptop"
    assert (meta["annotations"][RUN_ID], meta["annotations"][REQUEST]) == ("Run 1", hash_of(REQUEST_1))


@pytest.mark.parametrize(
    ("text", "name"), [("Ann@Laptop.local", "ann-laptop-local"), ("", "default"), ("+", "default")]
)
def test_an_instance_is_a_label(text: str, name: str) -> None:
    assert instance_name(text) == name


def test_an_earlier_result_is_read_back() -> None:
    earlier = RunResult(run_id="r", outcome=Outcome.SUCCEEDED, code=Code.OK, message="fine")

    assert result_on(replace(job(), result=json.dumps(earlier.to_json()))) == earlier


@pytest.mark.parametrize(
    "text", [None, "", "{", "7", "[]", "{}", '{"outcome": "splendid", "code": "ok"}', '{"log": 7}']
)
def test_what_is_no_result_is_found_out_again(text: str | None) -> None:
    assert result_on(replace(job(), result=text)) is None
