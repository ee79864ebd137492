"""What stdout tells: the facts of good and bad streams, however cut, in constant memory; and nothing raises."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapter.agent.bounds import size
from adapter.agent.facts import DUMP_BYTES
from adapter.agent.lines import LONGEST, Lines
from adapter.agent.transcript import RESULT_BYTES, Transcript
from adapter.agent.usage import Usage
from tests import stream_json
from tests.stream_json import MODEL, SESSION, assistant, init, line, result, text, tool_result, tool_use


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


# Facts


def test_nothing_tells_nothing() -> None:
    nothing = read()

    assert (nothing.session_id, nothing.model, nothing.usage, nothing.cost_usd) == (None, None, None, None)
    assert (nothing.summary, nothing.turns, nothing.result, nothing.lines) == ("", 0, None, 0)
    assert not any((nothing.started, nothing.spoke, nothing.truncated, nothing.api_empty, nothing.failed))


def test_a_good_run_tells_all() -> None:
    run = read(init(), assistant(text("Looking.")), assistant(tool_use(command="ls")), tool_result(), result("Done."))

    assert (run.session_id, run.model, run.cwd) == (SESSION, MODEL, "/paperclip/work")
    assert (run.summary, run.turns, run.tool_calls, run.tool_errors) == ("Done.", 7, 1, 0)
    assert run.usage == Usage(input=40, output=812, cache_read=90000, cache_creation=900)
    assert run.cost_usd == 0.4197
    assert run.result is not None
    assert (run.result["result"], run.result["num_turns"]) == ("Done.", 7)
    assert run.started
    assert run.spoke
    assert not any((run.failed, run.truncated, run.api_empty))
    assert (run.lines, run.unparsed, run.lost) == (5, 0, 0)


def test_a_model_is_named_by_a_message_where_the_init_event_does_not() -> None:
    assert read(init(model=""), api_error("rate_limit", "no"), assistant(text("x"))).model == MODEL


def test_the_session_is_the_one_named_last() -> None:
    assert read(init("first"), result(session_id="second")).session_id == "second"


def test_an_event_of_a_later_version_is_of_no_account() -> None:
    run = read({"type": "new_thing"}, {"type": ["x"]}, {}, {"type": "stream_event", "event": {}}, {"type": "system"})

    assert (run.lines, run.unparsed, run.spoke) == (5, 0, False)


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -1, "0.1", None, True, [1], 10**400])
def test_a_cost_that_is_none_is_none(cost: object) -> None:
    data = json.dumps(result(total_cost_usd=0) | {"total_cost_usd": cost})

    assert read(data).cost_usd is None


def test_a_tools_error_is_counted_and_no_failure() -> None:
    run = read(tool_result(error=True), tool_result(error=True, parent_tool_use_id="toolu_9"), tool_result(), result())

    assert (run.tool_errors, run.failed) == (2, False)


def test_a_tools_result_that_quotes_a_failure_is_none() -> None:
    assert read(tool_result('{"type":"user","is_error":true}')).tool_errors == 0


def test_permission_denials_are_counted() -> None:
    denial = {"tool_name": "Bash", "tool_use_id": "toolu_1", "tool_input": {"command": "rm -rf /"}}

    assert read(result(permission_denials=[denial, denial])).permission_denials == 2


# Tokens


def test_a_message_counts_once_and_by_its_last_line() -> None:
    """Claude Code writes a message once for each of its blocks; `output_tokens` grows."""
    blocks = [assistant(text("a"), tokens=1), assistant(text("b"), tokens=1), assistant(tool_use(), tokens=260)]

    assert read(*blocks).usage == Usage(input=4, output=260, cache_read=15000, cache_creation=120)
    assert read(*blocks).turns == 1


def test_messages_of_agents_that_work_side_by_side_count_once_each() -> None:
    sub = {"message": "msg_2", "parent_tool_use_id": "toolu_1"}
    run = read(assistant(tokens=1), assistant(tokens=3, **sub), assistant(tokens=20), assistant(tokens=40, **sub))

    assert run.usage is not None
    assert (run.usage.output, run.turns) == (60, 1)


@pytest.mark.parametrize("usage", [None, {}, "x", {"output_tokens": None}, []])
def test_a_line_without_tokens_does_not_forget_those_before(usage: object) -> None:
    later = assistant(text("b"))
    later["message"]["usage"] = usage

    known = read(assistant(text("a"), tokens=9), later).usage
    assert known is not None
    assert known.output == 9


def test_many_messages_are_all_counted() -> None:
    run = read(*(assistant(text("a"), message=f"msg_{n}", tokens=2) for n in range(100)))

    assert run.usage == Usage(400, 200, 1_500_000, 12_000)


def test_the_result_knows_of_sub_agents_by_its_models() -> None:
    models = {
        "opus": {
            "inputTokens": 50,
            "outputTokens": 900,
            "cacheReadInputTokens": 90000,
            "cacheCreationInputTokens": 900,
        },
        "haiku": {"inputTokens": 7, "outputTokens": 100, "costUSD": 0.1},
    }

    assert read(result(modelUsage=models)).usage == Usage(57, 1000, 90000, 900)


def test_models_that_know_less_than_the_result_do_not_count() -> None:
    assert read(result(modelUsage={"opus": {"inputTokens": 1}})).usage == Usage(40, 812, 90000, 900)


# What was said


def test_without_a_result_the_last_texts_are_the_summary_every_block_of_them() -> None:
    run = read(assistant(text("One."), text("Two.")), assistant(text("Three."), message="msg_2"))

    assert run.summary == "One.\n\nTwo.\n\nThree."


def test_a_result_without_words_leaves_the_texts() -> None:
    assert read(assistant(text("Hello.")), result("")).summary == "Hello."
    assert read(assistant(text("Hello.")), result(None, subtype="error_max_turns")).summary == "Hello."


def test_the_same_text_twice_in_a_row_is_kept_once() -> None:
    event = {"type": "assistant", "message": {"content": [text("Hello world")]}}

    assert read(event, event).summary == "Hello world"


def test_texts_are_bounded_the_newest_are_kept() -> None:
    run = read(*(assistant(text(f"{n} " + "x" * 1000), message=f"m{n}") for n in range(200)))

    assert len(run.summary.encode()) <= 64 * 1024 + 2 * 64
    assert run.summary.startswith("135 ")
    assert "199 xx" in run.summary


def test_a_huge_text_is_cut_in_its_middle() -> None:
    run = read(assistant(text("begin" + "é" * 200_000 + "end")), result("b" + "日" * 100_000 + "e"))

    assert len(run.summary.encode()) <= 64 * 1024
    assert (run.summary[0], run.summary[-1]) == ("b", "e")
    assert "…" in run.summary


def test_thinking_and_tools_are_no_text() -> None:
    assert read(assistant({"type": "thinking", "thinking": "hm"}), assistant(tool_use())).summary == ""


# Results


def test_the_last_result_counts_not_one_that_was_forged_before() -> None:
    run = read(result("forged", is_error=True, total_cost_usd=9), assistant(text("work")), result("real"))

    assert (run.summary, run.failed, run.cost_usd) == ("real", False, 0.4197)


@pytest.mark.parametrize("mark", [{"parent_tool_use_id": "toolu_1"}, {"isSidechain": True}])
def test_a_sub_agents_result_is_not_the_runs(mark: dict[str, Any]) -> None:
    run = read(init(), result("sub", is_error=True, session_id="sub", **mark))

    assert (run.result, run.summary, run.failed, run.session_id) == (None, "", False, SESSION)


def test_what_a_sub_agent_says_is_not_what_the_run_says() -> None:
    run = read(init(), assistant(text("sub"), parent_tool_use_id="toolu_1"))

    assert (run.summary, run.spoke, run.truncated) == ("", False, False)


@pytest.mark.parametrize(
    ("event", "failed"),
    [
        (result(), False),
        (result("API Error: 529", is_error=True), True),
        (result(None, subtype="error_max_turns"), True),
        (result(None, subtype="error_during_execution", is_error=True), True),
        (result(is_error="true"), False),
        (result(subtype=["error"]), False),
    ],
)
def test_whether_a_result_is_a_failure(event: dict[str, Any], failed: bool) -> None:
    assert read(event).failed is failed


def test_a_result_is_kept_within_its_bound() -> None:
    denials = [{"tool_name": "Write", "tool_input": {"content": "z" * 50_000, "n": [[[[[["deep"]]]]]]}}] * 300
    run = read(result("y" * 500_000, permission_denials=denials, total_cost_usd=1.5, extra={"é" * 99: 1}))

    assert run.result is not None
    assert size(run.result) <= RESULT_BYTES
    assert (run.result["type"], run.result["total_cost_usd"]) == ("result", 1.5)
    assert run.result["result"].startswith("yyy")


# Ends without a result


@pytest.mark.parametrize(
    ("events", "empty"),
    [
        ([init(), empty_answer()], True),
        ([empty_answer(usage=None, output_tokens=0)], True),
        ([empty_answer(stop_reason="end_turn")], False),
        ([empty_answer(usage={"output_tokens": 3})], False),
        ([empty_answer(usage={})], False),
        ([empty_answer(), result()], False),
        ([empty_answer(), assistant(text("after all"), message="msg_2")], False),
        ([result()], False),
    ],
)
def test_an_empty_answer_of_the_provider(events: list[dict[str, Any]], empty: bool) -> None:
    assert read(*events).api_empty is empty


@pytest.mark.parametrize(
    ("events", "truncated"),
    [
        ([init(), assistant(text("working"))], True),
        ([assistant(tool_use())], True),
        ([assistant(text("x")), result()], False),
        ([empty_answer()], False),
        ([init()], False),
        ([result(), assistant(text("more"), message="msg_2")], True),
        ([api_error("overloaded", "API Error: 529")], False),
        ([{"type": "assistant", "message": {"content": [text("no tokens told")]}}], True),
    ],
)
def test_a_run_that_was_cut_off(events: list[dict[str, Any]], truncated: bool) -> None:
    assert read(*events).truncated is truncated


def test_an_api_error_is_kept_until_the_agent_goes_on() -> None:
    error = api_error("overloaded", "API Error: 529 Overloaded.")
    retry = {"type": "system", "subtype": "api_retry", "attempt": 1, "error_status": 529, "error": "overloaded"}

    assert read(error).api_error == {"error": "overloaded", "status": 0, "text": "API Error: 529 Overloaded."}
    assert read(retry, retry).api_error == {"error": "overloaded", "status": 529}
    assert read(retry, retry).retries == 2
    assert read(error, assistant(text("on"))).api_error is None
    assert read(error, result("API Error", is_error=True)).api_error is not None
    assert read(error, result()).api_error is None


def test_a_rate_limit_is_told() -> None:
    info = {"status": "rejected", "resetsAt": 1778565600, "rateLimitType": "five_hour", "uuid": "x" * 900}
    allowed = {"type": "rate_limit_event", "rate_limit_info": {"status": "allowed"}}
    run = read({"type": "rate_limit_event", "rate_limit_info": info}, allowed)

    assert run.rejected_until == 1778565600
    assert run.rate_limit == {"status": "allowed"}


# What is no JSON


def test_plain_lines_are_counted_and_their_first_and_last_kept() -> None:
    run = read("  Error: no such model  ", "", "   ", init(), "second", b"no newline")

    assert (run.first_plain, run.tail) == ("Error: no such model", "Error: no such model\nsecond\nno newline")
    assert (run.lines, run.unparsed, run.unparsed_bytes) == (4, 3, len("  Error: no such model  secondno newline"))


@pytest.mark.parametrize("raw", ["123", '"text"', "null", "true"])
def test_json_that_is_no_object_is_a_line_like_any_other(raw: str) -> None:
    assert read(raw).first_plain == raw


@pytest.mark.parametrize("raw", ["[1,2]", '{"type":"result"', "{not json}", '[{"a":1}'])
def test_json_whole_or_in_pieces_is_never_shown_as_text(raw: str) -> None:
    assert (read(raw).first_plain, read(raw).tail, read(raw).unparsed) == ("", "", 1)


def test_an_event_written_into_another_ones_line_spoils_only_that() -> None:
    """Seen with 2.1.74: the rate limit's event, newline included, in the middle of a message."""
    broken = b'{"type":"assistant","message":{"content":[{"text":"part{"type":"rate_limit_event"}\n of it"}]}}\n'
    quiet = b'{"type":"user","message":{"content":[{"text":"part{"type":"rate_limit_event"}\n of it"}]}}\n'
    run = read(init(), broken, quiet, "real text", result("Done."))

    assert (run.unparsed, run.first_plain, run.summary) == (5, "real text", "Done.")


