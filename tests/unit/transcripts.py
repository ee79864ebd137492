"""Streams of Claude Code for tests: read, made up, bent and cut."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from adapter.agent.transcript import Transcript
from tests.stream_json import assistant, init, line, result, text, tool_result, tool_use


def read(*parts: dict[str, Any] | bytes | str) -> Transcript:
    """A transcript of events, of bytes as they are, and of lines of text."""
    transcript = Transcript()
    for part in parts:
        transcript.feed(
            line(part) if isinstance(part, dict) else part if isinstance(part, bytes) else f"{part}\n".encode()
        )
    transcript.close()
    return transcript


def api_error(slug: str, words: str, **more: Any) -> dict[str, Any]:
    """The message that Claude Code writes itself when its API has failed."""
    event = assistant(text(words), message="synthetic", error=slug, is_api_error_message=True, **more)
    event["message"] |= {"model": "<synthetic>", "stop_reason": "stop_sequence", "usage": {"output_tokens": 0}}
    return event


def empty_answer(**more: Any) -> dict[str, Any]:
    """The message of a provider that has answered nothing."""
    event = assistant(message="msg_empty", tokens=0)
    event["message"] |= more
    return event


TEXTS = st.text(max_size=12)
ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**30),
    st.floats(),
    TEXTS,
    st.just("\ud800"),
    st.just([]),
    st.just({}),
)
NESTED = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
FIELDS = """type subtype message session_id usage result is_error error parent_tool_use_id errors total_cost_usd
num_turns modelUsage rate_limit_info permission_denials model cwd stop_reason terminal_reason api_error_status
error_status content id"""
KEYS = st.sampled_from(FIELDS.split())
KINDS = st.sampled_from(["system", "assistant", "user", "result", "rate_limit_event", "stream_event"])
BLOCKS = st.lists(
    st.one_of(st.builds(text, TEXTS), st.builds(tool_use), st.dictionaries(TEXTS, NESTED, max_size=2), NESTED),
    max_size=3,
)
GOOD: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.builds(init, TEXTS, TEXTS),
    st.builds(
        lambda blocks, message, tokens, sub: assistant(*blocks, message=message, tokens=tokens, parent_tool_use_id=sub),
        BLOCKS,
        st.sampled_from(["m1", "m2", "m3", "", "\x07", "é" * 300]),
        st.integers(0, 9),
        st.sampled_from([None, None, "t1"]),
    ),
    st.builds(lambda error: tool_result(error=error), st.booleans()),
    st.builds(lambda said, error: result(said, is_error=error), TEXTS, st.booleans()),
    st.builds(lambda words: api_error("rate_limit", words), TEXTS),
    st.builds(
        lambda status: {"type": "rate_limit_event", "rate_limit_info": {"status": status, "resetsAt": 5}},
        st.sampled_from(["allowed", "rejected"]),
    ),
)
BENT = st.builds(lambda kind, rest: rest | {"type": kind}, KINDS, st.dictionaries(KEYS, NESTED, max_size=5))


def _written(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode() + b"\n"


PIECES = st.one_of(
    st.builds(_written, GOOD),
    st.builds(_written, GOOD),
    st.builds(_written, BENT),
    st.binary(max_size=20),
    st.sampled_from([b"\n", b" \n", b"\r\n", b"plain text\n", b'{"type":"user"', b"}\n", b"{", b"\xff\n", b"[" * 3000]),
)
STREAMS = st.lists(PIECES, max_size=10).map(b"".join)
