"""Every cut of a stream: nothing lost, nothing twice, in order; and what is lost is said."""

from __future__ import annotations

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adapter.cluster.cursor import Cursor
from adapter.cluster.framing import Framer
from tests.unit.kubelet import PART, SECOND, File, Part, Reader, files, parts_of, stamp

CAPS = st.sampled_from([1, 5, PART, 40, 10_000])
CUTS = st.lists(st.tuples(st.integers(0, 400), st.sampled_from([0, 1, 3, 17])), max_size=8)
BEGINNING = st.one_of(st.none(), st.integers(0, 30))
NOISE = b'rpc error: code = NotFound desc = an error occurred when try to find container "%s": not found' % (b"0a" * 32)


@pytest.fixture(autouse=True, scope="module")
def forgetful() -> Iterator[None]:
    """A cursor that forgets soon, so that short logs show what long ones would."""
    with patch("adapter.cluster.cursor.KEPT", 8):
        yield


@settings(deadline=None, max_examples=600)
@given(file=files(), cap=CAPS, cuts=CUTS)
def test_every_byte_is_delivered_once_however_the_stream_is_cut(
    file: File, cap: int, cuts: list[tuple[int, int]]
) -> None:
    reader = Reader.new(cap)
    for upto, block in cuts:
        reader.stream(file, upto, block)
    reader.stream(file)
    reader.finish()

    assert (reader.data, reader.gaps) == (file.text, [])


@settings(deadline=None, max_examples=300)
@given(file=files(), cap=CAPS, cuts=CUTS)
def test_a_cursor_in_text_continues_in_another_process(file: File, cap: int, cuts: list[tuple[int, int]]) -> None:
    data = b""
    cursor = Cursor()
    for upto, block in cuts:
        reader = Reader(Framer(cap, Cursor.parse(str(cursor))), [])
        reader.stream(file, upto, block)
        assert not reader.gaps
        taken = reader.batches[: upto % 3 + 1]  # the sink may have taken only some of it
        data += b"".join(batch.data for batch in taken)
        cursor = taken[-1].cursor if taken else cursor
    last = Reader(Framer(cap, Cursor.parse(str(cursor))), [])
    last.stream(file)
    last.finish()

    assert (data + last.data, last.gaps) == (file.text, [])


def test_a_thousand_random_cuts() -> None:
    lines = [(n * 7_000_000 - n % 5 * 9_000_000 + 40_000_000, b"line %d\n" % n) for n in range(500)]
    file = File.of(*lines)
    reader = Reader.new(1000)
    for n in range(1_000):
        reader.stream(file, upto=41 * (n % 130 + 1), block=n % 7 * 64)
    reader.stream(file)

    assert (reader.data, reader.gaps) == (file.text, [])


