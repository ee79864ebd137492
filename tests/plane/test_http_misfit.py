"""Where a control plane's log ends is for it to say: nothing is there twice, and what is lost is a gap (law 3)."""

from __future__ import annotations

import json
from dataclasses import replace
from zlib import crc32

import anyio
import httpx
from hypothesis import given, settings
from hypothesis import strategies as st

from adapter.plane.http_mark import Mark
from tests.plane.desk import (
    FAST,
    NO_ANSWER,
    RESULT,
    Desk,
    Step,
    arrives,
    chunk,
    chunks,
    give,
    have,
    told,
)

COMPRESSED = True


async def test_an_append_whose_answer_was_lost_is_not_there_twice() -> None:
    desk = Desk()

    async def lost() -> httpx.Response:
        desk._append(json.loads(desk.kinds("log")[-1].content))
        raise NO_ANSWER

    desk.instead["log"].append(lost)
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await desk.until(lambda: len(desk.kinds("status")) == 1)
        await plane.log(chunk(b"two\n", 4))
        await arrives(desk, b"one\ntwo\n")
        await plane.result(RESULT)

    assert desk.report
    assert desk.report["log"]["stdout"] == {"size": 8, "crc32": crc32(b"one\ntwo\n")}
    assert not desk.words(), "nothing is missing"


async def test_a_misfit_is_confirmed_before_it_is_believed() -> None:
    desk = Desk()
    wrong = desk.status(409, "misfit").json() | {"log": {"stdout": {"offset": 3, "cursor": ""}}}
    desk.instead["log"].append(httpx.Response(409, json=wrong))
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")
    assert len(desk.kinds("status")) == 1


async def test_what_the_plane_has_already_is_dropped_inside_a_chunk_too() -> None:
    """Another supervisor was here: its last append ended inside of what is one chunk to us."""
    desk = Desk()
    have(desk, b"one\ntw")
    async with told(desk) as plane:
        await give(plane, chunks(b"one\n", b"two\nthree\n"))
        await arrives(desk, b"one\ntwo\nthree\n")
        await plane.result(RESULT)
    assert not desk.words()


async def test_what_the_plane_has_beyond_all_that_we_hold_is_dropped_as_it_comes() -> None:
    desk = Desk()
    have(desk, b"one\ntwo\nthree\n")
    async with told(desk) as plane:
        for one in chunks(b"one\n", b"two\n", b"three\n", b"four\n"):
            await plane.log(one)
            await anyio.wait_all_tasks_blocked()
        await arrives(desk, b"one\ntwo\nthree\nfour\n")
        await plane.result(RESULT)
    assert len(desk.kinds("log")) == 2
    assert not desk.words()


async def test_what_is_given_again_and_is_not_the_same_is_said() -> None:
    """A log that was rotated does not begin any more where it once began."""
    desk = Desk()
    have(desk, b"one\ntwo\n")
    async with told(desk) as plane:
        await plane.log(chunk(b"two\nthree\nfour\n"))
        await plane.result(RESULT)

    assert [e["kind"] for e in desk.events] == ["log_gap"]
    assert desk.report
    assert desk.report["result"]["log"]["complete"] is False
    assert "not what the control plane has" in desk.report["result"]["log"]["notes"][0]


async def test_what_the_plane_has_lost_is_a_gap() -> None:
    """Restored from yesterday's backup, say."""
    desk = Desk()
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")
        desk.logs["stdout"][2:] = b""
        desk.ends["stdout"] = {"offset": 2, "cursor": str(Mark("c2", crc32(b"on")))}
        await plane.log(chunk(b"two\n", 4))
        await desk.until(lambda: len(desk.appends) == 2)
        await plane.result(RESULT)

    assert (desk.appends[1]["offset"], desk.appends[1]["gap"]) == (4, 2)
    assert desk.text == b"ontwo\n"
    assert [e["data"]["bytes"] for e in desk.events if e["kind"] == "log_gap"] == [2]
    assert desk.report
    assert desk.report["log"]["stdout"] == {"size": 8, "crc32": crc32(b"ontwo\n")}
    assert desk.report["result"]["log"]["complete"] is False