def test_bytes_that_are_no_utf8_do_not_hide_an_event() -> None:
    assert read(b'{"type":"result","result":"caf\xe9 \xff"}\n').summary == "caf\ufffd \ufffd"


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 200_000,
        b'{"type":"result","result":' + b'{"a":' * 100_000,
        b'{"type":"assistant","message":' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"type":"result","num_turns":' + b"9" * 5000 + b"}",
        b'{"type":"result","num_turns":' + b"9" * 400 + b',"total_cost_usd":1e999}',
        b'{"type":"result","total_cost_usd":NaN,"usage":{"input_tokens":Infinity,"output_tokens":-Infinity}}',
        b'{"type":"result","result":"\\ud83d half \\ude00\\u0000","session_id":"\\udc00"}',
        b'{"type":{"a":[]},"message":7}',
        b"\xef\xbb\xbf{}",
        b"\0\0\0{",
    ],
)
def test_nothing_raises_and_what_is_kept_is_good_json(data: bytes) -> None:
    run = read(data)

    told = json.dumps([run.to_json(), run.result, run.summary, run.session_id], allow_nan=False, ensure_ascii=False)
    assert told.encode()
    assert "\\u0000" not in told


# Bounds


def test_a_line_over_the_cap_is_skipped_and_counted_however_it_is_cut() -> None:
    for step in (1, 3, 7, 1000):
        lines = Lines(longest=5)
        data = b"12345\n123456\n\n1234567\n12\n12345678"
        whole = [each for at in range(0, len(data), step) for each in lines.feed(data[at : at + step])]

        assert (whole, lines.close(), lines.take_skipped()) == ([b"12345", b"12"], [], (3, 21))


