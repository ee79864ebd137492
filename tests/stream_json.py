"""Stdout of Claude Code, made up: realistic lines of stream-json for tests and benchmarks."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

SESSION = "5f2c9d1e-7b1a-4c58-9a3e-2f6d0b8c4e17"
MODEL = "claude-opus-4-6"


def line(event: dict[str, Any]) -> bytes:
    """An event as Claude Code writes it: one line, no spaces, other alphabets as they are."""
    return json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def init(session: str = SESSION, model: str = MODEL, **more: Any) -> dict[str, Any]:
    """The first event."""
    tools = ["Task", "Bash", "Glob", "Grep", "Read", "Edit", "Write", "WebFetch"]
    return {
        "type": "system",
        "subtype": "init",
        "cwd": "/paperclip/work",
        "session_id": session,
        "tools": tools,
        "mcp_servers": [],
        "model": model,
        "permissionMode": "bypassPermissions",
        "apiKeySource": "ANTHROPIC_API_KEY",
        "claude_code_version": "2.1.220",
    } | more


def assistant(*blocks: dict[str, Any], message: str = "msg_1", tokens: int = 12, **more: Any) -> dict[str, Any]:
    """One event of a message: Claude Code writes one for each of its blocks, with `output_tokens` that grow."""
    usage = {
        "input_tokens": 4,
        "cache_creation_input_tokens": 120,
        "cache_read_input_tokens": 15000,
        "output_tokens": tokens,
        "service_tier": "standard",
    }
    body: dict[str, Any] = {"id": message, "type": "message", "role": "assistant", "model": MODEL}
    body |= {"content": [*blocks], "stop_reason": None, "stop_sequence": None, "usage": usage}
    return {"type": "assistant", "message": body, "parent_tool_use_id": None, "session_id": SESSION} | more


def text(words: str) -> dict[str, Any]:
    """A block of text."""
    return {"type": "text", "text": words}


def tool_use(name: str = "Bash", call: str = "toolu_1", **given: Any) -> dict[str, Any]:
    """A block that calls a tool."""
    return {"type": "tool_use", "id": call, "name": name, "input": given}


def tool_result(content: str = "ok", *, error: bool = False, call: str = "toolu_1", **more: Any) -> dict[str, Any]:
    """The event with a tool's result."""
    block = {"tool_use_id": call, "type": "tool_result", "content": content, "is_error": error}
    event = {"type": "user", "message": {"role": "user", "content": [block]}, "parent_tool_use_id": None}
    return event | {"session_id": SESSION} | more


def result(said: str | None = "Done.", **more: Any) -> dict[str, Any]:
    """The last event of a run that went well; `more` makes it another one."""
    usage = {"input_tokens": 40, "cache_creation_input_tokens": 900, "cache_read_input_tokens": 90000}
    event = {
        "type": "result",
        "subtype": "success",
        "is_error": False,
        "duration_ms": 53660,
        "duration_api_ms": 49120,
        "num_turns": 7,
        "result": said,
        "stop_reason": "end_turn",
        "session_id": SESSION,
        "total_cost_usd": 0.4197,
        "usage": usage | {"output_tokens": 812},
        "permission_denials": [],
        "terminal_reason": "completed",
    } | more
    return {key: value for key, value in event.items() if value is not None}


def run(size: int, seed: int = 1) -> Iterator[bytes]:
    """The lines of one run, at least `size` bytes: thinking, text, tools, results from short to whole files."""
    dice = random.Random(seed)
    yield line(init())
    written, turn = 0, 0
    while written < size:
        turn += 1
        for event in _turn(dice, turn):
            data = line(event)
            written += len(data)
            yield data
    yield line(result(_prose(dice, 120), num_turns=turn))


def _turn(dice: random.Random, turn: int) -> Iterator[dict[str, Any]]:
    message, call = f"msg_01{turn:022d}", f"toolu_01{turn:022d}"
    thought = {"type": "thinking", "thinking": _prose(dice, dice.randint(20, 150)), "signature": "x" * 340}
    yield assistant(thought, message=message, tokens=1)
    yield assistant(text(_prose(dice, dice.randint(5, 60))), message=message, tokens=1)
    used = tool_use(dice.choice(("Bash", "Read", "Edit")), call, command=_code(dice, dice.randint(1, 30)))
    yield assistant(used, message=message, tokens=dice.randint(90, 900))
    yield tool_result(_code(dice, dice.choice((1, 5, 40, 200))), error=dice.random() < 0.05, call=call)


_WORDS = ("the", "watch", "ends", "a", "run", "größer", "follow", "is", "cancelled", "then", "“quoted”", "日本", "Job")


def _prose(dice: random.Random, words: int) -> str:
    return " ".join(dice.choices(_WORDS, k=words))


def _code(dice: random.Random, lines: int) -> str:
    return "\n".join(f'{n:6}\t    value_{dice.randint(0, 999)} = call("{dice.choice(_WORDS)}")' for n in range(lines))
