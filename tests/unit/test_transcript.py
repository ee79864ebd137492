"""What stdout tells: the facts of good and bad streams; and nothing raises."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapter.agent.bounds import size
from adapter.agent.transcript import RESULT_BYTES
from adapter.agent.usage import Usage
from tests.stream_json import MODEL, SESSION, assistant, init, result, text, tool_result, tool_use
from tests.unit.transcripts import api_error, empty_answer, read

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
