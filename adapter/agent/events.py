"""The events of Claude Code's stream-json, and what each adds to the facts. Nothing that is in one can raise.

Read are `system` (`init`, `api_retry`), `assistant`, `user` (results of tools), `rate_limit_event` and `result`; the
others, partial messages (`stream_event`) among them, are of no account. The shapes are those of Claude Code 2.0 to 2.1
and of its Agent SDK.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapter.agent.bounds import bounded, clip, word
from adapter.agent.facts import TEXTS_BYTES, Facts
from adapter.agent.usage import Usage, count

_RESULT_BYTES = 6 * 1024
_ERROR_BYTES = 600
_ERRORS, _EACH_BYTES = 3, 300
_WORD_BYTES = 64
_SYNTHETIC = "<synthetic>"
"""The model of messages that Claude Code writes itself, such as those that tell an API error."""

_LIMIT_FACTS = ("status", "resetsAt", "rateLimitType", "overageStatus", "isUsingOverage", "utilization")

Event = Mapping[str, Any]


def read(facts: Facts, event: Event) -> None:
    """Adds what an event tells. Sub-agents count for tokens and tool calls, never for what the run said or ended in."""
    kind = event.get("type")
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    if reader:
        reader(facts, event)


def _system(facts: Facts, event: Event) -> None:
    if event.get("subtype") == "init":
        facts.started = True
        _session(facts, event)
        facts.model = word(event.get("model")) or facts.model
        facts.cwd = word(event.get("cwd")) or facts.cwd
    elif event.get("subtype") == "api_retry":
        facts.retries += 1
        facts.api_error = {"error": word(event.get("error")), "status": count(event.get("error_status"))}


def _assistant(facts: Facts, event: Event) -> None:
    message = _object(event.get("message"))
    blocks = [block for block in _list(message.get("content")) if type(block) is dict]
    calls = [block.get("type") for block in blocks].count("tool_use")
    facts.tool_calls += calls
    new = facts.ledger.note(message.get("id"), message.get("usage"))
    if _of_sub_agent(event):
        return
    _session(facts, event)
    if event.get("error") or event.get("is_api_error_message") is True:
        facts.api_error = _api_error(event, blocks)
    else:
        facts.messages += new
        _spoken(facts, message, [text for text in map(_text, blocks) if text], calls)


def _spoken(facts: Facts, message: Event, texts: Sequence[str], calls: int) -> None:
    """What the agent itself said or called."""
    if not facts.model and message.get("model") != _SYNTHETIC:
        facts.model = word(message.get("model"))
    said = bool(texts or calls)
    tokens = _object(message.get("usage")).get("output_tokens", message.get("output_tokens"))
    facts.api_error = {}
    facts.spoke = facts.spoke or said
    facts.output = facts.output or (count(tokens) > 0 if type(tokens) is int else said)
    facts.empty = type(tokens) is int and tokens == 0 and message.get("stop_reason") is None and not said
    for text in texts:
        facts.add_text(text)


def _user(facts: Facts, event: Event) -> None:
    blocks = _list(_object(event.get("message")).get("content"))
    facts.tool_errors += len([block for block in blocks if _is_tool_error(block)])


def _limited(facts: Facts, event: Event) -> None:
    info = _object(event.get("rate_limit_info"))
    told = {name: info[name] for name in _LIMIT_FACTS if name in info}
    facts.rate_limit = {
        name: word(one, _WORD_BYTES) if isinstance(one, str) else _number(one) for name, one in told.items()
    }
    if info.get("status") == "rejected":
        facts.rejected_until = count(info.get("resetsAt"))


def _result(facts: Facts, event: Event) -> None:
    if _of_sub_agent(event):
        return
    said = event.get("result")
    _session(facts, event)
    facts.said = clip(said.strip(), TEXTS_BYTES) if isinstance(said, str) else ""
    rest = {key: value for key, value in event.items() if key != "result" or not isinstance(said, str)}
    kept = bounded(rest, _RESULT_BYTES)
    facts.result = kept if isinstance(kept, dict) else {}
    _end(facts, event)
    usage = Usage.of_result(event)
    facts.result_usage = [*usage] if usage is not None else []
    facts.cost = _cost(event.get("total_cost_usd"))
    facts.turns = count(event.get("num_turns"))
    facts.denials = len(_list(event.get("permission_denials")))
    facts.has_result, facts.output, facts.empty = True, False, False
    facts.api_error = facts.api_error if facts.failed else {}


_READERS: dict[str, Callable[[Facts, Event], None]] = {
    "system": _system,
    "assistant": _assistant,
    "user": _user,
    "rate_limit_event": _limited,
    "result": _result,
}


def _session(facts: Facts, event: Event) -> None:
    session = event.get("session_id")
    if session != facts.session_id:
        facts.session_id = word(session) or facts.session_id


def _of_sub_agent(event: Event) -> bool:
    return bool(event.get("parent_tool_use_id")) or event.get("isSidechain") is True


def _is_tool_error(block: object) -> bool:
    return type(block) is dict and block.get("is_error") is True and block.get("type") == "tool_result"


def _object(value: object) -> Event:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(block: Event) -> str:
    text = block.get("text") if block.get("type") == "text" else None
    return clip(text.strip(), TEXTS_BYTES) if isinstance(text, str) else ""


def _api_error(event: Event, blocks: Sequence[Event]) -> dict[str, Any]:
    text = word("\n".join(map(_text, blocks)), _ERROR_BYTES)
    return {"error": word(event.get("error")), "status": count(event.get("api_error_status")), "text": text}


def _end(facts: Facts, event: Event) -> None:
    """What a result says of how the run ended, by fields; each may be missing, and of any type."""
    facts.is_error = event.get("is_error") is True
    facts.subtype = word(event.get("subtype"))
    facts.terminal_reason = word(event.get("terminal_reason"))
    facts.stop_reason = word(event.get("stop_reason"))
    facts.status = count(event.get("api_error_status"))
    errors = [text for text in map(_words, _list(event.get("errors"))) if text]
    facts.errors = errors[:_ERRORS]


def _words(error: object) -> str:
    """An entry of `errors`: text, or an object that has some."""
    if isinstance(error, dict):
        error = next((error[name] for name in ("message", "error", "code") if isinstance(error.get(name), str)), "")
    return word(error, _EACH_BYTES)


def _number(value: object) -> int | float | None:
    """A number that others can read, true and false among them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, int) and abs(value) < 2**53 else None


def _cost(value: object) -> list[float]:
    """A cost that can be one, or nothing. (NaN has been read as 0 by those who add costs up.)"""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return []
    try:
        cost = float(value)
    except OverflowError:
        return []
    return [cost] if math.isfinite(cost) and cost >= 0 else []
