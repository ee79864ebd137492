"""The log on its way to a control plane: taken at once, sent in its time, whole and in order (law 3)."""

from __future__ import annotations

import base64
from dataclasses import replace
from zlib import crc32

import anyio
import httpx
import pytest

from adapter.plane.http_mark import Mark
from tests.plane.desk import (
    DOWN,
    FAST,
    NO_ANSWER,
    RESULT,
    Desk,
    arrives,
    chunk,
    chunks,
    give,
    told,
)

COMPRESSED = True


@pytest.mark.parametrize(
    "failure",
    [
        httpx.Response(500),
        httpx.Response(502, html="<h1>Bad Gateway</h1>"),
        httpx.Response(503, headers={"retry-after": "0"}),
        httpx.Response(429),
        httpx.Response(401),
        httpx.Response(403),
        httpx.Response(400, json={"error": {"code": "x", "message": "no"}}),
        httpx.Response(422, json={"error": {"code": "x", "message": "no"}}),
        httpx.Response(418),
        httpx.Response(404, html="<h1>default backend</h1>"),
        httpx.Response(307, headers={"location": "http://elsewhere/"}),
        httpx.Response(200, html="<h1>Log in</h1>"),
        httpx.Response(409, html="<h1>what?</h1>"),
        httpx.ConnectError("refused"),
        NO_ANSWER,
    ],
    ids=lambda failure: str(getattr(failure, "status_code", type(failure).__name__)),
)
async def test_an_append_is_repeated_until_it_is_taken(failure: httpx.Response | Exception) -> None:
    desk = Desk()
    desk.instead["log"] += [failure] * 3
    async with told(desk) as plane:
        await give(plane, chunks(b"one\n", b"two\n"))
        await arrives(desk, b"one\ntwo\n")


async def test_retry_after_is_waited_for_and_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    sleep = anyio.sleep

    async def quick(seconds: float) -> None:
        slept.append(seconds)
        await sleep(0)

    monkeypatch.setattr("adapter.backoff.anyio.sleep", quick)
    desk = Desk()
    desk.instead["log"] += [httpx.Response(503, headers={"retry-after": after}) for after in ("7", "86400")]
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")

    assert slept == [7.0, 60.0]


async def test_the_backoff_grows_with_jitter_and_is_short_again_after_a_success() -> None:
    desk = Desk()
    desk.instead["log"] += [DOWN] * 50
    limits = replace(FAST, retry_first=0.0001, retry_most=0.001)
    async with told(desk, limits) as plane:
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")
    assert len(desk.kinds("log")) == 51


async def test_an_append_says_where_it_begins_and_bears_cursor_stamp_and_checksum() -> None:
    desk = Desk()
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")
        await plane.log(chunk(b"begun", 4, continued=True))
        await arrives(desk, b"one\nbegun")
        await plane.log(chunk(b"oops\n", stream="stderr"))
        await desk.until(lambda: desk.logs["stderr"])

    assert [(a["stream"], a["offset"], a["continued"]) for a in desk.appends] == [
        ("stdout", 0, False),
        ("stdout", 4, True),
        ("stderr", 0, False),
    ]
    assert [Mark.parse(a["cursor"]) for a in desk.appends] == [
        Mark("c4", crc32(b"one\n")),
        Mark("c9", crc32(b"one\nbegun")),
        Mark("c5", crc32(b"oops\n")),
    ]
    assert desk.appends[0]["stamp"] == "2026-01-01T00:00:00.0Z"
    assert "gap" not in desk.appends[0]


async def test_small_chunks_are_joined_while_a_request_is_under_way() -> None:
    desk, go_on = Desk(), anyio.Event()

    async def slow() -> None:
        await go_on.wait()

    desk.instead["log"].append(slow)
    async with told(desk) as plane:
        await plane.log(chunk(b"first\n"))
        await desk.until(lambda: desk.kinds("log"))
        rest = [b"line %d\n" % n for n in range(100)]
        await give(plane, chunks(*rest, offset=6))
        go_on.set()
        await arrives(desk, b"first\n" + b"".join(rest))

    assert len(desk.appends) == 2


