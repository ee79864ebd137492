"""A result as the control plane reads it: every outcome with every code, and what its rule for success makes of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from adapter.agent.context import RunContext
from adapter.agent.execution import NEVER_STARTED, execution_result
from adapter.agent.findings import interpret
from adapter.errors import TABLE, Code
from adapter.run import Outcome, RunResult
from tests.stream_json import SESSION, assistant, init, result, text
from tests.unit.ends import LIMIT, WORKING, ended, killed, limit
from tests.unit.transcripts import read

FIELDS = """exitCode signal timedOut errorMessage errorCode errorFamily retryNotBefore errorMeta usage usageBasis
sessionId sessionParams sessionDisplayId provider biller model billingType costUsd resultJson summary clearSession
executionRecovery"""

PREVIOUS = {"session_id": "before", "workdir": "/old", "repoRef": "main", "needsCompactBeforeNextRun": True}
WORKSPACE = {"cwd": "/host/work", "workspaceId": "ws-1", "repoUrl": "https://git.example/r.git", "repoRef": None}


def context(**more: Any) -> RunContext:
    given = {"runId": "r", "agent": {"id": "a"}, "context": {"paperclipWorkspace": WORKSPACE}}
    return RunContext.parse(given | more)


def resumed() -> RunContext:
    return context(runtime={"sessionParams": PREVIOUS})


def told(end: RunResult, *stdout: Any, given: RunContext | None = None, **more: Any) -> dict[str, Any]:
    return execution_result(interpret(end, read(*stdout), **more), given or context())


def succeeds(execution: dict[str, Any]) -> bool:
    """The control plane's rule: a missing exit code counts as 0, and an error code alone changes nothing."""
    clean = not execution["errorMessage"] and not execution["signal"]
    return not execution["timedOut"] and (execution["exitCode"] or 0) == 0 and clean


ENDS = [
    (outcome, exit_code, message)
    for outcome in Outcome
    for exit_code in (None, 0, 1, 137)
    for message in ("", " \n", "what happened")
    if outcome is not Outcome.SUCCEEDED or not exit_code  # no verdict gives that
]


@pytest.mark.parametrize("code", Code)
def test_only_a_success_is_one_for_the_control_plane(code: Code) -> None:
    for outcome, exit_code, message in ENDS:
        plain = RunResult(run_id="r", outcome=outcome, code=code, message=message, exit_code=exit_code, signal=9)
        execution = execution_result(plain, context())
        good = outcome is Outcome.SUCCEEDED

        assert succeeds(execution) is good
        assert bool(execution["errorMessage"]) is bool(execution["errorCode"]) is not good
        assert execution["errorCode"] != "ok"
        assert execution["timedOut"] is (outcome is Outcome.TIMED_OUT)
        assert not execution["timedOut"] or execution["errorCode"] == "timeout"
        assert [*execution] == FIELDS.split()
        assert json.dumps(execution, allow_nan=False)


def test_a_good_run() -> None:
    execution = told(ended(), *WORKING, result())

    expected = {
        "exitCode": 0,
        "signal": None,
        "timedOut": False,
        "errorMessage": None,
        "errorCode": None,
        "errorFamily": None,
        "retryNotBefore": None,
        "errorMeta": None,
        "usage": {"inputTokens": 40, "outputTokens": 812, "cachedInputTokens": 90000},
        "usageBasis": "per_run",
        "sessionId": SESSION,
        "sessionParams": {
            "sessionId": SESSION,
            "cwd": "/paperclip/work",
            "workspaceId": "ws-1",
            "repoUrl": "https://git.example/r.git",
        },
        "sessionDisplayId": SESSION,
        "provider": "anthropic",
        "biller": "anthropic",
        "model": "claude-opus-4-6",
        "billingType": "api",
        "costUsd": 0.4197,
        "summary": "Done.",
        "clearSession": False,
        "executionRecovery": None,
    }
    assert {name: execution[name] for name in expected} == expected
    assert execution["resultJson"]["result"] == "Done."


def test_an_error_with_exit_0_is_a_failure() -> None:
    execution = told(ended(), init(), result("boom", is_error=True))

    assert (execution["exitCode"], execution["errorCode"]) == (0, "agent_error")
    assert execution["errorMessage"] == "Claude run failed: boom"
    assert execution["errorMeta"]["hint"] == TABLE[Code.AGENT_ERROR].hint
    assert execution["errorMeta"]["job"] == "ck-r"


