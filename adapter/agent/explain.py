"""How an agent's run ended, in one line that saves the operator a look at the pod. Never raw JSON. Pure."""

from __future__ import annotations

import re
import signal

from adapter.agent.bounds import clip, one_line
from adapter.agent.transcript import Transcript
from adapter.run import RunResult

MESSAGE_BYTES = 2000

EMPTY_ANSWER = (
    "LLM API returned an empty response (stop_reason: null, output_tokens: 0): "
    "the model's API may be degraded or misconfigured"
)

_QUOTED = 500
_TELLING = re.compile(r"error|fatal|panic|denied|refused|cannot|not found|no such|invalid|unknown", re.IGNORECASE)
_USUAL = {137: "SIGKILL, most often for memory", 143: "SIGTERM"}


def signal_name(number: int | None) -> str | None:
    """A signal's name, such as SIGKILL; its number where it has none here."""
    if number is None:
        return None
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"


def failure(transcript: Transcript, detail: str) -> str:
    """What an error result says: how it calls itself, and its words."""
    named = f"subtype={transcript.subtype}" if transcript.subtype not in ("", "success") else ""
    return ": ".join(filter(None, ("Claude run failed", named, one_line(detail, MESSAGE_BYTES))))


def truncation(result: RunResult, transcript: Transcript) -> str:
    """That the agent was cut off at work, and by what."""
    head = f"Claude run was truncated mid-stream{_model(transcript)}: it was at work and its result did not arrive"
    return f"{head}; {_cause(result)}"


def partial(result: RunResult, transcript: Transcript, stderr: str) -> str:
    """What can be said of a run without a result."""
    said = transcript.first_plain or telling_line(stderr)
    return _how_far(result, transcript, said) + _pod(result)


def despite_success(result: RunResult, stderr: str) -> str:
    """That the container failed although the agent's result says that all went well."""
    said = telling_line(stderr)
    quoted = f": {said}" if said else ""
    return f"Claude exited with code {_code(result)} after a result without an error{quoted}{_pod(result)}"


def telling_line(stderr: str) -> str:
    """The line of stderr that says most: the first that tells an error, else the last. No JSON."""
    lines = _plain_lines(stderr)
    return one_line(next(filter(_TELLING.search, lines), lines[-1] if lines else ""), _QUOTED)


def _how_far(result: RunResult, transcript: Transcript, said: str) -> str:
    code = _code(result)
    if result.ok:
        head = "Failed to parse Claude JSON output"
        began = f"Claude started but did not produce a result{_model(transcript)}" if transcript.started else ""
        return ": ".join(filter(None, (head, began, clip(said, _QUOTED))))
    if said:
        return f"Claude exited with code {code}: {clip(said, _QUOTED)}"
    if transcript.started and transcript.lines == 1:
        return f"Claude exited immediately after init{_model(transcript)} (exit code {code}); check its API credentials"
    if transcript.lines > transcript.unparsed:
        head = f"Claude started but did not produce a result{_model(transcript)} (exit code {code})"
        return f"{head}; check its API credentials and the model"
    return f"Claude exited with code {code}"


def _code(result: RunResult) -> int:
    return -1 if result.exit_code is None else result.exit_code


def _model(transcript: Transcript) -> str:
    return f" (model: {transcript.model})" if transcript.model else ""


def _cause(result: RunResult) -> str:
    if result.exit_code is None and result.reason is None:
        return "pod state unavailable"
    usual = _USUAL.get(result.exit_code or 0)
    code = "no exit code" if result.exit_code is None else f"container exited with code {result.exit_code}"
    return code + (f" ({usual})" if usual else "") + _pod(result)


def _pod(result: RunResult) -> str:
    """What the container's end says, as an addition: `[pod: reason=OOMKilled, signal=SIGKILL]`."""
    message = " ".join(_plain_lines(result.termination_message or ""))
    parts = {"reason": result.reason, "message": one_line(message, _QUOTED), "signal": signal_name(result.signal)}
    told = ", ".join(f"{name}={value}" for name, value in parts.items() if value and value != "Completed")
    return f" [pod: {told}]" if told else ""


def _plain_lines(text: str) -> list[str]:
    """Lines that are no JSON. The kubelet gives the end of the log as a container's message, cut anywhere."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith(("{", "[{")) and not line.endswith(("}", '}"'))]
