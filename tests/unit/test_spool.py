from __future__ import annotations

import asyncio
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.cluster.cursor import Cursor
from adapter.cluster.framing import Batch
from adapter.spool import CHUNK, Spool

BIG = 1 << 20


def line(data: bytes, at: int = 0) -> Batch:
    return Batch(data, Cursor().within(b"s", at), b"stamp")


def piece(data: bytes) -> Batch:
    return Batch(data, Cursor(), continued=True)


def gap(words: str) -> Batch:
    return Batch(b"", Cursor(), gap=words)


async def drained(spool: Spool) -> list[Batch]:
    spool.close()
    batches = []
    while batch := await spool.get():
        batches.append(batch)
    return batches


async def test_lines_are_handed_out_together_with_the_last_ones_cursor() -> None:
    spool = Spool(BIG, BIG)
    spool.put([line(b"one\n", 1), line(b"two\n", 2)])
    spool.put([line(b"three\n", 3)])

    assert await drained(spool) == [line(b"one\ntwo\nthree\n", 3)]


async def test_a_chunk_has_its_most() -> None:
    spool = Spool(4 * CHUNK, BIG)
    half = b"x" * (CHUNK // 2 - 1) + b"\n"
    spool.put([line(half)] * 5)

    assert [len(batch.data) for batch in await drained(spool)] == [CHUNK, CHUNK, CHUNK // 2]


async def test_a_gap_keeps_its_place_between_lines() -> None:
    spool = Spool(BIG, BIG)
    spool.put([line(b"one\n"), gap("lost"), line(b"two\n"), line(b"three\n")])

    assert [batch.gap or batch.data for batch in await drained(spool)] == [b"one\n", "lost", b"two\nthree\n"]


async def test_pieces_of_a_long_line_are_not_merged() -> None:
    spool = Spool(BIG, BIG)
    batches = [line(b"one\n"), piece(b"aaaa"), piece(b"bbbb"), line(b"end\n")]
    spool.put(batches)

    assert await drained(spool) == batches


async def test_an_unfinished_last_line_is_not_merged() -> None:
    spool = Spool(BIG, BIG)
    spool.put([line(b"one\n"), line(b"last")])

    assert [batch.data for batch in await drained(spool)] == [b"one\n", b"last"]


async def test_what_memory_does_not_hold_goes_to_disk_and_back_in_order() -> None:
    spool = Spool(20, 1000)
    batches = [piece(b"%08d" % n) for n in range(50)]
    spool.put(batches)

    assert spool._files
    assert await drained(spool) == batches
    assert not spool._files


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.just("get"),
            st.integers(0, 30).map(lambda n: line(b"l" * n + b"\n")),
            st.integers(1, 30).map(lambda n: piece(b"p" * n)),
            st.integers().map(lambda n: gap(f"gap {n}")),
        )
    ),
    st.integers(0, 60),
)
def test_everything_comes_out_once_and_in_order(steps: list[Batch | str], memory: int) -> None:
    async def run() -> tuple[list[Batch], list[Batch]]:
        spool = Spool(memory, 200)
        put: list[Batch] = []
        got: list[Batch] = []
        for step in steps:
            if isinstance(step, Batch):
                spool.put([step])
                put.append(step)
            elif len(flat(put)) > len(flat(got)):
                batch = await spool.get()
                assert batch
                got.append(batch)
            assert spool.pending == sum(len(b.data) for b in put) - sum(len(b.data) for b in got)
        return put, got + await drained(spool)

    put, got = asyncio.run(run())
    assert flat(put) == flat(got)


def flat(batches: list[Batch]) -> list[str]:
    """Bytes and gaps, one by one."""
    return [part for batch in batches for part in ([batch.gap] if batch.gap else batch.data.decode())]


async def test_the_reader_waits_only_when_the_disk_is_full() -> None:
    spool = Spool(10, 30)
    spool.put([piece(b"12345678")] * 4)
    assert not spool.full
    spool.put([piece(b"12345678")] * 2)
    assert spool.full

    waiting = asyncio.create_task(spool.room())
    while not waiting.done():
        assert await spool.get()
        await asyncio.sleep(0)
    assert not spool.full
    spool.discard()


async def test_the_disk_is_given_back_while_the_sink_is_behind() -> None:
    spool = Spool(10, 4000)
    for _ in range(500):
        spool.put([piece(b"x" * 100)])
        if spool.pending > 2000:
            await spool.get()

    assert sum(file.written for file in spool._files) < 20_000
    spool.discard()


async def test_a_discard_forgets_and_lets_the_reader_go_on() -> None:
    spool = Spool(10, 10)
    spool.put([piece(b"x" * 30), piece(b"y" * 30), line(b"z\n")])
    waiting = asyncio.create_task(spool.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    spool.discard()
    await waiting

    assert (spool.pending, await drained(spool)) == (0, [])


async def test_a_spool_can_be_used_after_a_discard() -> None:
    spool = Spool(10, 100)
    spool.put([piece(b"x" * 30)])
    spool.discard()
    spool.put([piece(b"y" * 30), piece(b"z")])

    assert [batch.data for batch in await drained(spool)] == [b"y" * 30, b"z"]


async def test_get_waits_for_what_is_put() -> None:
    spool = Spool(BIG, BIG)
    getting = asyncio.create_task(spool.get())
    await asyncio.sleep(0)
    spool.put([line(b"one\n")])

    assert await getting == line(b"one\n")


async def test_a_line_alone_does_not_keep_a_cursor_of_its_own() -> None:
    spool = Spool(BIG, BIG)
    for n in range(1000):
        spool.put([line(b"x\n", n)])

    assert sum(1 for batch in spool._tail if batch.cursor != Cursor()) == 1


async def test_no_file_is_made_for_a_sink_that_keeps_up() -> None:
    with patch("adapter.spool._File", side_effect=AssertionError):
        spool = Spool(100, 100)
        for _ in range(50):
            spool.put([piece(b"x" * 60)])
            await spool.get()


@pytest.mark.parametrize("memory", [0, 1])
async def test_any_memory_will_do(memory: int) -> None:
    spool = Spool(memory, 100)
    spool.put([line(b"one\n"), line(b"two\n")])

    assert flat(await drained(spool)) == list("one\ntwo\n")


async def test_without_a_disk_everything_is_kept_and_the_reader_waits() -> None:
    spool = Spool(memory=10, disk=1000)
    with patch("tempfile.TemporaryFile", side_effect=FileNotFoundError("No usable temporary directory")):
        for n in range(8):
            spool.put([Batch(b"line %d\n" % n, Cursor())])
    assert spool.full
    spool.close()
    data = b""
    while batch := await spool.get():
        data += batch.data
    assert data == b"".join(b"line %d\n" % n for n in range(8))
    assert not spool.full
