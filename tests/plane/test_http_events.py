"""Events on their way to a control plane: in order, in batches, bounded; and never in the way of anything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from tests.plane.desk import DOWN, FAST, RESULT, Desk, event, told

COMPRESSED = True


class TestEvents:
    async def test_they_come_in_order_in_batches_with_the_time_of_day(self) -> None:
        desk, go_on = Desk(), anyio.Event()

        async def slow() -> None:
            await go_on.wait()

        desk.instead["events"].append(slow)
        async with told(desk) as plane:
            await plane.event(event("first", exit_code=3))
            await desk.until(lambda: desk.kinds("events"))
            for n in range(20):
                await plane.event(event(f"event {n}"))
            go_on.set()
            await desk.until(lambda: len(desk.events) == 21)

        assert desk.words() == ["first", *(f"event {n}" for n in range(20))]
        assert len(desk.kinds("events")) == 2
        assert desk.events[0]["data"] == {"exit_code": 3}
        assert desk.events[0]["at"] > 1_700_000_000

    async def test_what_a_runs_tasks_do_is_not_sent(self) -> None:
        desk = Desk()
        async with told(desk) as plane:
            await plane.event(event("watch began", "task"))
            await plane.event(event("running"))
            await desk.until(lambda: desk.events)
        assert desk.words() == ["running"]

    async def test_they_are_repeated_until_they_are_taken(self) -> None:
        desk = Desk()
        desk.instead["events"] += [DOWN, httpx.ConnectError("no"), httpx.Response(200, html="?")]
        async with told(desk) as plane:
            await plane.event(event("running"))
            await desk.until(lambda: desk.events)
        assert desk.words() == ["running"]

    @pytest.mark.parametrize("bound", [{"events": 5}, {"event_bytes": 500}])
    async def test_the_oldest_go_first_when_there_are_too_many_and_it_is_said(self, bound: dict[str, int]) -> None:
        desk = Desk()
        desk.always["events"] = DOWN
        async with told(desk, replace(FAST, **bound)) as plane:
            await plane.event(event("first"))
            await desk.until(lambda: desk.kinds("events"))
            for n in range(50):
                await plane.event(event(f"event {n}"))
            desk.always.clear()
            await desk.until(lambda: "event 49" in desk.words())

        assert desk.words()[0] == "first", "the one that was under way"
        kept = len(desk.words()) - 2
        assert 2 <= kept <= 6
        assert desk.words()[1] == f"{50 - kept} events dropped: the control plane did not take them"

    async def test_an_event_that_cannot_be_taken_takes_no_other_with_it(self) -> None:
        desk = Desk()

        async def picky() -> httpx.Response | None:
            return httpx.Response(422) if b"bad" in desk.kinds("events")[-1].content else None

        desk.always["events"] = picky
        async with told(desk) as plane:
            for message in ("one", "two", "bad", "three", "four"):
                await plane.event(event(message))
            await desk.until(lambda: len(desk.events) == 4)
            await plane.result(RESULT)
        assert desk.words() == ["one", "two", "three", "four"]

    async def test_the_last_ones_are_sent_before_the_run_is_left(self) -> None:
        desk = Desk()
        async with told(desk, replace(FAST, gather=60, farewell=2)) as plane:
            await plane.event(event("one"))
            await desk.until(lambda: desk.events)
            await plane.event(event("cleaned up"))
        assert desk.words() == ["one", "cleaned up"]

    async def test_a_plane_that_is_down_is_not_waited_for_at_the_end(self) -> None:
        desk = Desk()
        desk.always["events"] = DOWN
        with anyio.fail_after(2):
            async with told(desk, replace(FAST, farewell=60, retry_first=60, retry_most=60)) as plane:
                await plane.event(event("one"))
                await desk.until(lambda: desk.kinds("events"))

    async def test_what_is_no_json_is_made_one(self) -> None:
        desk = Desk()
        async with told(desk) as plane:
            await plane.event(event("odd", cost=float("nan"), path=Path("/x")))
            await desk.until(lambda: desk.events)
        assert desk.events[0]["data"] == {"cost": None, "path": "/x"}