WIRE = {
    Code.DEADLINE: "timeout",
    Code.CANCELLED: "cancelled",
    Code.JOB_DELETED: "k8s_job_deleted_externally",
    Code.TRUNCATED: "claude_truncated",
    Code.LLM_API_ERROR: "llm_api_error",
    Code.SESSION_UNAVAILABLE: "session_unavailable",
    Code.AGENT_BUSY: "k8s_concurrent_run_blocked",
    Code.ADMISSION_UNREACHABLE: "k8s_concurrency_guard_unreachable",
    Code.SECRET_REJECTED: "k8s_prompt_secret_create_failed",
    Code.JOB_REJECTED: "k8s_job_create_failed",
    Code.IMAGE_PULL: "k8s_pod_schedule_failed",
    Code.SCHEDULE_TIMEOUT: "k8s_pod_schedule_failed",
    Code.UNKNOWN: "k8s_job_state_mismatch",
    Code.MAX_TURNS: "max_turns_exhausted",
    Code.LOGIN_REQUIRED: "claude_auth_required",
    Code.UPSTREAM_UNAVAILABLE: "claude_transient_upstream",
    Code.QUOTA_EXHAUSTED: "provider_quota",
    Code.MODEL_REFUSED: "claude_refusal",
    Code.EVICTED: "evicted",
    Code.OOM_KILLED: "oom_killed",
}
"""The names that control planes know from the adapters before this one; and ours where there is none."""


@pytest.mark.parametrize(("code", "name"), WIRE.items())
def test_the_name_on_the_wire(code: Code, name: str) -> None:
    execution = execution_result(ended(None, outcome=Outcome.FAILED, code=code), context())

    assert (execution["errorCode"], execution["errorMeta"]["code"]) == (name, code.value)


def test_a_deadline_is_a_timeout_and_keeps_what_the_agent_told() -> None:
    """The old adapter dropped session, tokens and cost here."""
    end = ended(143, outcome=Outcome.TIMED_OUT, code=Code.DEADLINE, signal=15, message="it reached its deadline")
    execution = told(end, *WORKING)

    assert (execution["timedOut"], execution["errorCode"], execution["signal"]) == (True, "timeout", "SIGTERM")
    assert (execution["sessionId"], execution["usage"]["outputTokens"]) == (SESSION, 12)
    assert execution["summary"] == "Working."


# Limits, refusals, turns


def test_a_limit_is_told_to_whoever_schedules_the_retry() -> None:
    events = (init(), limit("rejected", resetsAt=1784358000), result(LIMIT, is_error=True, api_error_status=429))
    execution = told(ended(1), *events)

    moment = "2026-07-18T07:00:00Z"
    assert (execution["errorFamily"], execution["retryNotBefore"]) == ("provider_quota", moment)
    kept = {
        name: execution["resultJson"][name] for name in ("errorFamily", "retryNotBefore", "transientRetryNotBefore")
    }
    assert kept == {"errorFamily": "provider_quota", "retryNotBefore": moment, "transientRetryNotBefore": moment}


def test_an_overloaded_provider_is_transient() -> None:
    execution = told(ended(1), init(), "API Error: 529 Overloaded")

    assert (execution["errorFamily"], execution["retryNotBefore"]) == ("transient_upstream", None)
    assert execution["resultJson"] == {"errorFamily": "transient_upstream"}


def test_why_it_stopped_is_said_as_the_control_plane_reads_it() -> None:
    turns = told(ended(), result(None, subtype="error_max_turns"))
    refusal = told(ended(), result("no", stop_reason="refusal"))

    assert (turns["resultJson"]["stopReason"], turns["clearSession"]) == ("max_turns_exhausted", True)
    assert (refusal["resultJson"]["stopReason"], refusal["errorFamily"]) == ("refusal", "model_refusal")


def test_a_login_is_told_with_its_address() -> None:
    execution = told(ended(1), init(), "Please run /login at https://claude.ai/login")

    assert execution["errorCode"] == "claude_auth_required"
    assert execution["errorMeta"]["loginUrl"] == "https://claude.ai/login"


def test_a_cancel_is_acknowledged_once_the_container_was_seen_to_end() -> None:
    end = killed(9, outcome=Outcome.CANCELLED, code=Code.CANCELLED, message="cancelled")
    unseen = replace(end, exit_code=None, signal=None, finished_at=None)

    acknowledged = told(end, *WORKING)["resultJson"]["executionCancellation"]
    assert acknowledged == {"state": "acknowledged", "acknowledgedAt": "2026-07-18T06:00:00Z", "forced": True}
    assert told(unseen, *WORKING)["resultJson"] is None


