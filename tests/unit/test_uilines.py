"""A line of a run's log as the entries of a control plane's run viewer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapter.agent.uilines import parse_stderr_line, parse_stdout_line
from tests.unit.streams import EVENTS

TS = "2026-01-01T00:00:00Z"


def entries(event: Any) -> list[dict[str, Any]]:
    found = parse_stdout_line(json.dumps(event), TS)
    assert all(entry.pop("ts") == TS for entry in found)
    return found


def message(kind: str, *blocks: Any) -> dict[str, Any]:
    return {"type": kind, "message": {"content": list(blocks)}}


CASES: dict[str, tuple[Any, list[dict[str, Any]]]] = {
    "init": (
        {"type": "system", "subtype": "init", "model": "claude-x", "session_id": "s"},
        [{"kind": "init", "model": "claude-x", "sessionId": "s"}],
    ),
    "init without a model": (
        {"type": "system", "subtype": "init"},
        [{"kind": "init", "model": "unknown", "sessionId": ""}],
    ),
    "text": (message("assistant", {"type": "text", "text": "Hello"}), [{"kind": "assistant", "text": "Hello"}]),
    "empty text is skipped": (
        message("assistant", {"type": "text", "text": ""}, {"type": "text", "text": "x"}),
        [{"kind": "assistant", "text": "x"}],
    ),
    "thinking": (message("assistant", {"type": "thinking", "thinking": "Hm"}), [{"kind": "thinking", "text": "Hm"}]),
    "empty thinking is skipped": (
        message("assistant", {"type": "thinking", "thinking": ""}, {"type": "text", "text": "x"}),
        [{"kind": "assistant", "text": "x"}],
    ),
    "a tool call": (
        message("assistant", {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}),
        [{"kind": "tool_call", "name": "Bash", "input": {"command": "ls"}, "toolUseId": "t1"}],
    ),
    "a tool call by its other id": (
        message("assistant", {"type": "tool_use", "tool_use_id": "t1", "name": "Bash"}),
        [{"kind": "tool_call", "name": "Bash", "input": {}, "toolUseId": "t1"}],
    ),
    "a tool call without anything": (
        message("assistant", {"type": "tool_use"}),
        [{"kind": "tool_call", "name": "unknown", "input": {}}],
    ),
    "several blocks in their order": (
        message("assistant", {"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "x"}),
        [{"kind": "thinking", "text": "Hm"}, {"kind": "assistant", "text": "x"}],
    ),
    "user text": (message("user", {"type": "text", "text": "Go on"}), [{"kind": "user", "text": "Go on"}]),
    "a user's plain text": (
        {"type": "user", "message": {"role": "user", "content": "Go on"}},
        [{"kind": "user", "text": "Go on"}],
    ),
    "a tool's result": (
        message("user", {"type": "tool_result", "tool_use_id": "t1", "content": "a\nb"}),
        [{"kind": "tool_result", "toolUseId": "t1", "content": "a\nb", "isError": False}],
    ),
    "a tool's error": (
        message("user", {"type": "tool_result", "tool_use_id": "t1", "content": "no", "is_error": True}),
        [{"kind": "tool_result", "toolUseId": "t1", "content": "no", "isError": True}],
    ),
    "a tool's result in parts": (
        message(
            "user",
            {"type": "tool_result", "content": [{"type": "text", "text": "a"}, {"type": "image"}, "b", {"type": 3}]},
        ),
        [{"kind": "tool_result", "toolUseId": "", "content": "a\n[image]\nb\n[unknown]", "isError": False}],
    ),
    "a tool's result that is an object": (
        message("user", {"type": "tool_result", "content": {"a": 1}}),
        [{"kind": "tool_result", "toolUseId": "", "content": '{"a": 1}', "isError": False}],
    ),
    "a limit": (
        {
            "type": "rate_limit_event",
            "rate_limit_info": {"status": "rejected", "rateLimitType": "five_hour", "resetsAt": 1768510800},
        },
        [{"kind": "system", "text": "rate limit five_hour: rejected, resets 2026-01-15 21:00 UTC"}],
    ),
    "a limit without anything": (
        {"type": "rate_limit_event"},
        [{"kind": "system", "text": "rate limit unknown: unknown"}],
    ),
    "a limit that is reset beyond all years": (
        {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed", "resetsAt": 10**17}},
        [{"kind": "system", "text": "rate limit unknown: allowed"}],
    ),
    "compaction": (
        {
            "type": "system",
            "subtype": "compact_boundary",
            "compact_metadata": {"trigger": "auto", "pre_tokens": 155000},
        },
        [{"kind": "system", "text": "conversation compacted (auto, 155000 tokens before)"}],
    ),
    "compaction without anything": (
        {"type": "system", "subtype": "compact_boundary"},
        [{"kind": "system", "text": "conversation compacted"}],
    ),
    "a retry": (
        {
            "type": "system",
            "subtype": "api_retry",
            "attempt": 1,
            "max_retries": 10,
            "error_status": 529,
            "error": "overloaded",
        },
        [{"kind": "system", "text": "API asked again, attempt 1 of 10: overloaded 529"}],
    ),
    "a retry without anything": (
        {"type": "system", "subtype": "api_retry"},
        [{"kind": "system", "text": "API asked again, attempt ? of ?"}],
    ),
}


@pytest.mark.parametrize(("event", "expected"), CASES.values(), ids=CASES)
def test_events(event: Any, expected: list[dict[str, Any]]) -> None:
    assert entries(event) == expected


RESULT = {
    "kind": "result",
    "text": "",
    "inputTokens": 0,
    "outputTokens": 0,
    "cachedTokens": 0,
    "costUsd": 0.0,
    "subtype": "",
    "isError": False,
    "errors": [],
}


@pytest.mark.parametrize(
    ("event", "differs"),
    [
        ({}, {}),
        (
            {
                "subtype": "success",
                "result": "Done",
                "total_cost_usd": 0.02,
                "usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3},
            },
            {"subtype": "success", "text": "Done", "costUsd": 0.02}
            | {"inputTokens": 1, "outputTokens": 2, "cachedTokens": 3},
        ),
        ({"is_error": True}, {"isError": True}),
        ({"subtype": "error_max_turns"}, {"subtype": "error_max_turns", "isError": True}),
        ({"errors": ["one", "", "two"]}, {"errors": ["one", "two"]}),
        (
            {"errors": [{"message": "m"}, {"code": "c"}, {"other": 1}, 7, None]},
            {"errors": ["m", "c", '{"other": 1}', "7"]},
        ),
        ({"errors": "not a list", "result": 3, "usage": []}, {}),
        ({"usage": {"input_tokens": "many", "output_tokens": -1}, "total_cost_usd": -0.1}, {}),
    ],
)
def test_results(event: dict[str, Any], differs: dict[str, Any]) -> None:
    assert entries({"type": "result", **event}) == [RESULT | differs]


def test_a_cost_that_is_no_number() -> None:
    assert parse_stdout_line('{"type":"result","total_cost_usd":NaN}', TS) == [RESULT | {"ts": TS}]


@pytest.mark.parametrize(
    "line",
    [
        "plain text",
        "null",
        "[1]",
        '"text"',
        '{"type":"result"',
        '{"no":"type"}',
        '{"type":3}',
        '{"type":"stream_event"}',
        '{"type":"system","subtype":"status"}',
        '{"type":"system"}',
        '{"type":"assistant","message":{"content":[]}}',
        '{"type":"assistant","message":{"content":[{"type":"text","text":""}]}}',
        '{"type":"assistant"}',
        '{"type":"user","message":"text where an object belongs"}',
        '{"type":"result","usage":' + "[" * 100_000,
        '{"type":"result","num_turns":' + "9" * 5000 + "}",
        '{"type":"assistant","message":' + '{"a":' * 200 + "1" + "}" * 201,
    ],
)
def test_what_has_nothing_to_show_is_shown_as_it_is(line: str) -> None:
    assert parse_stdout_line(line + "\r\n", TS) == [{"kind": "stdout", "ts": TS, "text": line}]


def test_blank_lines_have_no_entries() -> None:
    assert parse_stdout_line(" \r\n", TS) == parse_stderr_line("", TS) == []


def test_stderr_is_as_it_is() -> None:
    line = '{"type":"result"}'
    assert parse_stderr_line(line + "\n", TS) == [{"kind": "stderr", "ts": TS, "text": line}]


def test_half_a_surrogate_pair_can_be_written() -> None:
    found = parse_stdout_line('{"type":"assistant","message":{"content":"\\ud83d"}}', TS)
    assert found[0]["text"] == "\ufffd"
    assert parse_stdout_line("\ud83d", TS)[0]["text"] == "\ufffd"


@given(EVENTS.map(json.dumps) | st.text())
@example('{"type":"assistant","message":{"content":[{"type":"tool_use","input":1e999}]}}')
def test_no_line_raises_and_every_entry_is_json(line: str) -> None:
    found = parse_stdout_line(line, TS)
    json.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    kinds = {"assistant", "thinking", "user", "tool_call", "tool_result", "init", "result", "system", "stdout"}
    assert {entry["kind"] for entry in found} <= kinds
    assert bool(found) is bool(line.strip())
