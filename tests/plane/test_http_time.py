"""A run and its control plane by the clock: the real limits, minutes of outage, and none of it waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from itertools import pairwise
from typing import Any
from zlib import crc32

import anyio
import httpx
import pytest
import structlog

from adapter.backoff import Backoff
from adapter.limits import Limits
from adapter.mouth import Heart
from adapter.plane import Beat, Plane
from adapter.plane.http import HttpPlane, PlaneLimits
from tests.plane.desk import RESULT, URL, Desk, behind, chunk, told, unknown

COMPRESSED = True

REAL = PlaneLimits()
REAPER = 300.0
LOG: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(structlog.ReturnLogger())


class Watchful(Desk):
    """Notes when it was told anything that counts as a sign of life."""

    def __init__(self, run_id: str = "r") -> None:
        super().__init__(run_id)
        self.alive: list[float] = []

    def _answer(self, kind: str, body: dict[str, object]) -> httpx.Response:
        if kind != "status":
            self.alive.append(anyio.current_time())
        return super()._answer(kind, body)

    @property
    def silences(self) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.alive)]


async def lives(desk: Desk, life: Callable[[Plane, Heart], Awaitable[None]]) -> None:
    """A run with a heart that beats, as long as its life lasts."""
    async with told(desk, REAL) as plane, anyio.create_task_group() as group:
        heart = Heart(plane, Limits(), LOG)
        beating = group.start_soon(heart.run, lambda: Beat(run_id="r", phase="watch", observed_ago=1.0))
        with anyio.fail_after(4 * 3600):
            await life(plane, heart)
        beating.cancel()


async def reported(heart: Heart) -> None:
    """As the supervisor reports: again and again, for thirty minutes."""
    with anyio.fail_after(Limits().report):
        while not await heart.report(RESULT):
            await Backoff(0.2, 20).wait()


async def talks(plane: Plane, seconds: int, offset: int = 0) -> bytes:
    """A line each second."""
    text = b""
    for second in range(seconds):
        line = b"%05d\n" % second
        await plane.log(chunk(line, offset + len(text)))
        text += line
        await anyio.sleep(1)
    return text


def down_for(desk: Desk, seconds: float) -> Callable[[], Coroutine[Any, Any, None]]:
    """An outage: half of it connections that are refused, half of it silence."""

    async def outage() -> None:
        for how in (httpx.ConnectError("refused"), anyio.sleep_forever):
            desk.always["all"] = how
            await anyio.sleep(seconds / 2)
        desk.always.clear()

    return outage


async def half_a_minute() -> None:
    """What a control plane needs for any answer."""
    await anyio.sleep(30)


async def test_a_silent_run_beats_each_30_seconds() -> None:
    desk = Watchful()

    async def life(plane: Plane, heart: Heart) -> None:
        await anyio.sleep(3600)

    await lives(desk, life)
    assert max(desk.silences) <= 30
    assert min(desk.silences) >= 26
    assert len(set(desk.silences)) > 100, "no jitter"


async def test_a_run_that_talks_does_not_beat() -> None:
    desk = Watchful()

    async def life(plane: Plane, heart: Heart) -> None:
        await talks(plane, 600)

    await lives(desk, life)
    assert len(desk.kinds("beat")) <= 1
    assert max(desk.silences) <= 30


async def test_a_run_that_talks_now_and_then_is_never_silent_for_longer_than_the_interval() -> None:
    desk = Watchful()

    async def life(plane: Plane, heart: Heart) -> None:
        for n in range(100):
            await plane.log(chunk(b"line\n", 5 * n))
            await anyio.sleep(17)

    await lives(desk, life)
    assert max(desk.silences) <= 30


async def test_a_beat_that_was_not_needed_is_made_up_for_in_time() -> None:
    desk = Watchful()

    async def life(plane: Plane, heart: Heart) -> None:
        await anyio.sleep(20)
        await plane.log(chunk(b"line\n"))
        await anyio.sleep(120)

    await lives(desk, life)
    assert max(desk.silences) <= 30


async def test_a_failure_after_a_long_outage_is_the_first_one_again() -> None:
    desk = Watchful()
    took: list[float] = []

    async def life(plane: Plane, heart: Heart) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(down_for(desk, 600))
            text = await talks(plane, 700)
        desk.instead["log"].append(httpx.Response(503))
        await plane.log(chunk(b"more\n", len(text)))
        began = anyio.current_time()
        await desk.until(lambda: desk.text.endswith(b"more\n"), 60)
        took.append(anyio.current_time() - began)

    await lives(desk, life)
    assert took[0] <= 3 * REAL.retry_first + REAL.gather


async def test_the_interval_that_the_plane_wants_is_kept() -> None:
    desk = Watchful()
    desk.interval = 5

    async def life(plane: Plane, heart: Heart) -> None:
        await anyio.sleep(600)

    await lives(desk, life)
    assert max(desk.silences) <= 5
    assert len(desk.alive) < 140


async def test_beats_go_on_beside_a_stuck_log() -> None:
    desk = Watchful()

    async def life(plane: Plane, heart: Heart) -> None:
        desk.always["log"] = anyio.sleep_forever
        await talks(plane, 900)

    await lives(desk, life)
    assert not desk.text
    assert max(desk.silences) <= 30


async def test_a_beat_that_fails_is_made_up_for_before_the_reaper_comes() -> None:
    """One try each 30 s, and nine of ten of them lost, would be 300 s."""
    desk = Watchful()

    async def life(plane: Plane, heart: Heart) -> None:
        for _ in range(60):
            desk.instead["beat"].extend([httpx.ConnectError("refused")] * 3)
            await anyio.sleep(60)

    await lives(desk, life)
    assert max(desk.silences) < REAPER / 2


async def test_nine_lost_beats_of_ten_came_close_to_the_reaper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("random.uniform", lambda _, most: most)
    desk = Watchful()

    async def life(plane: Plane, heart: Heart) -> None:
        for _ in range(12):
            desk.instead["beat"].extend([httpx.ConnectError("refused")] * 9)
            await desk.until(lambda: not desk.instead["beat"], REAPER)
            beats = len(desk.kinds("beat"))
            await desk.until(lambda: len(desk.kinds("beat")) > beats, REAPER)  # noqa: B023 - awaited here

    await lives(desk, life)
    assert max(desk.silences) < REAPER * 2 / 3


async def test_a_beat_that_was_waited_for_in_vain_was_followed_by_a_delay_on_top(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("random.uniform", lambda _, most: most)
    desk = Watchful()
    tried: list[float] = []

    async def silence() -> None:
        tried.append(anyio.current_time())
        await anyio.sleep_forever()

    async def life(plane: Plane, heart: Heart) -> None:
        desk.always["beat"] = silence
        await anyio.sleep(600)

    await lives(desk, life)
    assert len(tried) > 10
    assert max(later - earlier for earlier, later in pairwise(tried)) <= REAL.slow + REAL.interval_least


async def test_a_plane_that_needed_30_seconds_for_each_answer_was_never_heard() -> None:
    desk = Watchful()
    desk.always["all"] = half_a_minute

    async def life(plane: Plane, heart: Heart) -> None:
        await talks(plane, 120)
        await anyio.sleep(600)
        await reported(heart)

    await lives(desk, life)
    assert desk.report
    assert desk.text.count(b"\n") == 120
    assert max(desk.silences) < REAPER / 2


async def test_a_plane_that_needed_30_seconds_for_each_answer_took_most_of_200_runs_for_lost() -> None:
    """Sixteen requests at a time are 160 beats in five minutes."""
    desks = [Watchful(f"r{number}") for number in range(200)]

    async def lives_quietly(plane: HttpPlane, desk: Watchful) -> None:
        desk.always["all"] = half_a_minute
        async with plane.run(desk.run_id) as run:
            heart = Heart(run, Limits(), LOG)
            with anyio.move_on_after(900):
                await heart.run(lambda: Beat(run_id=desk.run_id, phase="watch", observed_ago=1.0))

    plane = HttpPlane(URL, limits=REAL)
    with behind(*desks):
        async with anyio.create_task_group() as group:
            for desk in desks:
                group.start_soon(lives_quietly, plane, desk)
        await plane.aclose()
    assert max(max(desk.silences) for desk in desks) < REAPER / 2


async def test_ten_minutes_down_in_the_middle_lose_nothing_and_kill_nothing() -> None:
    desk = Watchful()
    texts: list[bytes] = []

    async def life(plane: Plane, heart: Heart) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(listens, plane)
            texts.append(await talks(plane, 60))
            outage = group.start_soon(down_for(desk, 600))
            texts.append(await talks(plane, 700, len(texts[0])))
            await outage.wait()
            await reported(heart)
            group.cancel_scope.cancel()

    async def listens(plane: Plane) -> None:
        raise AssertionError(f"cancelled: {await plane.cancellation()}")

    await lives(desk, life)
    assert desk.text == b"".join(texts)
    assert desk.report
    assert desk.report["log"]["stdout"] == {"size": len(desk.text), "crc32": crc32(desk.text)}
    assert desk.report["result"]["log"]["complete"] is True
    assert sorted(desk.silences)[-2] < 60 < max(desk.silences) < 660, "it took too long to come back"


async def test_ten_minutes_down_at_the_end_lose_neither_the_log_nor_the_result() -> None:
    desk = Watchful()
    took: list[float] = []

    async def life(plane: Plane, heart: Heart) -> None:
        async with anyio.create_task_group() as group:
            text = await talks(plane, 60)
            group.start_soon(down_for(desk, 600))
            await anyio.sleep(0.5)
            await plane.log(chunk(b"last words\n", len(text)))
            began = anyio.current_time()
            await reported(heart)
            took.append(anyio.current_time() - began)

    await lives(desk, life)
    assert desk.text.endswith(b"00059\nlast words\n")
    assert desk.report
    assert 600 <= took[0] < 720


async def test_nothing_is_said_to_a_plane_that_is_down_more_often_than_a_backoff_allows() -> None:
    desk = Watchful()

    async def life(plane: Plane, heart: Heart) -> None:
        desk.always["all"] = httpx.ConnectError("refused")
        await talks(plane, 600)

    await lives(desk, life)
    assert len(desk.kinds("log")) < 150
    assert len(desk.kinds("beat")) < 60


async def test_a_404_is_believed_after_three_questions_in_a_minute() -> None:
    desk = Watchful()
    asked: list[float] = []

    async def question() -> httpx.Response:
        asked.append(anyio.current_time())
        return unknown()

    async def life(plane: Plane, heart: Heart) -> None:
        desk.known = False
        desk.always["status"] = question
        await talks(plane, 300)

    await lives(desk, life)
    assert len(asked) == 3, "once it is believed, it is not asked again"
    assert asked[-1] - asked[0] >= 60


async def test_a_run_that_was_ended_there_goes_on_for_two_minutes() -> None:
    desk = Watchful()
    took: list[float] = []

    async def life(plane: Plane, heart: Heart) -> None:
        began = anyio.current_time()
        desk.state = "process_lost"
        await plane.cancellation()
        took.append(anyio.current_time() - began)

    await lives(desk, life)
    assert 120 <= took[0] <= 121


async def test_a_run_that_was_ended_there_goes_on_when_the_plane_thinks_better_of_it() -> None:
    desk = Watchful()

    async def life(plane: Plane, heart: Heart) -> None:
        desk.state = "process_lost"
        await anyio.sleep(100)
        desk.state = "running"
        with anyio.move_on_after(3600) as waiting:
            await plane.cancellation()
        assert waiting.cancelled_caught

    await lives(desk, life)