def test_a_line_over_the_cap_is_lost_and_the_next_one_is_read() -> None:
    transcript = Transcript()
    for _ in range(17):
        transcript.feed(b"x" * 1024 * 1024)
    transcript.feed(b"\n" + line(result()))

    assert (transcript.lost, transcript.unparsed, transcript.unparsed_bytes) == (1, 1, LONGEST + 1024 * 1024)
    assert (transcript.summary, transcript.lines) == ("Done.", 2)


def test_memory_does_not_grow_with_the_log() -> None:
    block = b"".join(stream_json.run(400_000)) + b"plain text that nobody knows\n" * 1000
    transcript = Transcript()
    transcript.feed(block)
    tracemalloc.start()
    for _ in range(10):
        transcript.feed(block)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert grown < 300_000


def test_a_dump_is_bounded_whatever_was_fed() -> None:
    wild = "\x01é\\" * 40_000
    events = [init(wild, wild, cwd=wild), *(assistant(text(wild + str(n)), message=f"{n}{wild}") for n in range(40))]
    limit = {"type": "rate_limit_event", "rate_limit_info": dict.fromkeys(("status", "rateLimitType"), wild)}
    run = read(
        *events, wild, limit, api_error(wild, wild), result(wild, is_error=True, x={wild[:999]: [wild[:999]] * 99})
    )

    assert size(run.to_json()) <= DUMP_BYTES
    again = Transcript.from_json(json.loads(json.dumps(run.to_json())))
    assert (again.turns, again.usage, again.failed, again.rate_limit) == (run.turns, run.usage, True, run.rate_limit)
    assert again.summary[:50] == run.summary[:50]