async def test_lines_that_come_one_by_one_do_not_become_a_request_each() -> None:
    desk = Desk()
    async with told(desk, replace(FAST, gather=60)) as plane:
        await plane.log(chunk(b"a\n"))
        await arrives(desk, b"a\n")
        await give(plane, chunks(*[b"b\n"] * 10, offset=2))
        await anyio.wait_all_tasks_blocked()
        assert desk.text == b"a\n", "not gathered"
        await plane.result(RESULT)  # which waits for nobody

    assert desk.text == b"a\n" + b"b\n" * 10
    assert len(desk.appends) == 2


async def test_a_whole_append_is_not_held_back() -> None:
    desk = Desk()
    async with told(desk, replace(FAST, gather=60, most=100)) as plane:
        await plane.log(chunk(b"a\n"))
        await arrives(desk, b"a\n")
        await plane.log(chunk(b"b" * 99 + b"\n", 2))
        await arrives(desk, b"a\n" + b"b" * 99 + b"\n")


async def test_a_slow_plane_does_not_hold_log_back() -> None:
    desk = Desk()

    async def hang() -> None:
        await anyio.sleep_forever()

    desk.always["all"] = hang
    async with told(desk, replace(FAST, farewell=0)) as plane:
        with anyio.fail_after(1):
            await give(plane, chunks(*[b"x" * 99 + b"\n"] * 1000))


async def test_beyond_memory_and_disk_the_caller_waits_and_goes_on_when_there_is_room() -> None:
    desk, go_on = Desk(), anyio.Event()

    async def slow() -> None:
        await go_on.wait()

    desk.always["log"] = slow
    given = chunks(*[b"x" * 999 + b"\n"] * 40)
    async with told(desk, replace(FAST, memory=4000, disk=20_000)) as plane, anyio.create_task_group() as group:
        offered = 0

        async def offer() -> None:
            nonlocal offered
            for one in given:
                await plane.log(one)
                offered += 1

        group.start_soon(offer)
        await anyio.wait_all_tasks_blocked()
        assert 10 < offered < 30, "neither bound holds, or they hold too early"
        go_on.set()
        await arrives(desk, b"".join(one.data for one in given))


async def test_an_append_is_never_larger_than_the_bound_and_cursors_stay_right() -> None:
    desk = Desk()
    text = b"".join(b"line %03d\n" % n for n in range(50))
    async with told(desk, replace(FAST, most=64)) as plane:
        await plane.log(chunk(text[:200], 0))
        await plane.log(chunk(text[200:], 200))
        await arrives(desk, text)

    assert max(len(base64.b64decode(a["data"])) for a in desk.appends) <= 64
    for append in desk.appends:
        end, mark = append["offset"] + len(base64.b64decode(append["data"])), Mark.parse(append["cursor"])
        assert mark.crc == crc32(text[:end])
        if mark.ahead:
            assert mark.cursor == (f"c{end - mark.ahead}" if end > mark.ahead else "")
            assert mark.base == crc32(text[: end - mark.ahead])
        else:
            assert mark.cursor == f"c{end}"


async def test_a_proxy_that_takes_less_is_given_less_by_all_runs() -> None:
    """nginx takes 1 MiB of a body unless it is told otherwise, and says 413 for ever."""
    desk = Desk()

    async def proxy() -> httpx.Response | None:
        return httpx.Response(413, html="nginx") if len(desk.kinds("log")[-1].content) > 400 else None

    desk.always["log"] = proxy
    text = b"".join(b"line %03d\n" % n for n in range(200))
    async with told(desk, replace(FAST, most=1000, least=100)) as plane:
        await plane.log(chunk(text))
        await arrives(desk, text)
        await plane.result(RESULT)

    assert len([a for a in desk.kinds("log") if len(a.content) > 400]) <= 3, "it was not remembered"
