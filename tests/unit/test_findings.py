"""From a container's end and the agent's transcript to the one result: the code, the words, and what is attached."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.agent.bounds import size
from adapter.agent.failures import login_url
from adapter.agent.findings import AGENT_BYTES, interpret
from adapter.agent.transcript import Transcript
from adapter.errors import TABLE, Code
from adapter.run import LogSummary, Outcome, RunResult
from tests.stream_json import SESSION, assistant, init, result, text, tool_result, tool_use
from tests.unit.ends import (
    INCOMPLETE,
    LIMIT,
    STDERR,
    TABLE_OF_ENDS,
    UNKNOWN_SESSION,
    WORKING,
    ended,
    killed,
    limit,
)
from tests.unit.transcripts import STREAMS, read


@pytest.mark.parametrize("name", TABLE_OF_ENDS)
def test_what_a_run_came_to(name: str) -> None:
    end, stdout, code, words = TABLE_OF_ENDS[name]
    told = interpret(end, read(*stdout), stderr=STDERR.get(name, ""))

    assert (told.code, told.ok) == (code, code is Code.OK)
    assert words in told.message
    assert (told.hint, told.transient) == (
        (TABLE[code].hint, TABLE[code].transient) if code is not end.code else ("", False)
    )
    assert (told.exit_code, told.reason, told.job) == (end.exit_code, end.reason, "ck-r")
    assert "{" not in told.message
    assert "\n" not in told.message


@pytest.mark.parametrize("name", TABLE_OF_ENDS)
def test_a_container_that_was_ended_by_others_keeps_its_end(name: str) -> None:
    """Law 2: why it ended is what was observed. What the agent told is attached all the same."""
    _, stdout, _, _ = TABLE_OF_ENDS[name]
    for outcome, code in (
        (Outcome.CANCELLED, Code.CANCELLED),
        (Outcome.TIMED_OUT, Code.DEADLINE),
        (Outcome.DELETED, Code.JOB_DELETED),
        (Outcome.DELETED, Code.POD_DELETED),
        (Outcome.FAILED, Code.EVICTED),
        (Outcome.FAILED, Code.OOM_KILLED),
        (Outcome.FAILED, Code.START_ERROR),
        (Outcome.UNKNOWN, Code.STATUS_UNKNOWN),
        (Outcome.DETACHED, Code.DETACHED),
    ):
        told = interpret(ended(137, outcome=outcome, code=code, message="as it was seen"), read(*stdout))

        assert (told.outcome, told.code, told.message) == (outcome, code, "as it was seen")
        assert told.agent is not None
        assert told.agent["lines"] == len(stdout)


@pytest.mark.parametrize("outcome", [one for one in Outcome if one is not Outcome.SUCCEEDED])
@pytest.mark.parametrize("code", Code)
def test_what_is_no_success_always_has_a_message(outcome: Outcome, code: Code) -> None:
    end = ended(None, outcome=outcome, code=code, message="")

    assert interpret(end, Transcript()).message
    assert interpret(end, read(*WORKING)).message


# Sessions


@pytest.mark.parametrize(
    "error",
    [
        UNKNOWN_SESSION,
        result("unknown session", is_error=True),
        result("Session 123 not found", is_error=True),
        result(
            None, is_error=True, errors=["diagnostics.previous_message_id: must be a value that starts with `msg_`"]
        ),
    ],
)
def test_a_session_that_is_gone(error: dict[str, Any]) -> None:
    told = interpret(ended(1), read(error), resumed=True)

    assert told.code is Code.SESSION_UNAVAILABLE
    assert told.agent is not None
    assert told.agent["clear_session"] is True


def test_a_session_that_stderr_says_is_gone() -> None:
    told = interpret(ended(1), read(), stderr="No conversation found with session ID: 8098\n", resumed=True)

    assert told.code is Code.SESSION_UNAVAILABLE


def test_a_run_that_resumed_nothing_cannot_lack_a_session() -> None:
    assert interpret(ended(1), read(UNKNOWN_SESSION)).code is Code.AGENT_ERROR
    assert interpret(ended(1), read(result("file not found", is_error=True)), resumed=True).code is Code.AGENT_ERROR


@pytest.mark.parametrize(
    ("events", "resumable", "clear"),
    [
        ((result(),), True, False),
        ((result(),), False, True),
        ((result(None, subtype="error_max_turns"),), True, True),
        ((result("Prompt is too long", is_error=True),), True, True),
        ((result("boom", is_error=True),), True, False),
        (WORKING, True, False),
    ],
)
def test_when_the_session_is_not_gone_on_with(events: tuple[Any, ...], resumable: bool, clear: bool) -> None:
    told = interpret(ended(), read(*events), resumable=resumable)

    assert told.agent is not None
    assert told.agent["clear_session"] is clear


# Limits and logins


@pytest.mark.parametrize(
    ("events", "moment"),
    [
        ((result(LIMIT, is_error=True, api_error_status=429),), "2026-07-18T07:00:00Z"),
        ((limit("rejected", resetsAt=1784358000), result(LIMIT, is_error=True)), "2026-07-18T07:00:00Z"),
        ((limit("rejected", resetsAt=1784361600000), result(LIMIT, is_error=True)), "2026-07-18T08:00:00Z"),
        ((limit("rejected", resetsAt=10**15), result("You've hit your limit", is_error=True)), None),
        ((limit("rejected", resetsAt="soon"), result("You've hit your limit", is_error=True)), None),
        ((limit("rejected", resetsAt=1), result("You've hit your limit", is_error=True)), None),
        ((result("API Error: 529 Overloaded", is_error=True),), None),
        ((result("Not logged in · resets 9am (UTC)", is_error=True),), None),
    ],
)
def test_when_it_may_be_tried_again(events: tuple[Any, ...], moment: str | None) -> None:
    told = interpret(ended(1), read(*events))

    assert told.agent is not None
    assert told.agent["retry_not_before"] == moment


def test_without_a_clock_only_a_moment_counts() -> None:
    end = ended(1, finished_at=None)
    words, number = result(LIMIT, is_error=True), limit("rejected", resetsAt=1784358000)

    assert (interpret(end, read(words)).agent or {})["retry_not_before"] is None
    assert (interpret(end, read(number, words)).agent or {})["retry_not_before"] == "2026-07-18T07:00:00Z"
    assert interpret(replace(end, finished_at="noon"), read(words)).code is Code.QUOTA_EXHAUSTED


def test_a_login_is_told_with_its_address() -> None:
    asked = ("Please run /login: open https://claude.ai/oauth/authorize?code=true.", init())
    told = interpret(ended(1), read(*asked), stderr="see https://example.com")

    assert told.code is Code.LOGIN_REQUIRED
    assert told.agent is not None
    assert told.agent["login_url"] == "https://claude.ai/oauth/authorize?code=true"
    assert "https://claude.ai/oauth/authorize?code=true" in told.message


@pytest.mark.parametrize("where", ["stdout", "stderr"])
def test_a_login_beside_the_protocol_is_told_with_its_address(where: str) -> None:
    asked = "Please run /login: open https://claude.ai/oauth/authorize?code=true."
    beside = (init(), asked) if where == "stdout" else (init(),)
    told = interpret(ended(1), read(*beside), stderr=asked if where == "stderr" else "")

    assert told.code is Code.LOGIN_REQUIRED
    assert (told.agent or {})["login_url"] == "https://claude.ai/oauth/authorize?code=true"


@pytest.mark.parametrize(
    ("words", "url"),
    [
        ("nothing here", None),
        ("go to (https://console.anthropic.com/login).", "https://console.anthropic.com/login"),
        ("https://a.example/x, then https://claude.ai/login!", "https://claude.ai/login"),
        ("https://a.example/x.", "https://a.example/x"),
    ],
)
def test_the_address_of_a_login(words: str, url: str | None) -> None:
    assert login_url([words]) == url


@pytest.mark.parametrize(
    "stderr",
    [
        'MCP server "planetscale": unauthorized, requires login',
        "mcp: connect ECONNREFUSED 127.0.0.1:3000",
        "fetch failed",
        "npm warn: rate limit",
    ],
)
def test_what_a_tool_server_says_is_not_the_agents_failure(stderr: str) -> None:
    assert interpret(ended(1), read(init()), stderr=stderr).code is Code.EXIT_CODE


def test_after_a_kill_nothing_beside_the_protocol_explains_it() -> None:
    assert interpret(killed(9), read(init()), stderr="Please run /login").code is Code.SIGNALLED


# Logs that are not whole


def test_a_missing_result_is_not_blamed_on_the_agent_where_the_log_has_a_gap() -> None:
    good = interpret(ended(log=INCOMPLETE), read(*WORKING))
    bad = interpret(ended(1, log=INCOMPLETE), read(*WORKING))

    assert (good.outcome, good.code) == (Outcome.SUCCEEDED, Code.OK)
    assert any("the log is incomplete" in warning for warning in good.warnings)
    assert bad.code is Code.EXIT_CODE
    assert "the log is incomplete" in bad.message


def test_a_line_that_was_lost_may_have_been_the_result() -> None:
    transcript = Transcript.from_json(read(init()).to_json() | {"cut": True})
    transcript.feed(b"\n")

    assert interpret(ended(), transcript).ok


def test_an_error_that_was_seen_counts_in_a_log_with_a_gap() -> None:
    seen = (init(), result("boom", is_error=True))

    assert interpret(ended(log=INCOMPLETE), read(*seen)).code is Code.AGENT_ERROR
    after = interpret(ended(log=INCOMPLETE), read(*seen, assistant(text("going on"), message="m2")))
    assert (after.code, len(after.warnings)) == (Code.OK, 1)


def test_what_was_said_after_the_last_result_is_a_warning() -> None:
    told = interpret(ended(), read(*WORKING, result(), assistant(text("more"), message="m2")))

    assert told.ok
    assert told.warnings == ("the agent went on after its last result, and told no other",)


# What the pod says


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (ended(1, "Error", termination_message="out of disk"), "[pod: reason=Error, message=out of disk]"),
        (ended(1, "Error", termination_message='ult":"x"}\n{"type":"result"}\n'), "[pod: reason=Error]"),
        (ended(1, "Error", termination_message='{"type":"result"}\nPanic!'), "[pod: reason=Error, message=Panic!]"),
        (killed(9), "[pod: reason=Error, signal=SIGKILL]"),
        (ended(1, signal=99), "signal=SIG99]"),
    ],
)
def test_the_pods_cause_is_appended(end: RunResult, words: str) -> None:
    assert interpret(end, read()).message.endswith(words)


def test_a_pod_that_says_nothing_adds_nothing() -> None:
    assert interpret(replace(ended(1), reason=None), read()).message == "Claude exited with code 1"


def test_without_an_exit_code_the_message_says_so() -> None:
    end = ended(None, outcome=Outcome.FAILED, code=Code.EXIT_CODE, reason=None)

    assert "code -1" in interpret(replace(end, reason=None), read()).message
    assert "pod state unavailable" in interpret(replace(end, reason=None), read(*WORKING)).message
    assert "no exit code" in interpret(replace(end, reason="Error"), read(*WORKING)).message


def test_stderr_says_why_where_stdout_does_not() -> None:
    noise = "(node:1) Warning: x\nTypeError: cannot read y\n    at z (/app/cli.js:1)\n"

    assert "code 1: TypeError: cannot read y [pod" in interpret(ended(1), read(), stderr=noise).message
    assert "code 1: last words [pod" in interpret(ended(1), read(), stderr="first\nlast words\n").message
    assert "{" not in interpret(ended(1), read(), stderr='{"error":"x"}').message


# What is attached


def test_what_the_agent_told_is_attached() -> None:
    told = interpret(ended(), read(*WORKING, assistant(tool_use()), tool_result(error=True), result()), stderr="warn\n")

    assert told.agent is not None
    kept = {name: told.agent[name] for name in ("session_id", "model", "summary", "turns", "cost_usd", "tool_errors")}
    assert kept == {
        "session_id": SESSION,
        "model": "claude-opus-4-6",
        "summary": "Done.",
        "turns": 7,
        "cost_usd": 0.4197,
        "tool_errors": 1,
    }
    assert told.agent["usage"] == {"input": 40, "output": 812, "cache_read": 90000, "cache_creation": 900}
    assert told.agent["result"]["result"] == "Done."
    assert told.agent["stderr"] == "warn\n"
    assert RunResult.from_json(json.loads(json.dumps(told.to_json()))) == told


def test_secrets_stand_nowhere() -> None:
    secret, other = "sk-ant-0123456789", "89-and-more"  # they overlap
    leak = f"key {secret}-and-more and abc"
    end = ended(1, termination_message=leak, warnings=(leak,))
    run = read(init(), leak, result(leak, is_error=True, extra={leak: [leak]}))
    told = interpret(end, run, stderr=leak, secrets=[secret, other, "abc", ""])

    for each in (told.to_json(), repr(told)):
        written = json.dumps(each)
        assert "sk-ant" not in written
        assert "and-more" not in written
        assert "*** and abc" in written
    assert told.message == "Claude run failed: key *** and abc"


def test_what_a_cut_left_of_a_secret_goes_too() -> None:
    secret = "0123456789abcdef" * 4
    said = "x" * (32 * 1024 - 20) + secret + "y" * 90_000
    told = interpret(ended(), read(result(said)), stderr=secret * 99, secrets=[secret])

    assert "01234567" not in json.dumps(told.to_json())


@settings(deadline=None, max_examples=200)
@given(
    data=STREAMS,
    stderr=st.text(max_size=60),
    exit_code=st.sampled_from([0, 1, 137, None]),
    complete=st.booleans(),
    resumed=st.booleans(),
)
def test_whatever_was_written_the_result_is_one_that_can_be_told(
    data: bytes, stderr: str, exit_code: int | None, complete: bool, resumed: bool
) -> None:
    end = killed(9) if exit_code == 137 else ended(exit_code)
    end = replace(end, log=LogSummary(complete=complete))
    told = interpret(end, read(data), stderr=stderr, resumed=resumed, secrets=["type", "plain text"])

    assert told.ok <= (not exit_code)
    assert told.message
    assert "plain text" not in json.dumps(told.to_json())
    assert size(told.agent) <= AGENT_BYTES
    assert json.dumps(told.to_json(), allow_nan=False, ensure_ascii=False).encode()