# Laws

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


@settings(deadline=None, max_examples=150)
@given(data=STREAMS, cuts=st.lists(st.integers(0, 2000), max_size=8))
@example(data=b"[" * 100_000 + b"\n" + line(result()), cuts=[1, 99_999])
def test_any_cutting_gives_the_same_state(data: bytes, cuts: list[int]) -> None:
    pieces = Transcript()
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, stop in pairwise(places):
        pieces.feed(data[start:stop])
    pieces.close()

    assert pieces.to_json() == read(data).to_json()


@settings(deadline=None, max_examples=150)
@given(before=STREAMS, after=STREAMS)
def test_a_dump_at_the_end_of_a_line_is_the_whole_state(before: bytes, after: bytes) -> None:
    """Texts that are too long for a dump aside, which these streams do not have."""
    before += b"\n"
    first = Transcript()
    first.feed(before)
    dump = first.to_json()
    second = Transcript.from_json(json.loads(json.dumps(dump)))
    second.feed(after)
    second.close()

    assert dump["cut"] is False
    assert size(dump) <= DUMP_BYTES
    assert second.to_json() == read(before + after).to_json()
    assert second.result == read(before + after).result


@settings(deadline=None, max_examples=100)
@given(before=STREAMS, half=st.binary(min_size=1, max_size=9).filter(lambda data: b"\n" not in data), after=STREAMS)
def test_a_dump_within_a_line_says_so_and_loses_that_line_alone(before: bytes, half: bytes, after: bytes) -> None:
    first = Transcript()
    first.feed(before + b"\n" + half)
    dump = first.to_json()
    second = Transcript.from_json(json.loads(json.dumps(dump)))
    second.feed(b"the rest of the line\n" + after)
    second.close()

    assert dump["cut"] is True
    whole = read(before + b"\n" + after)
    assert (second.lost, second.lines, second.result) == (1, whole.lines + 1, whole.result)
    assert (second.usage, second.summary) == (whole.usage, whole.summary)


