"""An agent's transcript as people see it in a terminal."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapter.agent.lines import LONGEST
from adapter.cli.render import Renderer, harmless
from tests.unit.streams import EVENTS

STYLES = re.compile(r"\x1b\[\d+m")


def shown(*events: Any, color: bool = False, width: int = 80, debug: bool = False) -> str:
    """What people see of events, and of lines that are none."""
    renderer = Renderer(color, width, debug)
    lines = [event if isinstance(event, bytes) else json.dumps(event).encode() for event in events]
    return renderer.feed(b"".join(line + b"\n" for line in lines)) + renderer.close()


def message(kind: str, *blocks: Any, **more: Any) -> dict[str, Any]:
    return {"type": kind, "message": {"content": list(blocks)}} | more


def said(words: str, **more: Any) -> dict[str, Any]:
    return message("assistant", {"type": "text", "text": words}, **more)


def call(name: Any = "Bash", **given: Any) -> dict[str, Any]:
    return message("assistant", {"type": "tool_use", "name": name, "input": given})


def answer(content: Any, **more: Any) -> dict[str, Any]:
    return message("user", {"type": "tool_result", "content": content} | more)


def limit(**info: Any) -> dict[str, Any]:
    return {"type": "rate_limit_event", "rate_limit_info": info}


CASES: dict[str, tuple[Any, str]] = {
    "a line that is no JSON": (b"plain text", "plain text\n"),
    "a line of the adapter": (b"[claude-k8s] waiting", "[claude-k8s] waiting\n"),
    "an empty line": (b"", ""),
    "a blank line": (b"   ", ""),
    "JSON that is no event": (b'[1, "a"]', '[1, "a"]\n'),
    "an object that says no type": (b'{"a": 1}', '{"a": 1}\n'),
    "half an event": (b'{"type":"result"', '{"type":"result"\n'),
    "init": (
        {"type": "system", "subtype": "init", "model": "claude-x", "session_id": "s-1", "cwd": "/work"},
        "init: claude-x, session s-1, /work\n",
    ),
    "init without a session": ({"type": "system", "subtype": "init", "model": "claude-x"}, "init: claude-x\n"),
    "init without anything": ({"type": "system", "subtype": "init"}, "init: unknown\n"),
    "text": (said("Hello"), "assistant: Hello\n"),
    "several lines of text": (said("\nOne\n\ttwo\nresult: forged\n"), "assistant: One\n  \ttwo\n  result: forged\n"),
    "empty text": (said(""), ""),
    "several blocks": (
        message("assistant", {"type": "text", "text": "First"}, {"type": "text", "text": "Second"}),
        "assistant: First\nassistant: Second\n",
    ),
    "thinking": (message("assistant", {"type": "thinking", "thinking": "Hm.\nSo."}), "thinking: Hm.\n  So.\n"),
    "empty thinking": (message("assistant", {"type": "thinking", "thinking": ""}), ""),
    "a block of another kind": (message("assistant", {"type": "image", "url": "x"}), ""),
    "no content": ({"type": "assistant", "message": {}}, ""),
    "no message": ({"type": "assistant"}, ""),
    "a sub-agent's text": (said("Found it", parent_tool_use_id="t1"), "sub-agent assistant: Found it\n"),
    "an error of the API": (
        said("You've hit your limit", error="rate_limit"),
        "assistant, error: You've hit your limit (rate_limit)\n",
    ),
    "an error of the API without a name": (said("Oh", is_api_error_message=True), "assistant, error: Oh\n"),
    "a tool call": (call("Bash", command="ls -la", description="List"), "tool: Bash ls -la\n"),
    "a tool call with input of its own": (call("mcp__x__y", cmd="ls", n=1), 'tool: mcp__x__y {"cmd": "ls", "n": 1}\n'),
    "a tool call without input": (call("Read"), "tool: Read\n"),
    "a tool call without a name": (message("assistant", {"type": "tool_use"}), "tool: unknown\n"),
    "a tool call of many lines": (call("Bash", command="cat <<E\n  x\nE"), "tool: Bash cat <<E x E\n"),
    "a long tool call": (call("Bash", command="x" * 500), f"tool: Bash {'x' * 58}…\n"),
    "a sub-agent's tool call": (call(command="ls") | {"parent_tool_use_id": "t1"}, "sub-agent tool: Bash ls\n"),
    "a tool's result": (answer("out", is_error=False), "tool result: out\n"),
    "a tool's error": (answer("failed", is_error=True), "tool error: failed\n"),
    "a tool's result in parts": (
        answer([{"type": "text", "text": "a"}, {"type": "image"}]),
        "tool result: a\n  [image]\n",
    ),
    "a long result of a tool": (
        answer("\n".join(map(str, range(20)))),
        "tool result: 0\n  1\n  2\n  3\n  4\n  5\n  … 14 lines more\n",
    ),
    "a wide result of a tool": (answer("x" * 500), f"tool result: {'x' * 77}…\n"),
    "a user's text": (message("user", {"type": "text", "text": "Go on"}), "user: Go on\n"),
    "a limit": (
        limit(status="allowed", resetsAt=1768510800, rateLimitType="five_hour"),
        "note: rate limit five_hour: allowed, resets 2026-01-15 21:00 UTC\n",
    ),
    "a limit without anything": ({"type": "rate_limit_event"}, "note: rate limit unknown: unknown\n"),
    "a limit with fields nobody knows": (
        limit(status=3, resetsAt="soon"),
        "note: rate limit unknown: unknown, resets soon\n",
    ),
    "compaction": (
        {"type": "system", "subtype": "compact_boundary", "compact_metadata": {"trigger": "auto"}},
        "note: conversation compacted (auto)\n",
    ),
    "a retry": (
        {"type": "system", "subtype": "api_retry", "attempt": 2, "max_retries": 10, "error": "overloaded"},
        "note: API asked again, attempt 2 of 10: overloaded\n",
    ),
    "a result": (
        {
            "type": "result",
            "subtype": "success",
            "result": "All done",
            "num_turns": 3,
            "duration_ms": 12345,
            "total_cost_usd": 0.0123,
            "usage": {"input_tokens": 12, "output_tokens": 34, "cache_read_input_tokens": 56},
        },
        "result: All done\ndone: 3 turns, 12.3 s, tokens: 12 in, 34 out, 56 cached, $0.0123\n",
    ),
    "a result without anything": ({"type": "result"}, "done: tokens: 0 in, 0 out, 0 cached\n"),
    "a result after a long time": (
        {"type": "result", "num_turns": 1, "duration_ms": 3_725_400},
        "done: 1 turn, 62 min 5 s, tokens: 0 in, 0 out, 0 cached\n",
    ),
    "a result that failed": (
        {"type": "result", "subtype": "error_max_turns", "errors": ["Too many", {"message": "turns"}]},
        "error: Too many\nerror: turns\nfailed: error_max_turns, tokens: 0 in, 0 out, 0 cached\n",
    ),
    "a success that is an error": (
        {"type": "result", "subtype": "success", "is_error": True, "result": "Prompt is too long"},
        "result: Prompt is too long\nfailed: tokens: 0 in, 0 out, 0 cached\n",
    ),
    "an event nobody knows": ({"type": "later", "data": 1}, ""),
    "a system event nobody knows": ({"type": "system", "subtype": "status"}, ""),
}


@pytest.mark.parametrize(("event", "expected"), CASES.values(), ids=CASES)
def test_events(event: Any, expected: str) -> None:
    assert shown(event) == expected


def test_events_nobody_knows_are_shown_to_who_looks_for_them() -> None:
    told = shown({"type": "later", "data": "x" * 200}, {"type": "system", "subtype": "status"}, limit(), debug=True)
    later, status, note = told.splitlines()
    assert later.startswith('event: {"type": "later", "data": "xxx')
    assert later.endswith("…")
    assert status == 'event: {"type": "system", "subtype": "status"}'
    assert note.startswith("note: ")


def test_a_result_does_not_repeat_what_was_just_said() -> None:
    end = {"type": "result", "subtype": "success", "result": "Done.\n"}
    assert shown(said("Done."), end).count("Done.") == 1
    assert shown(said("Done."), said("Not I", parent_tool_use_id="t"), end).count("Done.") == 1
    assert shown(said("Almost."), end).count("Done.") == 1


def test_a_gap_does_not_end_it() -> None:
    renderer = Renderer(color=False, width=80)
    assert renderer.feed(b'{"type":"assis') == ""
    assert renderer.close() == '{"type":"assis\n'
    assert renderer.close() == ""
    assert renderer.feed(json.dumps(said("Hello")).encode() + b"\r\n") == "assistant: Hello\n"


def test_a_line_without_end_is_not_kept() -> None:
    renderer = Renderer(color=False, width=80)
    piece = b"x" * 1_000_000
    assert [renderer.feed(piece) for _ in range(LONGEST // len(piece) + 2)] == [""] * (LONGEST // len(piece) + 2)
    size = len(piece) * (LONGEST // len(piece) + 2)
    assert renderer.feed(b"\nnext\n") == f"next\nskipped: 1 lines, {size} bytes: too long\n"


def test_colours_only_where_they_are_wanted() -> None:
    plain, coloured = shown(said("Hello"), answer("x")), shown(said("Hello"), answer("x"), color=True)
    assert "\x1b" not in plain
    assert STYLES.sub("", coloured) == plain
    assert coloured.endswith("\x1b[0m\n")


def test_a_narrow_terminal_wraps() -> None:
    assert shown(call("Bash", command="x" * 500), width=1) == f"tool: Bash {'x' * 18}…\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("\x1b[31mred\x1b[0m and \x1b[2Jcleared", "red and cleared"),
        ("\x1b]0;title\x07x\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "xlink"),
        ("\x1b]52;c;never ended", " ]52;c;never ended"),
        ("\x1bc\x1b(B\x1b7x", "x"),
        ("10%\r20%\r\nend\b\x00\x7f\x9b31m", "10% 20%\nend    31m"),
        ("right\u202eto left\u2028line", "right to left line"),
        ("tab\tand 👩\u200d💻 naïve 日本", "tab\tand 👩\u200d💻 naïve 日本"),
        ("\ud83d", " "),
    ],
)
def test_nothing_steers_the_terminal(words: str, expected: str) -> None:
    assert harmless(words) == expected


def test_garbage_between_the_events() -> None:
    told = shown(b"nul \0 \xff\xfe", b"\x1b[2J\x1b]0;owned\x07", said("Still here"))
    assert told == "nul   \ufffd\ufffd\n\nassistant: Still here\n"


LINES = st.lists(EVENTS.map(lambda event: json.dumps(event).encode()) | st.binary(max_size=30), max_size=6)


@given(LINES, st.booleans(), st.booleans())
@example(
    [b'{"type":"result","num_turns":' + b"9" * 5000 + b"}", b'{"type":"result","usage":' + b"[" * 100_000], True, True
)
def test_nothing_raises_and_nothing_steers(lines: list[bytes], color: bool, debug: bool) -> None:
    told = shown(*lines, color=color, debug=debug)
    bare = STYLES.sub("", told) if color else told
    assert harmless(bare) == bare
    told.encode()


@given(LINES, st.lists(st.integers(0, 400), max_size=5))
def test_it_does_not_matter_how_the_bytes_are_cut(lines: list[bytes], cuts: list[int]) -> None:
    data = b"\n".join(lines)
    whole, cut = Renderer(color=False, width=60), Renderer(color=False, width=60)
    expected = whole.feed(data) + whole.close()
    ends = [*sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    assert "".join(map(cut.feed, pieces)) + cut.close() == expected
