"""A run's result as the control plane's adapters give it: `AdapterExecutionResult`, all of its fields, camelCase.

Its rule (paperclip 2026.916.1): `timedOut` is timed out, whatever else is said; an exit code of 0 *or none*, without
an error message and a signal, is a success, and an error code alone does not change that. So a success carries neither
message nor signal here, and everything else always has a message.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapter.agent.context import RunContext
from adapter.agent.explain import signal_name
from adapter.agent.session import deserialize
from adapter.errors import TABLE, Code, wire_name
from adapter.run import Outcome, RunResult

NEVER_STARTED = frozenset(
    {
        Code.IMAGE_PULL,
        Code.IMAGE_INVALID,
        Code.UNSCHEDULABLE,
        Code.SCHEDULE_TIMEOUT,
        Code.POD_SECURITY,
        Code.POD_QUOTA,
        Code.SERVICE_ACCOUNT,
        Code.POD_REJECTED,
        Code.INIT_FAILED,
        Code.NAMESPACE,
        Code.JOB_REJECTED,
        Code.SECRET_REJECTED,
        Code.ADMISSION_UNREACHABLE,
        Code.AGENT_BUSY,
        Code.INVALID_REQUEST,
    }
)
"""Ends in which the agent's container surely never ran, so that the control plane may run the work again.

Not among them: an API server that did not answer (it may have let the Job run all the same), a start that took too
long (it may have come in the very moment), and another request's Job under the same name.
"""

_STOP_REASONS = {Code.MAX_TURNS: "max_turns_exhausted", Code.MODEL_REFUSED: "refusal"}

_USAGE = {"inputTokens": "input", "outputTokens": "output", "cachedInputTokens": "cache_read"}


def execution_result(result: RunResult, context: RunContext, *, cwd: str | None = None) -> dict[str, Any]:
    """The result for the control plane that asked for the run with this context. Plain JSON.

    `cwd` is the directory that the agent was told to work in; where it is not given, the one it says it was in. A
    session can only be resumed from there.
    """
    agent = result.agent or {}
    session, spoke = _session_id(agent, context), bool(agent.get("session_id"))
    failure = _failure(result, agent)
    return {
        **_ending(result),
        **failure,
        "usage": _usage(agent.get("usage")),
        "usageBasis": "per_run",
        "sessionId": session,
        "sessionParams": _session_params(session, (cwd or agent.get("cwd")) if spoke else None, context),
        "sessionDisplayId": session,
        "provider": "anthropic",
        "biller": "anthropic",
        "model": agent.get("model") or context.config.get("model") or None,
        "billingType": "api",
        "costUsd": agent.get("cost_usd"),
        "resultJson": _result_json(result, agent, failure),
        "summary": agent.get("summary") or None,
        "clearSession": bool(agent.get("clear_session")),
        "executionRecovery": {"kind": "bootstrap", "providerWorkStarted": False} if _never_started(result) else None,
    }


def _ending(result: RunResult) -> dict[str, Any]:
    return {
        "exitCode": result.exit_code,
        "signal": None if result.ok else signal_name(result.signal),
        "timedOut": result.outcome is Outcome.TIMED_OUT,
    }


def _failure(result: RunResult, agent: Mapping[str, Any]) -> dict[str, Any]:
    if result.ok:
        return dict.fromkeys(("errorMessage", "errorCode", "errorFamily", "retryNotBefore", "errorMeta"))
    row = TABLE[result.code]
    family = row.family if result.outcome is Outcome.FAILED else ""
    return {
        "errorMessage": result.message.strip() or (row.meaning if result.code is not Code.OK else _NOTHING_SAID),
        "errorCode": _error_code(result),
        "errorFamily": family or None,
        "retryNotBefore": agent.get("retry_not_before") if family else None,
        "errorMeta": _meta(result, agent),
    }


_NOTHING_SAID = "The run did not succeed, and nothing says why."


def _error_code(result: RunResult) -> str:
    """The outcome decides where it has a code of its own; a failure is never `ok`."""
    by_outcome = {Outcome.TIMED_OUT: Code.DEADLINE, Outcome.CANCELLED: Code.CANCELLED}
    code = by_outcome.get(result.outcome, result.code)
    return wire_name(Code.UNKNOWN if code is Code.OK else code)


def _meta(result: RunResult, agent: Mapping[str, Any]) -> dict[str, Any]:
    told = {
        "outcome": result.outcome.value,
        "code": result.code.value,
        "hint": result.hint or TABLE[result.code].hint,
        "transient": result.transient,
        "reason": result.reason,
        "job": result.job,
        "pod": result.pod,
        "loginUrl": agent.get("login_url"),
    }
    return {name: value for name, value in told.items() if value not in (None, "")}


def _usage(usage: Mapping[str, int] | None) -> dict[str, int] | None:
    return {name: usage.get(kind, 0) for name, kind in _USAGE.items()} if usage else None


def _session_id(agent: Mapping[str, Any], context: RunContext) -> str | None:
    """The agent's session; one that never spoke has the session it was given, which the control plane keeps so."""
    return None if agent.get("clear_session") else agent.get("session_id") or context.session_id


def _session_params(session: str | None, cwd: str | None, context: RunContext) -> dict[str, Any] | None:
    """What the next run needs to go on with the session. Fields that only others know are handed on as they came."""
    if session is None:
        return None
    before = deserialize({**(context.runtime.session_params or {}), "sessionId": session}) or {}
    if cwd is None:
        return before  # the agent never spoke: where it would have worked says nothing of the session
    workspace = {name: context.workspace.get(name) for name in ("workspaceId", "repoUrl", "repoRef")}
    now = {"cwd": cwd, **workspace}
    return deserialize(before | {name: value for name, value in now.items() if value})


def _result_json(result: RunResult, agent: Mapping[str, Any], failure: Mapping[str, Any]) -> dict[str, Any] | None:
    """The agent's own result with what the control plane looks for in it: it keeps this, and not the fields beside."""
    told = dict(agent.get("result") or {})
    told |= {name: failure[name] for name in ("errorFamily", "retryNotBefore") if failure[name]}
    if failure["retryNotBefore"]:
        told["transientRetryNotBefore"] = failure["retryNotBefore"]
    if not result.ok and result.code in _STOP_REASONS:
        told["stopReason"] = _STOP_REASONS[result.code]
    if result.outcome is Outcome.CANCELLED and result.finished_at:
        told["executionCancellation"] = {
            "state": "acknowledged",
            "acknowledgedAt": result.finished_at,
            "forced": signal_name(result.signal) == "SIGKILL",
        }
    return told or None


def _never_started(result: RunResult) -> bool:
    seen = result.exit_code is not None or result.started_at is not None or (result.agent or {}).get("lines")
    return result.outcome is Outcome.FAILED and result.code in NEVER_STARTED and not seen
