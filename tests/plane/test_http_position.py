"""Where the log goes on when somebody goes on with it: at the place that the control plane has kept (law 8)."""

from __future__ import annotations

from dataclasses import replace
from zlib import crc32

import anyio
import pytest

from adapter.plane import Position
from adapter.plane.http_mark import Mark
from tests.plane.desk import (
    DOWN,
    FAST,
    RESULT,
    Desk,
    arrives,
    chunk,
    have,
    told,
    unknown,
)

COMPRESSED = True


async def test_a_position_is_the_planes_and_the_checksum_goes_on_from_there() -> None:
    desk = Desk()
    have(desk, b"one\n")
    async with told(desk) as plane:
        assert await plane.position("stdout") == Position(4, "c4")
        assert await plane.position("stderr") is None
        await plane.log(chunk(b"two\n", 4))
        await plane.result(RESULT)

    assert desk.report
    assert desk.report["log"] == {
        "stdout": {"size": 8, "crc32": crc32(b"one\ntwo\n")},
        "stderr": {"size": 0, "crc32": 0},
    }


async def test_a_position_forgets_what_was_not_sent() -> None:
    desk = Desk()
    desk.always["log"] = DOWN
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await desk.until(lambda: desk.kinds("log"))
        assert await plane.position("stdout") is None
        desk.always.clear()
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")
        await plane.result(RESULT)


async def test_a_position_in_the_middle_of_an_append_does_not_lose_its_place() -> None:
    desk, go_on = Desk(), anyio.Event()

    async def late() -> None:
        await go_on.wait()

    desk.instead["log"].append(late)
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await desk.until(lambda: desk.kinds("log"))
        assert await plane.position("stdout") is None
        await plane.log(chunk(b"one\ntwo\n"))
        go_on.set()
        await arrives(desk, b"one\ntwo\n")
        await plane.result(RESULT)
    assert not desk.words()


async def test_a_position_inside_a_chunk_goes_back_to_the_cursors_place() -> None:
    desk = Desk()
    have(desk, b"one\ntwo\nth", cursor=Mark("c4", crc32(b"one\ntwo\nth"), 6, crc32(b"one\n")))
    async with told(desk) as plane:
        assert await plane.position("stdout") == Position(4, "c4")
        await plane.log(chunk(b"two\nthree\n", 4))
        await plane.result(RESULT)

    assert desk.text == b"one\ntwo\nthree\n"
    assert not desk.words()


@pytest.mark.parametrize("cursor", ["theirs", '{"not": "ours"}', "[1, 2]"])
async def test_a_cursor_that_is_not_ours_is_given_back_as_it_is(cursor: str) -> None:
    desk = Desk()
    have(desk, b"one\n", cursor=cursor)
    async with told(desk) as plane:
        assert await plane.position("stdout") == Position(4, cursor)
        await plane.log(chunk(b"two\n", 4))
        await plane.result(RESULT)

    assert desk.text == b"one\ntwo\n"
    assert desk.report
    assert desk.report["log"]["stdout"] == {"size": 8, "crc32": None}, "who does not know says so"


async def test_a_log_that_begins_beyond_what_is_known_asks_first() -> None:
    desk = Desk()
    have(desk, b"one\n")
    async with told(desk) as plane:
        await plane.log(chunk(b"two\n", 4))
        await plane.result(RESULT)

    assert desk.text == b"one\ntwo\n"
    assert desk.report
    assert desk.report["log"]["stdout"]["crc32"] == crc32(b"one\ntwo\n")


async def test_a_position_of_a_run_that_is_not_known_is_none_once_that_is_confirmed() -> None:
    desk = Desk()
    have(desk, b"one\n")
    async with told(desk, replace(FAST, confirm=60)) as plane:
        desk.instead["status"] += [unknown()]
        assert await plane.position("stdout") == Position(4, "c4"), "it was not confirmed"
        desk.always["status"] = unknown()
        assert await plane.position("stdout") is None


async def test_a_position_raises_when_there_is_no_answer() -> None:
    desk = Desk()
    desk.always["status"] = DOWN
    async with told(desk) as plane:
        with pytest.raises(Exception, match="HTTP 503"):
            await plane.position("stdout")