@pytest.mark.parametrize(("apart", "count"), [(0, 8), (1, 36), (SECOND // 7, 36), (SECOND, 36)])
def test_lines_that_are_the_same_are_no_repeats(apart: int, count: int) -> None:
    """A message's blocks share its id, a tool may be asked the same twice: the old adapter dropped all but one."""
    events = (b'{"type":"assistant","message":{"id":"m"}}\n', b'{"type":"result","session_id":"s"}\n', b"status\n")
    file = File.of(*((n * apart, events[n // 3 % 3]) for n in range(count)))
    reader = Reader.new(1000)
    for upto in range(0, len(file.serve()), 61):
        reader.stream(file, upto, block=17)
    reader.stream(file)

    assert (reader.data, reader.gaps) == (file.text, [])


@settings(deadline=None, max_examples=400)
@given(file=files(distinct=True, least=3), cap=CAPS, upto=st.integers(0, 600), lost=st.integers(0, 24))
def test_after_a_rotation_nothing_comes_twice_and_what_may_be_lost_is_said(
    file: File, cap: int, upto: int, lost: int
) -> None:
    lost = min(lost, file.lines)
    later = file.rotated(lost)
    reader = Reader.new(cap)
    reader.stream(file, upto)
    before, cursor = reader.data, reader.framer.cursor
    reader.stream(later)
    reader.finish()

    after = reader.data[len(before) :]
    if not cursor.marks:
        assert (after, reader.gaps) == (later.text, [])  # nothing was read, so nobody can know
    elif any(stamp(part.at) == cursor.marks[-1] for part in later.parts):
        assert (before + after, reader.gaps) == (file.text, [])
    else:
        assert file.text[len(before) :].endswith(after)
        assert len(reader.gaps) == 1


@settings(deadline=None, max_examples=300)
@given(file=files(distinct=True, least=4), cap=CAPS, again=st.integers(0, 20))
def test_a_repeat_within_a_stream_is_skipped_and_said(file: File, cap: int, again: int) -> None:
    whole = File(tuple(p for p in file.parts[: last_end(file)])) if file.lines else file
    repeat = whole.rotated(min(again, max(0, whole.lines - 1)))
    new = File.of((100 * SECOND, b"new\n"), (101 * SECOND, b"newer\n"))
    reader = Reader.new(cap)
    reader.framer.resume()
    for block in (whole.serve(), repeat.serve() + new.serve()):
        reader.batches += reader.framer.feed(block)

    back = bool(repeat.parts) and goes_back(whole, repeat)
    if back:
        assert reader.data == whole.text + new.text
        assert reader.gaps == ["the log was repeated from an earlier point"]


def last_end(file: File) -> int:
    return max(n + 1 for n, part in enumerate(file.parts) if part.text.endswith(b"\n"))


def goes_back(file: File, repeat: File) -> bool:
    firsts = [part.at for n, part in enumerate(file.parts) if n == 0 or file.parts[n - 1].text.endswith(b"\n")]
    return firsts[-1] // SECOND - repeat.parts[0].at // SECOND > 1


def test_a_repeat_within_one_block_is_noticed() -> None:
    file = File.of(*((n * SECOND, b"%d\n" % n) for n in range(10)))
    reader = Reader.new(1000)
    reader.batches += reader.framer.feed(file.serve() + file.serve())

    assert (reader.data, len(reader.gaps)) == (file.text, 1)


@settings(deadline=None, max_examples=400)
@given(size=st.integers(0, 300), cap=st.integers(1, 64), block=st.integers(1, 70))
@example(size=64, cap=64, block=1)
def test_a_line_over_the_cap_comes_in_flagged_pieces(size: int, cap: int, block: int) -> None:
    file = File.of((0, bytes(97 + n % 26 for n in range(size)) + b"\n"), part=10_000)
    reader = Reader.new(cap)
    reader.stream(file, block=block)

    assert reader.data == file.text
    assert [len(b.data) for b in reader.batches[:-1]] == [cap] * ((size - 1) // cap)
    assert [b.continued for b in reader.batches] == [True] * ((size - 1) // cap) + [False]


def test_a_line_without_end_takes_bounded_memory() -> None:
    reader = Reader.new(100)
    reader.framer.feed(stamp(0) + b" ")
    for _ in range(2_000):
        for batch in reader.framer.feed(b"x" * 64):
            assert batch.continued
        assert len(reader.framer._rest) <= 100 + 64 + 36


def test_a_stream_cut_inside_a_long_line_goes_on_inside_it() -> None:
    file = File.of((0, b"first\n"), (SECOND, b"0123456789" * 9 + b"\n"), (2 * SECOND, b"last\n"))
    reader = Reader.new(20)
    reader.stream(file, upto=130)
    assert reader.framer.cursor.taken == 60
    reader.stream(file)

    assert (reader.data, reader.gaps) == (file.text, [])


def test_a_rotation_before_the_rest_of_a_long_first_line_takes_no_byte_of_another() -> None:
    file = File.of((0, b"x" * 100 + b"\n"), (SECOND, b"second line\n"))
    reader = Reader.new(20)
    reader.stream(file, upto=80)
    reader.stream(file.rotated(1))

    assert reader.data == b"x" * 40 + b"second line\n"
    assert len(reader.gaps) == 1


def test_an_answer_that_begins_with_the_rest_of_a_long_line() -> None:
    file = File(
        (Part(0, b"a" * PART), Part(3 * SECOND, b"b\n"), Part(3 * SECOND + 1, b"c\n"), Part(4 * SECOND, b"d\n"))
    )
    reader = Reader.new(1000)
    reader.stream(file, upto=len(file.serve()) - 33)
    assert file.serve(reader.framer.resume()).startswith(b"b\n")
    reader.stream(file)

    assert (reader.data, reader.gaps) == (file.text, [])


def test_an_unstamped_rest_within_a_replay_is_not_reported() -> None:
    late = parts_of(999_999_999, b"y" * PART + b"rest\n")
    parts = (Part(SECOND + 5, b"a\n"), late[0], Part(SECOND + 9, late[1].text), Part(2 * SECOND, b"b\n"))
    file = File(parts)
    reader = Reader.new(1000)
    reader.stream(file)
    assert b"\nrest\n" in file.serve(reader.framer.resume())
    reader.stream(file)

    assert (reader.data, reader.gaps) == (file.text, [])


def test_stderr_between_the_parts_of_a_line_is_delivered_as_the_log_has_it() -> None:
    file = File((Part(0, b"o" * PART), Part(1, b"error\n"), Part(2, b"ut\n")))
    reader = Reader.new(1000)
    reader.stream(file, upto=20)
    reader.stream(file)

    assert reader.data == b"o" * PART + b"error\nut\n"


@pytest.mark.parametrize("own", [b"", stamp(SECOND) + b" 78"])
def test_the_kubelets_own_words_are_no_log(own: bytes) -> None:
    reader = Reader.new(10_000)
    reader.batches += reader.framer.feed(stamp(0) + b" 77\n" + own + NOISE)
    reader.finish()

    assert reader.data == b"77\n" + own[31:]
    assert reader.gaps == ["the container was removed while its log was read"]


def test_a_line_without_a_stamp_is_not_the_agents() -> None:
    reader = Reader.new(1000)
    reader.batches += reader.framer.feed(stamp(0) + b" one\nstrange\n" + stamp(1) + b" two\n")

    assert reader.data == b"one\ntwo\n"
    assert reader.gaps == ["the log holds a line that is not the container's"]


def test_a_gap_keeps_its_place() -> None:
    reader = Reader.new(1000)
    reader.batches += reader.framer.feed(stamp(0) + b" one\nstrange\n" + stamp(1) + b" two\n")

    assert [batch.gap is not None for batch in reader.batches] == [False, True, False]


def test_a_stamp_that_was_cut_off_is_reported() -> None:
    reader = Reader.new(1000)
    reader.batches += reader.framer.feed(stamp(0) + b" one\n" + stamp(1)[:12])
    reader.finish()

    assert (reader.data, len(reader.gaps)) == (b"one\n", 1)


def test_an_unfinished_line_survives_a_stream_that_never_came() -> None:
    reader = Reader.new(1000)
    reader.batches += reader.framer.feed(stamp(0) + b" one\n" + stamp(1) + b" last words")
    reader.framer.resume()  # the pod is gone: 404
    reader.finish()

    assert (reader.data, reader.gaps) == (b"one\nlast words", [])


def test_an_end_before_the_last_line_that_was_read_is_reported() -> None:
    file = File.of((0, b"one\n"), (1, b"two\n"))
    reader = Reader.new(1000)
    reader.stream(file)
    reader.stream(file, upto=31 + 4)
    reader.finish()

    assert (reader.data, reader.gaps) == (file.text, ["the log ended before the last line that was read"])


@pytest.mark.parametrize("offset", ["+08:00", "-05:00"])
def test_a_nodes_own_time_zone(offset: str) -> None:
    lines = [(n * 300_000_000, b"line %d %s\n" % (n, b"x" * n)) for n in range(30)]
    file = File(File.of(*lines).parts, offset)
    reader = Reader.new(10)
    for upto in range(0, 900, 41):
        reader.stream(file, upto, block=13)
    reader.stream(file)

    assert (reader.data, reader.gaps) == (file.text, [])
    assert reader.batches[-1].stamp == stamp(lines[-1][0])


def test_a_clock_put_forward_an_hour_is_no_repeat() -> None:
    framer = Framer(1000)
    framer.feed(stamp(0, "+01:00") + b" winter\n")
    (batch,) = framer.feed(stamp(SECOND, "+02:00") + b" summer\n")

    assert (batch.data, batch.gap) == (b"summer\n", None)
