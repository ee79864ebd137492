"""What an agent's run came to: the container's end, and what the agent's own transcript makes of it. Pure.

The container's truth comes first. Only an exit of the agent's own is looked into: a cancel, a deadline, an eviction, a
deletion, a kill for memory or a pod that never started keep their outcome and their code, whatever was said. What the
agent told (session, tokens, cost, summary) is attached to every result.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from adapter.agent import explain, failures
from adapter.agent.bounds import clip, last_bytes, shortened
from adapter.agent.failures import Evidence
from adapter.agent.redaction import Redactor
from adapter.agent.transcript import Transcript
from adapter.errors import TABLE, Code
from adapter.run import Outcome, RunResult

AGENT_BYTES = 128 * 1024
"""The most that `RunResult.agent` is as JSON."""

STDERR_BYTES = 4000

_OWN_END = frozenset({Code.OK, Code.EXIT_CODE, Code.SIGNALLED})
_ENDS_SESSION = frozenset({Code.MAX_TURNS, Code.SESSION_UNAVAILABLE, Code.CONTEXT_OVERFLOW})
"""Going on with the same session would end in the same way."""

_LIMITS = frozenset({Code.QUOTA_EXHAUSTED, Code.UPSTREAM_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class _Finding:
    """What the agent's end means. Without a code, the one that the container's end has is kept."""

    code: Code | None = None
    message: str = ""
    warning: str = ""
    retry_not_before: str | None = None
    login_url: str | None = None


def interpret(
    result: RunResult,
    transcript: Transcript,
    *,
    stderr: str = "",
    resumed: bool = False,
    resumable: bool = True,
    secrets: Iterable[str] = (),
) -> RunResult:
    """The result with what the agent told in `agent`, and with the code of the agent's own failure, if it had one.

    `stderr` is the end of the agent's second log. `resumed`: the run was to go on with an earlier session.
    `resumable`: the session outlives the pod. `secrets` are values that stand nowhere in what is returned.
    """
    result = _with_its_beginning(result, transcript)
    stderr = last_bytes(stderr, STDERR_BYTES)
    finding = _own_end(result, transcript, stderr, resumed) if result.code in _OWN_END else _Finding()
    told = _with(result, finding)
    agent = _agent(transcript, stderr, finding, clear=told.code in _ENDS_SESSION or not resumable)
    return _redacted(replace(told, agent=agent), Redactor(secrets))


def _with_its_beginning(result: RunResult, transcript: Transcript) -> RunResult:
    """The result of a log that does not begin with the agent's first event: the kubelet has rotated it away."""
    if not transcript.spoke or transcript.started or not result.log.complete:
        return result
    note = "log incomplete: its beginning was not there any more when it was read (rotated on the node)"
    return replace(result, log=replace(result.log, complete=False, notes=(*result.log.notes, note)))


def _own_end(result: RunResult, transcript: Transcript, stderr: str, resumed: bool) -> _Finding:
    """What to make of an exit of the agent's own."""
    whole = result.log.complete and not transcript.lost
    last = transcript.result is not None and (not transcript.truncated or (whole and result.ok))
    signalled = result.code is Code.SIGNALLED
    evidence = Evidence.of(transcript, stderr, resumed=resumed, trusted=last, loose=not last and not signalled)
    if last:
        return _by_result(result, transcript, evidence, stderr)
    if result.ok and not whole:
        return _Finding(warning="the log is incomplete: the agent's result was not seen, only that it exited with 0")
    return _without_result(result, transcript, evidence, stderr, whole)


def _by_result(result: RunResult, transcript: Transcript, evidence: Evidence, stderr: str) -> _Finding:
    if failures.refused(transcript):
        return _Finding(Code.MODEL_REFUSED, explain.failure(transcript, transcript.summary or "the model refused"))
    if transcript.failed:
        code, words = failures.recognise(evidence) or (Code.AGENT_ERROR, evidence.detail)
        return _found(code, explain.failure(transcript, words), result, transcript, evidence)
    if result.ok:
        return _Finding(warning=_left_over(transcript))
    return _Finding(message=explain.despite_success(result, stderr))


def _without_result(
    result: RunResult, transcript: Transcript, evidence: Evidence, stderr: str, whole: bool
) -> _Finding:
    known = failures.recognise(evidence)
    if known:
        words = known[1] or TABLE[known[0]].meaning
        return _found(known[0], f"Claude ended without a result: {words}", result, transcript, evidence)
    if not whole:
        text = explain.partial(result, transcript, stderr)
        return _Finding(message=f"{text}; the log is incomplete, so what the agent said last may be missing")
    if transcript.api_empty:
        return _Finding(Code.LLM_API_ERROR, explain.EMPTY_ANSWER)
    if transcript.truncated:
        return _Finding(Code.TRUNCATED, explain.truncation(result, transcript))
    return _Finding(Code.NO_RESULT if result.ok else None, explain.partial(result, transcript, stderr))


def _found(code: Code, message: str, result: RunResult, transcript: Transcript, evidence: Evidence) -> _Finding:
    """A failure that the agent has told, with what else it said for it."""
    reset = failures.reset_time(evidence, transcript, _time(result.finished_at)) if code in _LIMITS else None
    url = failures.login_url((*evidence.errors, *evidence.loose)) if code is Code.LOGIN_REQUIRED else None
    if url and url not in message:
        message += f" (log in at {url})"
    return _Finding(code, message, retry_not_before=reset, login_url=url)


def _left_over(transcript: Transcript) -> str:
    return "the agent went on after its last result, and told no other" if transcript.truncated else ""


def _with(result: RunResult, finding: _Finding) -> RunResult:
    """The result as the finding changes it. One that is no success always has a message."""
    warnings = (*result.warnings, finding.warning) if finding.warning else result.warnings
    code = finding.code or result.code
    row = TABLE[code]
    outcome = Outcome.FAILED if finding.code else result.outcome
    message = clip(finding.message, explain.MESSAGE_BYTES) or result.message or row.meaning
    if code is result.code:
        return replace(result, message=message, warnings=warnings)
    return replace(
        result,
        outcome=outcome,
        code=code,
        message=message,
        hint=row.hint,
        transient=row.transient,
        warnings=warnings,
    )


def _agent(transcript: Transcript, stderr: str, finding: _Finding, *, clear: bool) -> dict[str, Any]:
    usage = transcript.usage
    told = {
        "session_id": transcript.session_id,
        "model": transcript.model,
        "cwd": transcript.cwd,
        "usage": usage and usage._asdict(),
        "cost_usd": transcript.cost_usd,
        "summary": transcript.summary,
        "turns": transcript.turns,
        "tool_calls": transcript.tool_calls,
        "tool_errors": transcript.tool_errors,
        "permission_denials": transcript.permission_denials,
        "retries": transcript.retries,
        "rate_limit": transcript.rate_limit,
        "result": transcript.result,
        "started": transcript.started,
        "lines": transcript.lines,
        "unparsed": transcript.unparsed,
        "lost": transcript.lost,
        "plain": transcript.tail,
        "stderr": stderr,
        "clear_session": clear,
        "retry_not_before": finding.retry_not_before,
        "login_url": finding.login_url,
    }
    return shortened(told, AGENT_BYTES)


def _redacted(result: RunResult, redactor: Redactor) -> RunResult:
    ended = result.termination_message
    return replace(
        result,
        message=redactor.text(result.message),
        termination_message=None if ended is None else redactor.text(ended),
        warnings=tuple(map(redactor.text, result.warnings)),
        agent={name: redactor.plain(told) for name, told in (result.agent or {}).items()},
    )


def _time(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else None
