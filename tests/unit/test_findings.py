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
from tests.unit.test_transcript import STREAMS, api_error, empty_answer, read

FINISHED = "2026-07-18T06:00:00Z"
LIMIT = "You've hit your session limit · resets 9am (Europe/Berlin)"


def ended(exit_code: int | None = 0, reason: str | None = None, **more: Any) -> RunResult:
    """What the container's end came to, before anybody has read what the agent told."""
    code = Code.EXIT_CODE if exit_code else Code.OK
    outcome = Outcome.FAILED if exit_code else Outcome.SUCCEEDED
    words = f"claude: terminated (exit {exit_code}, {reason or ('Error' if exit_code else 'Completed')})"
    reason = reason or ("Error" if exit_code else "Completed")
    plain = RunResult(run_id="r", outcome=outcome, code=code, message=words, exit_code=exit_code, reason=reason)
    return replace(plain, **{"finished_at": FINISHED, "job": "ck-r", "started_at": "2026-07-18T05:00:00Z"} | more)


def killed(signal: int, **more: Any) -> RunResult:
    changes: dict[str, Any] = {"code": Code.SIGNALLED, "signal": signal} | more
    return replace(ended(128 + signal), **changes)


INCOMPLETE = LogSummary(complete=False, notes=("a gap",))
WORKING = (init(), assistant(text("Working.")))
UNKNOWN_SESSION = result(
    None, subtype="error_during_execution", is_error=True, errors=["No conversation found with session ID: 8098"]
)


def limit(status: str, **more: Any) -> dict[str, Any]:
    return {"type": "rate_limit_event", "rate_limit_info": {"status": status} | more}


# The agent's own failures: (how the container ended, what it wrote, the code, words of the message)