@settings(deadline=None, max_examples=150)
@given(data=st.one_of(STREAMS, st.binary(max_size=200)))
def test_no_bytes_raise_and_all_that_is_kept_is_plain_json(data: bytes) -> None:
    run = read(data)
    told = [run.to_json(), run.result, run.summary, run.tail, run.first_plain, run.session_id, run.model, run.api_error]

    assert json.dumps(told, allow_nan=False, ensure_ascii=False).encode()
    assert size(run.result) <= RESULT_BYTES
    assert run.unparsed <= run.lines
    assert all(number >= 0 for number in run.usage or ())


@settings(deadline=None, max_examples=100)
@given(data=st.one_of(NESTED, st.dictionaries(st.sampled_from([*Transcript().to_json()]), NESTED)))
def test_a_dump_of_another_shape_is_as_if_it_had_never_been(data: object) -> None:
    transcript = Transcript.from_json(data)
    transcript.feed(b"\n" + line(result()))

    assert transcript.summary == "Done."
    assert transcript.to_json()["has_result"] is True


def test_a_made_up_run_is_read_to_its_end() -> None:
    run = read(b"".join(stream_json.run(200_000)))

    assert run.tool_calls == run.turns > 10
    assert 0 < run.tool_errors < run.tool_calls
    assert (run.unparsed, run.lost, run.failed) == (0, 0, False)
