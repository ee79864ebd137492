"""Log that waits for a control plane: everything comes out once, in order, whatever there is of memory and disk."""

from __future__ import annotations

import tempfile
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.plane import LogChunk
from adapter.plane.http_queue import Queue, end
from tests.plane.desk import chunk, chunks

COMPRESSED = True

PIECES = st.lists(st.tuples(st.sampled_from([b"a\n", b"bbbb\n", b"x" * 9, b"cc\ndd\n"]), st.booleans()), max_size=30)


def drained(queue: Queue, most: int = 100) -> list[LogChunk]:
    taken = []
    while one := queue.take(most):
        taken.append(one)
    return taken


@settings(deadline=None)
@given(PIECES, st.integers(0, 40), st.integers(0, 400), st.integers(1, 20), st.integers(0, 5))
async def test_everything_comes_out_once_and_in_order(
    pieces: list[tuple[bytes, bool]], memory: int, disk: int, most: int, rhythm: int
) -> None:
    queue, taken, offset = Queue(memory, disk), [], 0
    for number, (data, continued) in enumerate(pieces):
        queue.put(chunk(data, offset, continued=continued))
        offset += len(data)
        if rhythm and number % rhythm == 0 and (one := queue.take(most)):
            taken.append(one)
        assert queue.pending == offset - sum(len(c.data) for c in taken)
    taken += drained(queue, most)

    assert b"".join(c.data for c in taken) == b"".join(data for data, _ in pieces)
    assert [c.offset for c in taken] == [0, *(end(c) for c in taken)][: len(taken)]
    assert all(str(c.cursor) == f"c{end(c)}" for c in taken), "a chunk must bear the cursor of its own end"
    assert queue.pending == 0


def test_small_chunks_are_joined_up_to_the_bound() -> None:
    queue = Queue(80, 0)
    for one in chunks(*[b"line\n"] * 10):
        queue.put(one)

    assert [len(c.data) for c in drained(queue, 45)] == [40, 10]


def test_pieces_of_a_line_are_not_joined_with_others() -> None:
    queue = Queue(1000, 0)
    queue.put(chunk(b"whole\n"))
    queue.put(chunk(b"begun", 6, continued=True))
    queue.put(chunk(b"ended\n", 11))

    assert [c.data for c in drained(queue)] == [b"whole\n", b"begun", b"ended\n"]


def test_the_memory_bound_sends_the_rest_to_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    spilled = files(monkeypatch)
    queue = Queue(40, 10_000)
    for one in chunks(*[b"123456789\n"] * 30):
        queue.put(one)

    assert len(spilled) == 1
    assert queue._in_memory + queue._gathered <= 40
    assert len(b"".join(c.data for c in drained(queue))) == 300
    assert spilled[0].closed, "the space is not given back"


async def test_the_disk_bound_makes_the_caller_wait_until_all_of_it_was_taken() -> None:
    queue = Queue(4, 300)
    given = iter(chunks(*[b"123456789\n"] * 100))
    while not queue._disk.full:
        queue.put(next(given))
    waited = anyio.Event()

    async def waits() -> None:
        await queue.room()
        waited.set()

    async with anyio.create_task_group() as group:
        group.start_soon(waits)
        await anyio.lowlevel.checkpoint()
        assert not waited.is_set()
        drained(queue)
        with anyio.fail_after(1):
            await waited.wait()


async def test_a_disk_that_takes_nothing_makes_the_caller_wait_and_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*args: Any, **how: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    queue = Queue(4, 10_000)
    for one in chunks(*[b"123456789\n"] * 4):
        queue.put(one)

    with anyio.move_on_after(0) as waiting:
        await queue.room()
    assert waiting.cancelled_caught
    assert b"".join(c.data for c in drained(queue)) == b"123456789\n" * 4
    await queue.room()


def test_a_disk_that_becomes_full_in_the_middle_keeps_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    spilled = files(monkeypatch)
    queue = Queue(4, 10_000)
    for number, one in enumerate(chunks(*[b"%08d\n" % n for n in range(9)])):
        if number == 5:
            monkeypatch.setattr(spilled[0], "write", lambda packed: len(packed) // 2)
        queue.put(one)

    assert b"".join(c.data for c in drained(queue)) == b"".join(b"%08d\n" % n for n in range(9))


def test_a_cursor_becomes_text_only_on_the_way_to_disk() -> None:
    class Costly:
        asked = 0

        def __str__(self) -> str:
            self.asked += 1
            return "text"

    cursor = Costly()
    queue = Queue(100, 100)
    queue.put(chunk(b"a\n", 0, cursor))
    queue.take(10)

    assert cursor.asked == 0


def test_clearing_forgets_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spilled = files(monkeypatch)
    queue = Queue(4, 10_000)
    for one in chunks(*[b"123456789\n"] * 9):
        queue.put(one)
    queue.clear()

    assert queue.pending == 0
    assert queue.take(100) is None
    assert spilled[0].closed


class _Watched:
    """A file of which a test may replace the methods."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, packed: bytes) -> int:
        return int(self._file.write(packed))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def files(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The unnamed files that are opened from now on."""
    opened: list[Any] = []
    make = tempfile.TemporaryFile

    def opens(**how: Any) -> Any:
        opened.append(_Watched(make(**how)))
        return opened[-1]

    monkeypatch.setattr(tempfile, "TemporaryFile", opens)
    return opened
