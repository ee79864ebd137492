"""What people are shown of an event of stream-json: the pieces that a UI's entries and a terminal's lines share.

Nothing that is in an event can make these raise: each field may be missing, and of any type.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from adapter.agent.bounds import clean
from adapter.agent.plain import DEEPEST, plain
from adapter.agent.usage import count

Event = Mapping[str, Any]


def _no_number(_: str) -> None:
    """NaN and Infinity, which Python's reader takes and JSON does not have."""


def _whole(digits: str) -> int:
    return plain(int(digits))  # type: ignore[no-any-return]  # what it does not refuse it returns as it is


def _real(digits: str) -> float:
    return plain(float(digits))  # type: ignore[no-any-return]  # as above


_decode: Callable[[str], Any] = json.JSONDecoder(parse_constant=_no_number, parse_int=_whole, parse_float=_real).decode


def event_of(line: str) -> Event | None:
    """The event on a line, as JSON that anybody can write; None where there is none: an event says its type."""
    if not line.lstrip().startswith("{"):
        return None
    try:
        value = _decode(clean(line))
        value = plain(value) if _is_odd(line) else value
    except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, or nesting without end
        return None
    return value if isinstance(value, dict) and isinstance(value.get("type"), str) else None


def _is_odd(line: str) -> bool:
    """Whether it may be nested too deep, or hold half a surrogate pair. Looking at each value takes long."""
    return line.count("{") + line.count("[") > DEEPEST or "\\ud" in line or "\\uD" in line


def blocks_of(event: Event) -> list[Event]:
    """The blocks of a message; plain text is one block."""
    content = objects(event.get("message")).get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def told(content: object) -> str:
    """What a tool answered, as text: of a list the texts, and of what is none its kind, such as `[image]`."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(map(_part, content))
    return "" if content is None else compact(content)


def _part(part: object) -> str:
    if not isinstance(part, dict):
        return told(part)
    return text(part.get("text")) or f"[{text(part.get('type')) or 'unknown'}]"


def errors_of(event: Event) -> list[str]:
    """The errors that a result lists; one that is no text by its message."""
    errors = event.get("errors")
    return [words for words in map(_error, errors) if words] if isinstance(errors, list) else []


def _error(error: object) -> str:
    fields = objects(error)
    named = (fields[name] for name in ("message", "error", "code") if text(fields.get(name)))
    return str(next(named, "")) or told(error)


def failed(event: Event) -> bool:
    """Whether a result says that the run failed; older versions give `error_max_turns` without `is_error`."""
    return event.get("is_error") is True or text(event.get("subtype")).startswith("error")


def notice(event: Event) -> str | None:
    """An event about the conversation, not of it, in one line: limits, compaction, retries. None: it is another."""
    kind = event.get("type")
    if kind == "system":
        kind = event.get("subtype")
    reader = _NOTICES.get(kind) if isinstance(kind, str) else None
    return reader(event) if reader else None


def _limit(event: Event) -> str:
    info = objects(event.get("rate_limit_info"))
    kind, status = (text(info.get(name)) or "unknown" for name in ("rateLimitType", "status"))
    reset = moment(info.get("resetsAt"))
    return f"rate limit {kind}: {status}" + (f", resets {reset}" if reset else "")


def _compaction(event: Event) -> str:
    data = objects(event.get("compact_metadata"))
    tokens = count(data.get("pre_tokens"))
    facts = [text(data.get("trigger")), f"{tokens} tokens before" if tokens else ""]
    said = ", ".join(filter(None, facts))
    return "conversation compacted" + (f" ({said})" if said else "")


def _retry(event: Event) -> str:
    attempt, most = count(event.get("attempt")), count(event.get("max_retries"))
    status = count(event.get("error_status"))
    why = " ".join(filter(None, (text(event.get("error")), str(status) if status else "")))
    return f"API asked again, attempt {attempt or '?'} of {most or '?'}" + (f": {why}" if why else "")


_NOTICES: dict[str, Callable[[Event], str]] = {
    "rate_limit_event": _limit,
    "compact_boundary": _compaction,
    "api_retry": _retry,
}


def objects(value: object) -> Event:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def text(value: object) -> str:
    """The value if it is text, else none."""
    return value if isinstance(value, str) else ""


def amount(value: object) -> float:
    """The value if it can be an amount of money or of time, else 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    return float(value) if math.isfinite(value) and value >= 0 else 0.0


def moment(value: object) -> str:
    """Seconds since 1970 as a time that people read; text as it is; nothing for anything else."""
    if isinstance(value, str):
        return value
    try:
        return datetime.fromtimestamp(int(amount(value)), UTC).strftime("%Y-%m-%d %H:%M UTC") if amount(value) else ""
    except (OverflowError, ValueError, OSError):  # beyond the year 9999, or what the C library takes
        return ""


def compact(value: object) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