# Sessions


def test_what_only_others_know_of_a_session_is_handed_on() -> None:
    execution = told(ended(), *WORKING, result(), given=resumed())

    assert execution["sessionParams"] == {
        "sessionId": SESSION,
        "cwd": "/paperclip/work",
        "workspaceId": "ws-1",
        "repoUrl": "https://git.example/r.git",
        "repoRef": "main",
        "needsCompactBeforeNextRun": True,
    }


def test_an_agent_that_never_spoke_has_the_session_it_was_given() -> None:
    """`null` would make the control plane forget it."""
    for execution in (
        told(ended(1), given=resumed()),
        execution_result(ended(None, outcome=Outcome.FAILED, code=Code.IMAGE_PULL), resumed()),
    ):
        assert (execution["sessionId"], execution["clearSession"]) == ("before", False)
        assert execution["sessionParams"] == {
            "sessionId": "before",
            "cwd": "/old",
            "repoRef": "main",
            "needsCompactBeforeNextRun": True,
        }


@pytest.mark.parametrize("more", [{"resumable": False}, {"stdout": (result(None, subtype="error_max_turns"),)}])
def test_a_session_that_cannot_be_gone_on_with_is_cleared(more: dict[str, Any]) -> None:
    stdout = more.pop("stdout", (*WORKING, result()))
    execution = told(ended(), *stdout, given=resumed(), **more)

    sessions = [execution[name] for name in ("sessionId", "sessionParams", "sessionDisplayId")]
    assert (sessions, execution["clearSession"]) == ([None, None, None], True)


def test_a_session_belongs_to_the_directory_the_agent_was_told() -> None:
    outcome = interpret(ended(), read(*WORKING, result()))

    assert execution_result(outcome, context(), cwd="/paperclip/link")["sessionParams"]["cwd"] == "/paperclip/link"


# Recovery


@pytest.mark.parametrize("code", Code)
def test_only_a_run_that_surely_never_started_may_be_run_again_by_itself(code: Code) -> None:
    end = RunResult(run_id="r", outcome=Outcome.FAILED, code=code, message="x")
    recovery = execution_result(end, context())["executionRecovery"]

    assert recovery == ({"kind": "bootstrap", "providerWorkStarted": False} if code in NEVER_STARTED else None)


@pytest.mark.parametrize(
    "change",
    [
        {"exit_code": 1},
        {"started_at": "2026-07-18T06:00:00Z"},
        {"agent": {"lines": 1}},
        {"outcome": Outcome.UNKNOWN},
        {"outcome": Outcome.CANCELLED},
    ],
)
def test_whatever_was_seen_of_a_container_forbids_it(change: dict[str, Any]) -> None:
    end = RunResult(run_id="r", outcome=Outcome.FAILED, code=Code.IMAGE_PULL, message="x")

    assert execution_result(replace(end, **change), context())["executionRecovery"] is None


MAYBE = (
    "start_timeout config_error start_error api_unreachable forbidden unauthorized conflict evicted node_lost internal"
)


@pytest.mark.parametrize("code", [*map(Code, MAYBE.split())])
def test_what_may_have_started_is_not_among_them(code: Code) -> None:
    assert code not in NEVER_STARTED


def test_a_model_is_the_configured_one_where_the_agent_named_none() -> None:
    assert told(ended(1), given=context(config={"model": "claude-haiku-4-5"}))["model"] == "claude-haiku-4-5"
    assert told(ended(1))["model"] is None


def test_what_is_not_known_is_null() -> None:
    execution = execution_result(ended(1), context())

    names = ("usage", "sessionId", "sessionParams", "sessionDisplayId", "model", "costUsd", "resultJson", "summary")
    assert {name: execution[name] for name in names} == dict.fromkeys(names)


def test_an_assistant_that_only_spoke_is_summed_up() -> None:
    execution = told(ended(1), init(), assistant(text("One."), tokens=1), assistant(text("Two."), tokens=5))

    assert (execution["errorCode"], execution["summary"]) == ("claude_truncated", "One.\n\nTwo.")
    assert execution["usage"] == {"inputTokens": 4, "outputTokens": 5, "cachedInputTokens": 15000}
