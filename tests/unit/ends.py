"""How a container ended, what the agent wrote, and what that comes to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from adapter.errors import TABLE, Code
from adapter.run import LogSummary, Outcome, RunResult
from tests.stream_json import assistant, init, result, text, tool_result
from tests.unit.transcripts import api_error, empty_answer

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
