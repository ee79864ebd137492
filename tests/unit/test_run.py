from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from adapter.errors import Code, InvalidRequest
from adapter.run import MAX_ENV_BYTES, MAX_REQUEST_BYTES, LogSummary, Outcome, RunRequest, RunResult


def request(**changes: Any) -> RunRequest:
    given: dict[str, Any] = {"run_id": "r", "command": ("true",)}
    return RunRequest(**given | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"run_id": " "}, "run_id is empty"),
        ({"run_id": "x" * 513}, "run_id is longer than 512 characters"),
        ({"command": ()}, "command is empty"),
        ({"command": ("", "x")}, "command is empty"),
        ({"command": ("a", "b\0c")}, r"command\[1\] contains a NUL"),
        ({"command": ("a\ud800",)}, r"command\[0\] is not valid Unicode"),
        ({"image": ""}, "image is empty"),
        ({"working_dir": "/a\0"}, "working_dir contains a NUL"),
        ({"env": {"A": "b\0"}}, r"env\['A'\] contains a NUL"),
        ({"env": {"A=B": "c"}}, r"env\['A=B'\] is not a valid environment variable name"),
        ({"env": {"": "c"}}, "is not a valid environment variable name"),
        ({"env": {"1A": "c"}}, "is not a valid environment variable name"),
        ({"env": {"A": "\udfff"}}, "is not valid Unicode"),
        ({"env": {"A": "x" * MAX_ENV_BYTES}}, "put it into a file"),
        ({"env": {"A": "x" * 2**20}}, "has 1048578 bytes"),
        ({"timeout": 0}, "timeout is less than 1 second"),
        ({"grace": -1}, "grace is negative"),
        ({"retain": -1}, "retain is negative"),
        ({"cpu": "lots"}, "cpu 'lots' is not a Kubernetes quantity"),
        ({"memory": "2 Gi"}, "memory '2 Gi' is not a Kubernetes quantity"),
        ({"command": ("x", "y" * MAX_REQUEST_BYTES)}, "command and env have"),
    ],
)
def test_a_request_that_could_never_run_names_its_field(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        request(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"cpu": "500m", "memory": "2Gi"},
        {"cpu": ".5", "memory": "1e3".replace("e3", "000")},
        {"env": {"A": "x" * (MAX_ENV_BYTES - 2), "a.b-c": ""}},
        {"timeout": 1, "grace": 0, "retain": 0},
    ],
)
def test_a_request_at_its_limits_is_taken(changes: dict[str, Any]) -> None:
    request(**changes)


def test_a_secret_in_the_environment_is_in_no_repr() -> None:
    assert "hunter2" not in repr(request(env={"TOKEN": "hunter2"}))


@pytest.mark.parametrize("value", ["hunter2\0", "hunter2" * 30_000, "hunter2\udfff"])
def test_a_secret_in_the_environment_is_in_no_complaint(value: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        request(env={"TOKEN": value})

    assert "hunter2" not in str(raised.value)


def test_a_request_does_not_change_with_what_it_was_made_of() -> None:
    env, command = {"A": "1"}, ["true"]
    made = RunRequest(run_id="r", command=command, env=env)  # type: ignore[arg-type]
    env["A"] = "2"
    command.append("x")

    assert (made.env["A"], made.command) == ("1", ("true",))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.image = "x"  # type: ignore[misc]
    with pytest.raises(TypeError):
        made.env["A"] = "3"  # type: ignore[index]


def test_equal_requests_give_equal_json() -> None:
    first, second = request(env={"A": "1", "B": "2"}), request(env={"B": "2", "A": "1"})

    assert json.dumps(first.to_json()) == json.dumps(second.to_json())


def test_every_field_of_a_request_is_in_its_json() -> None:
    assert set(request().to_json()) == {field.name for field in dataclasses.fields(RunRequest)}


FULL = RunResult(
    run_id="r",
    outcome=Outcome.FAILED,
    code=Code.EXIT_CODE,
    message="exit 3",
    exit_code=3,
    warnings=("careful",),
    log=LogSummary(delivered=7, complete=False, notes=("gap",)),
)


def test_a_result_survives_as_json() -> None:
    assert RunResult.from_json(json.loads(json.dumps(FULL.to_json()))) == FULL


def test_fields_of_a_later_version_are_ignored() -> None:
    data = json.loads(json.dumps(FULL.to_json()))
    data["new"] = data["log"]["new"] = 1

    assert RunResult.from_json(data) == FULL


@pytest.mark.parametrize("change", [{"outcome": "splendid"}, {"code": "?"}])
def test_what_is_no_result_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="is not a valid"):
        RunResult.from_json(FULL.to_json() | change)


def test_only_success_is_ok() -> None:
    assert [outcome for outcome in Outcome if dataclasses.replace(FULL, outcome=outcome).ok] == [Outcome.SUCCEEDED]
