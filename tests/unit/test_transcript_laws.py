"""A transcript is in constant memory, and the same however its stream is cut; and nothing raises."""

from __future__ import annotations

import json
import tracemalloc
from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapter.agent.bounds import size
from adapter.agent.facts import DUMP_BYTES
from adapter.agent.lines import LONGEST, Lines
from adapter.agent.transcript import RESULT_BYTES, Transcript
from tests import stream_json
from tests.stream_json import assistant, init, line, result, text
from tests.unit.transcripts import NESTED, STREAMS, api_error, read

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