async def test_what_the_plane_has_lost_at_the_very_end_is_a_gap_too() -> None:
    desk = Desk()
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")
        desk.logs["stdout"][:] = b""
        desk.ends["stdout"] = {"offset": 0, "cursor": ""}
        await plane.result(RESULT)

    assert desk.report
    assert desk.report["log"]["stdout"] == {"size": 4, "crc32": 0}
    assert desk.appends[-1]["gap"] == 4


async def test_a_gap_whose_answer_was_lost_is_told_once() -> None:
    desk = Desk()
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")
        desk.logs["stdout"][:] = b""
        desk.ends["stdout"] = {"offset": 0, "cursor": ""}

        async def lost() -> httpx.Response | None:
            if "gap" not in (body := json.loads(desk.kinds("log")[-1].content)):
                return None
            del desk.always["log"]
            desk._append(body)
            raise NO_ANSWER

        desk.always["log"] = lost
        await plane.log(chunk(b"two\n", 4))
        await plane.result(RESULT)

    assert [e["data"]["bytes"] for e in desk.events if e["kind"] == "log_gap"] == [4]
    assert desk.text == b"two\n"


async def test_a_refusal_that_nothing_explains_is_repeated_with_a_backoff() -> None:
    desk = Desk()
    desk.instead["log"] += [desk.status(409, "misfit")] * 3
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")


async def test_an_acceptance_after_which_the_log_has_not_grown_is_none() -> None:
    desk = Desk()
    desk.instead["log"] += [desk.status()] * 3
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")


async def test_an_acceptance_that_speaks_of_less_than_before_makes_no_gap() -> None:
    """A proxy's stale copy, say: what was refused is confirmed, and what was accepted must have been."""
    desk = Desk()
    stale = desk.status()
    async with told(desk) as plane:
        await plane.log(chunk(b"one\n"))
        await arrives(desk, b"one\n")
        desk.instead["log"].append(stale)
        await plane.log(chunk(b"two\n", 4))
        await plane.result(RESULT)
    assert desk.text == b"one\ntwo\n"
    assert not desk.words()


async def test_a_plane_that_does_not_say_where_its_log_ends_is_taken_at_its_word() -> None:
    desk = Desk()

    async def silent() -> httpx.Response:
        desk._append(json.loads(desk.kinds("log")[-1].content))
        return httpx.Response(200, json=desk.status().json() | {"log": {}})

    desk.always["log"] = silent
    async with told(desk) as plane:
        await give(plane, chunks(b"one\n", b"two\n"))
        await arrives(desk, b"one\ntwo\n")


FATES = st.lists(st.sampled_from(["ok", "down", "lost answer", "lied"]), max_size=12)


@settings(deadline=None, max_examples=60)
@given(FATES, st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(8, 64), st.integers(0, 60))
async def test_whatever_happens_every_byte_arrives_once_and_the_checksum_fits(
    fates: list[str], sizes: list[int], most: int, memory: int
) -> None:
    desk = Desk()
    for fate in fates:
        desk.instead["log"].append(step(desk, fate))
    given_ = chunks(*[bytes([97 + n % 26]) * (size - 1) + b"\n" for n, size in enumerate(sizes)])
    limits = replace(FAST, most=most, memory=memory, disk=100, gather=0, retry_first=0, retry_most=0, flush=2)
    async with told(desk, limits) as plane:
        await give(plane, given_)
        await plane.result(RESULT)

    assert desk.text == b"".join(one.data for one in given_)
    assert desk.report
    assert desk.report["log"]["stdout"] == {"size": len(desk.text), "crc32": crc32(desk.text)}
    assert not desk.words()


def step(desk: Desk, fate: str) -> Step:
    """What happens to an append."""

    async def meets() -> httpx.Response | None:
        body = json.loads(desk.kinds("log")[-1].content)
        if fate == "lost answer":
            desk._append(body)
            raise NO_ANSWER
        if fate == "lied":
            return desk.status(409, "misfit")
        return httpx.Response(503) if fate == "down" else None

    return meets