TABLE_OF_ENDS: dict[str, tuple[RunResult, tuple[Any, ...], Code, str]] = {
    "a good run": (ended(), (*WORKING, result()), Code.OK, "claude: terminated (exit 0, Completed)"),
    "an error with exit 0": (
        ended(),
        (init(), result("boom", is_error=True)),
        Code.AGENT_ERROR,
        "Claude run failed: boom",
    ),
    "an error with a subtype": (
        ended(1),
        (init(), result(None, subtype="error_during_execution", is_error=True, errors=[{"message": "it broke"}])),
        Code.AGENT_ERROR,
        "Claude run failed: subtype=error_during_execution: it broke",
    ),
    "an error that says nothing": (
        ended(1),
        (init(), result(None, subtype="error_during_execution", is_error=True)),
        Code.AGENT_ERROR,
        "Claude run failed: subtype=error_during_execution",
    ),
    "max turns": (
        ended(),
        (init(), result(None, subtype="error_max_turns", is_error=False)),
        Code.MAX_TURNS,
        "Claude run failed: subtype=error_max_turns",
    ),
    "max turns by a field": (
        ended(1),
        (result("x", is_error=True, terminal_reason="max_turns"),),
        Code.MAX_TURNS,
        "x",
    ),
    "max turns by its stop reason": (
        ended(1),
        (result("x", is_error=True, stop_reason="max_turns"),),
        Code.MAX_TURNS,
        "x",
    ),
    "max turns in words": (
        ended(1),
        (result("Reached Maximum Number of Turns (5)", is_error=True),),
        Code.MAX_TURNS,
        "Reached Maximum Number of Turns (5)",
    ),
    "not logged in": (
        ended(1),
        (init(), result("Not logged in · Please run /login", is_error=True)),
        Code.LOGIN_REQUIRED,
        "Not logged in",
    ),
    "a login that a list of errors tells": (
        ended(1),
        (init(), result(None, subtype="error_during_execution", is_error=True, errors=["x", "Please run /login"])),
        Code.LOGIN_REQUIRED,
        "Please run /login",
    ),
    "a refused key": (
        ended(1),
        (init(), api_error("authentication_failed", "Invalid API key"), result("Invalid API key", is_error=True)),
        Code.LOGIN_REQUIRED,
        "Invalid API key",
    ),
    "a 401": (ended(), (result("API Error", is_error=True, api_error_status=401),), Code.LOGIN_REQUIRED, "API Error"),
    "a login that stderr tells": (ended(1), (init(),), Code.LOGIN_REQUIRED, "OAuth token has expired"),
    "a session limit": (
        ended(1),
        (init(), api_error("rate_limit", LIMIT), result(LIMIT, is_error=True, api_error_status=429)),
        Code.QUOTA_EXHAUSTED,
        LIMIT,
    ),
    "no credit": (ended(), (result("Credit balance is too low", is_error=True),), Code.QUOTA_EXHAUSTED, "Credit"),
    "a limit that was told, with words that are new": (
        ended(1),
        (limit("rejected", resetsAt=1784358000), result("Come back later", is_error=True, api_error_status=429)),
        Code.QUOTA_EXHAUSTED,
        "Come back later",
    ),
    "a limit that was told by plain text alone, with exit 0": (
        ended(),
        (LIMIT,),
        Code.QUOTA_EXHAUSTED,
        f"Claude ended without a result: {LIMIT}",
    ),
    "overloaded": (
        ended(1),
        (result("API Error: 529 Overloaded. This is a server-side issue", is_error=True),),
        Code.UPSTREAM_UNAVAILABLE,
        "529",
    ),
    "a rate limit of requests": (
        ended(1),
        (limit("allowed"), result("Request rejected (429)", is_error=True, api_error_status=429)),
        Code.UPSTREAM_UNAVAILABLE,
        "Request rejected (429)",
    ),
    "an answer that was no answer": (
        ended(),
        (result("API Error: API returned an empty or malformed response (HTTP 200)", is_error=True),),
        Code.UPSTREAM_UNAVAILABLE,
        "malformed",
    ),
    "cut off while its provider was overloaded": (
        ended(1),
        (*WORKING, {"type": "system", "subtype": "api_retry", "error_status": 529, "error": "overloaded"}),
        Code.UPSTREAM_UNAVAILABLE,
        TABLE[Code.UPSTREAM_UNAVAILABLE].meaning,
    ),
    "too long a prompt": (ended(1), (result("Prompt is too long", is_error=True),), Code.CONTEXT_OVERFLOW, "too long"),
    "too long a prompt, by a field": (
        ended(1),
        (result("", is_error=True, terminal_reason="blocking_limit"),),
        Code.CONTEXT_OVERFLOW,
        "Claude run failed",
    ),
    "an unknown model": (
        ended(1),
        (result("There's an issue with the selected model (opsu)", is_error=True),),
        Code.MODEL_NOT_FOUND,
        "opsu",
    ),
    "a refusal": (ended(), (*WORKING, result("I can't.", stop_reason="refusal")), Code.MODEL_REFUSED, "I can't."),
    "an empty answer that is explained": (
        ended(1),
        (init(), empty_answer(), result("API Error: 529 Overloaded", is_error=True)),
        Code.UPSTREAM_UNAVAILABLE,
        "529",
    ),
    "an empty answer": (ended(1), (init(), empty_answer()), Code.LLM_API_ERROR, "LLM API returned an empty response"),
    "cut off": (ended(1), WORKING, Code.TRUNCATED, "truncated mid-stream (model: claude-opus-4-6)"),
    "cut off with exit 0": (ended(), WORKING, Code.TRUNCATED, "container exited with code 0"),
    "cut off by SIGKILL": (killed(9), WORKING, Code.TRUNCATED, "exited with code 137 (SIGKILL, most often for memory)"),
    "cut off by SIGTERM": (killed(15), WORKING, Code.TRUNCATED, "exited with code 143 (SIGTERM)"),
    "cut off after an earlier result": (
        ended(1),
        (*WORKING, result(), assistant(text("again"), message="m2")),
        Code.TRUNCATED,
        "truncated",
    ),
    "nothing at all": (ended(), (), Code.NO_RESULT, "Failed to parse Claude JSON output"),
    "no JSON": (ended(), ("hello",), Code.NO_RESULT, "Failed to parse Claude JSON output: hello"),
    "started only": (
        ended(),
        (init(),),
        Code.NO_RESULT,
        "Claude started but did not produce a result (model: claude-opus-4-6)",
    ),
    "init only, and a failure": (
        ended(1),
        (init(),),
        Code.EXIT_CODE,
        "Claude exited immediately after init (model: claude-opus-4-6) (exit code 1)",
    ),
    "a failure without a word": (ended(1), (), Code.EXIT_CODE, "Claude exited with code 1 [pod: reason=Error]"),
    "a failure with a line of text": (
        ended(1),
        (init(), init(), "error: unknown option '--frob'"),
        Code.EXIT_CODE,
        "Claude exited with code 1: error: unknown option '--frob'",
    ),
    "a failure after events that say nothing": (
        ended(1),
        (init(), limit("allowed"), tool_result(), empty_answer(stop_reason="x")),
        Code.EXIT_CODE,
        "Claude started but did not produce a result (model: claude-opus-4-6) (exit code 1)",
    ),
    "a failure after a good result": (
        ended(1),
        (*WORKING, result()),
        Code.EXIT_CODE,
        "Claude exited with code 1 after a result without an error",
    ),
    "killed after a good result": (killed(9), (*WORKING, result()), Code.SIGNALLED, "signal=SIGKILL"),
    "killed before it spoke": (killed(9), (init(),), Code.SIGNALLED, "signal=SIGKILL"),
    "tools that failed": (ended(), (*WORKING, tool_result(error=True), result()), Code.OK, "exit 0"),
    "a sub-agent's error": (
        ended(),
        (*WORKING, result("no", is_error=True, parent_tool_use_id="t"), result()),
        Code.OK,
        "exit 0",
    ),
    "a good run whose text tells of limits": (
        ended(),
        (*WORKING, result("I fixed the rate limit; 401s too. Not logged in is shown.")),
        Code.OK,
        "exit 0",
    ),
}
STDERR = {"a login that stderr tells": "OAuth token has expired"}


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
