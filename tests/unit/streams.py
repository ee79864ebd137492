"""Events of stream-json with something of any kind in every place."""

from __future__ import annotations

from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)

TYPES = st.sampled_from(["system", "assistant", "user", "result", "rate_limit_event", "stream_event", "later"])
SUBTYPES = st.sampled_from(["init", "compact_boundary", "api_retry", "success", "error_max_turns"])
BLOCK_TYPES = st.sampled_from(["text", "thinking", "tool_use", "tool_result", "image"])

BLOCK_FIELDS = ("text", "thinking", "id", "name", "input", "content", "is_error", "tool_use_id")
FIELDS = (
    *("model", "session_id", "cwd", "usage", "result", "errors", "error", "total_cost_usd", "is_error", "num_turns"),
    *("rate_limit_info", "compact_metadata", "attempt", "parent_tool_use_id", "duration_ms", "is_api_error_message"),
)

BLOCKS = st.fixed_dictionaries({"type": BLOCK_TYPES | ANYTHING}, optional=dict.fromkeys(BLOCK_FIELDS, ANYTHING))
MESSAGES = st.fixed_dictionaries({"content": st.lists(BLOCKS | ANYTHING, max_size=3) | ANYTHING})
EVENTS = st.fixed_dictionaries(
    {"type": TYPES},
    optional={"subtype": SUBTYPES | ANYTHING, "message": MESSAGES | ANYTHING} | dict.fromkeys(FIELDS, ANYTHING),
)
