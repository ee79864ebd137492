"""A log that was rotated before it was first read is told from one that was not, as far as it can be."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.cluster.beginning import FAST, UNSURE, Beginning
from adapter.cluster.cursor import Cursor
from adapter.cluster.pods import Pod
from tests.unit.kubelet import SECOND, stamp
from tests.unit.raws import raw_pod, running

ROTATES = 10 * 1024 * 1024
BLOCK = 64 * 1024

MOMENTS = st.integers(0, SECOND - 1)
"""When within its second a container starts: the API server tells the second alone."""
SPANS = st.integers(SECOND // 20, 40 * SECOND)


def said(first: int, until: int, size: int) -> Iterator[tuple[bytes, Cursor]]:
    """A log in blocks, evenly, from one moment to another; moments in nanoseconds."""
    count = max(1, size // BLOCK)
    for n in range(count):
        at = stamp(first + (until - first) * n // count)
        yield at + b" " + b"x" * (BLOCK - len(at) - 2) + b"\n", Cursor().after([at])


def doubted(beginning: Beginning, blocks: Iterator[tuple[bytes, Cursor]]) -> bool:
    """Whether it is doubted; and once at the most."""
    doubts = sum(beginning.took(*block) for block in blocks)
    assert doubts in (0, 1)
    return doubts == 1


def begun(at: int, *, age: float = inf) -> Beginning:
    """The beginning of a container that was started at a moment and is opened when it has run for at most `age` s."""
    made = Beginning(stamp(at)[:19].decode() + "Z", 100.0 - age)
    made.opened(100.0)
    return made


@settings(deadline=None)
@given(start=MOMENTS, span=SPANS, more=st.floats(1.0, 3.0))
def test_500000_lines_at_once_were_rotated_before_they_were_first_read(start: int, span: int, more: float) -> None:
    """The first 108,932 lines were missing, and the log was called complete."""
    rest = said(start + span, start + span + int(span * more), int(ROTATES * more))
    assert doubted(begun(start), rest)


@settings(deadline=None)
@given(start=MOMENTS, span=SPANS, speed=st.floats(0.01, 0.95))
def test_a_log_that_is_too_slow_to_have_been_rotated_is_not_doubted(start: int, span: int, speed: float) -> None:
    unread = start + span - start // SECOND * SECOND
    first = start + span
    assert not doubted(begun(start), said(first, first + 3 * unread, int(3 * FAST * speed)))


@settings(deadline=None)
@given(start=MOMENTS, silent=st.integers(int(UNSURE) + 2, 4000))
def test_a_log_that_was_open_before_it_began_is_not_doubted(start: int, silent: int) -> None:
    """Half an hour of compiling, and then megabytes of words: nothing was there to be rotated."""
    first = start + silent * SECOND
    assert not doubted(begun(start, age=silent - UNSURE - 1.5), said(first, first + SECOND, 3 * ROTATES))
    assert doubted(begun(start, age=silent + 1), said(first, first + SECOND, 3 * ROTATES))


@settings(deadline=None)
@given(age=st.floats(0.05, 0.5))
def test_no_more_was_said_unread_than_since_the_job_was_let_run(age: float) -> None:
    """A start that is told in whole seconds can seem a second older, in which a log can say much."""
    start, span = SECOND - 1, int(age * SECOND)
    assert not doubted(begun(start, age=age), said(start, start + 2 * span, int(1.5 * FAST)))
    assert doubted(begun(start, age=age), said(start, start + 2 * span, 3 * FAST))


def test_what_nothing_is_known_of_is_not_doubted() -> None:
    unknown = Beginning(None)
    unknown.opened(1.0)
    assert not doubted(unknown, said(SECOND, SECOND, 3 * ROTATES))
    assert not begun(0).took(b"no stamp\n" * 900_000, Cursor())


def test_a_clock_that_was_put_back_is_no_doubt() -> None:
    assert not doubted(begun(300 * SECOND), said(0, 300 * SECOND, 3 * ROTATES))


def test_an_agents_transcript_tells_its_beginning_itself() -> None:
    plain, agents = (Pod.of(raw_pod(running(), *more)) for more in ((), (running("stderr"),)))
    blocks = list(said(2**36, 2**36, 2 * FAST))
    assert doubted(Beginning.of(plain, "claude"), iter(blocks))
    assert not doubted(Beginning.of(agents, "claude"), iter(blocks))
    assert doubted(Beginning.of(agents, "stderr"), iter(blocks))
    assert not doubted(Beginning.of(plain, "another"), iter(blocks))
