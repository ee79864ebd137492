"""What a control plane wants of a run, and what it says of it: believed once it is confirmed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from adapter.plane import Plane
from adapter.plane.http import PlaneError
from tests.plane.desk import BEAT, DOWN, FAST, RESULT, Desk, chunk, event, told, unknown

COMPRESSED = True


async def cancelled(plane: Plane) -> str:
    with anyio.fail_after(2):
        return await plane.cancellation()


async def not_cancelled(plane: Plane) -> bool:
    with anyio.move_on_after(5) as waiting:
        await plane.cancellation()
    return waiting.cancelled_caught


class TestCancel:
    @pytest.mark.parametrize("answer", ["beat", "log", "events", "status"])
    async def test_it_rides_on_any_answer(self, answer: str) -> None:
        desk = Desk()
        desk.cancel = "enough"
        async with told(desk) as plane:
            match answer:
                case "beat":
                    await plane.beat(BEAT)
                case "log":
                    await plane.log(chunk(b"one\n"))
                case "events":
                    await plane.event(event("running"))
                case _:
                    await plane.position("stdout")
            assert await cancelled(plane) == "enough"

    async def test_it_rides_on_a_refusal_too(self) -> None:
        desk = Desk()
        desk.cancel = ""
        desk.instead["beat"].append(desk.status(503, "busy"))
        async with told(desk) as plane:
            await plane.beat(BEAT)
            assert await cancelled(plane) == ""

    async def test_the_first_reason_stays(self) -> None:
        desk = Desk()
        async with told(desk) as plane:
            for desk.cancel in ("first", "second"):
                await plane.position("stdout")
            assert await cancelled(plane) == "first"

    async def test_nothing_is_cancelled_without_one(self) -> None:
        async with told(Desk()) as plane:
            await plane.beat(BEAT)
            assert await not_cancelled(plane)


class TestEnded:
    """A terminal state that we did not write."""

    async def test_a_run_that_was_cancelled_there_is_cancelled(self) -> None:
        desk = Desk()
        desk.state = "cancelled"
        async with told(desk, replace(FAST, grace=60)) as plane:
            await plane.beat(BEAT)
            assert await cancelled(plane) == "the control plane has cancelled the run"
        assert desk.kinds("status"), "it was not confirmed"

    async def test_a_run_that_has_ended_there_otherwise_is_cancelled_after_a_while(self) -> None:
        desk = Desk()
        desk.state = "process_lost"
        async with told(desk) as plane:
            await plane.beat(BEAT)
            assert await cancelled(plane) == "the control plane has ended the run: process_lost"
        assert len(desk.kinds("status")) == 2

    async def test_an_end_that_is_not_confirmed_is_none(self) -> None:
        desk = Desk()
        desk.state = "cancelled"
        desk.instead["beat"].append(desk.status())
        desk.state = "running"
        async with told(desk) as plane:
            await plane.beat(BEAT)
            await desk.until(lambda: desk.kinds("status"))
            assert await not_cancelled(plane)

    async def test_an_end_that_is_taken_back_in_time_is_none(self) -> None:
        desk = Desk()
        desk.state = "failed"
        async with told(desk, replace(FAST, grace=0.05)) as plane:
            await plane.beat(BEAT)
            await desk.until(lambda: desk.kinds("status"))
            desk.state = "running"
            await desk.until(lambda: len(desk.kinds("status")) == 2)
            assert await not_cancelled(plane)

    async def test_a_plane_that_does_not_answer_any_more_ends_nothing(self) -> None:
        desk = Desk()
        desk.state = "failed"
        async with told(desk) as plane:
            await plane.beat(BEAT)
            await desk.until(lambda: desk.kinds("status"))
            desk.always["status"] = DOWN
            await desk.until(lambda: len(desk.kinds("status")) > 5)
            assert await not_cancelled(plane)
            desk.always.clear()
            assert "failed" in await cancelled(plane)

    async def test_log_that_is_not_taken_any_more_does_not_hold_the_result_back(self) -> None:
        desk = Desk()
        desk.state = "process_lost"
        desk.always["log"] = desk.always["events"] = desk.status(409, "terminal")
        async with told(desk, replace(FAST, grace=60)) as plane:
            await plane.log(chunk(b"one\n"))
            await desk.until(lambda: desk.kinds("log") and desk.kinds("status"))
            with anyio.fail_after(2):
                await plane.result(RESULT)
        assert len(desk.kinds("result")) == 1


class TestNotKnown:
    async def test_once_confirmed_the_log_is_dropped_loudly_and_the_run_goes_on(self) -> None:
        desk = Desk()
        desk.known = False
        with capture_logs() as logs:
            async with told(desk) as plane:
                await plane.log(chunk(b"one\n"))
                await desk.until(lambda: len(desk.kinds("status")) == 3)
                await anyio.wait_all_tasks_blocked()
                asked = len(desk.kinds("log"))
                await plane.log(chunk(b"two\n", 4))
                await plane.event(event("running"))
                assert await not_cancelled(plane)
                assert len(desk.kinds("log")) == asked, "it goes on asking"
                with pytest.raises(PlaneError, match="no such run"):
                    await plane.result(RESULT)
        loud = [e for e in logs if e["log_level"] == "error"]
        assert [e["why"] for e in loud] == ["the control plane does not know the run"]

    @pytest.mark.parametrize("status", [404, 409])
    async def test_one_404_or_409_is_none(self, status: int) -> None:
        desk = Desk()
        desk.instead["log"] += [unknown() if status == 404 else httpx.Response(409, json={})] * 2
        async with told(desk) as plane:
            await plane.log(chunk(b"one\n"))
            await desk.until(lambda: desk.text)
            await plane.result(RESULT)
        assert desk.report

    async def test_a_run_that_becomes_known_again_at_its_end_has_a_gap_there(self) -> None:
        desk = Desk()
        async with told(desk) as plane:
            await plane.log(chunk(b"one\n"))
            await desk.until(lambda: desk.text)
            desk.known = False
            await plane.log(chunk(b"two\n", 4))
            await desk.until(lambda: len(desk.kinds("status")) == 3)
            await anyio.wait_all_tasks_blocked()
            desk.known = True
            await plane.result(RESULT)

        assert desk.text == b"one\n"
        assert desk.appends[-1]["gap"] == 4
        assert desk.report
        assert desk.report["result"]["log"]["complete"] is False

    async def test_a_run_that_becomes_known_again_goes_on_with_a_gap(self) -> None:
        desk = Desk()
        async with told(desk) as plane:
            await plane.log(chunk(b"one\n"))
            await desk.until(lambda: desk.text)
            desk.known = False
            await plane.log(chunk(b"two\n", 4))
            await desk.until(lambda: len(desk.kinds("status")) == 3)
            await anyio.wait_all_tasks_blocked()
            await plane.log(chunk(b"three\n", 8))
            await plane.event(event("unheard"))
            desk.known = True
            await plane.position("stderr")  # any answer will do
            await plane.log(chunk(b"four\n", 14))
            await plane.result(RESULT)

        assert desk.text == b"one\nfour\n"
        assert desk.appends[-1]["gap"] == 10
        assert desk.report
        assert desk.report["result"]["log"]["complete"] is False
        assert any("1 events dropped" in word for word in desk.words())


class TestToken:
    async def test_a_refused_token_kills_nothing_and_a_new_one_is_read(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("old")
        desk = Desk()

        async def guard() -> httpx.Response | None:
            new = desk.asked[-1][1].headers["authorization"] == "Bearer renewed"
            return None if new else httpx.Response(401)

        desk.always["all"] = guard
        with capture_logs() as logs:
            async with told(desk, token_file=file) as plane:
                await plane.log(chunk(b"one\n"))
                assert await plane.beat(BEAT) is not None
                await desk.until(lambda: len(desk.kinds("log")) > 3)
                file.write_text("renewed")
                await desk.until(lambda: desk.text)
                await plane.result(RESULT)

        assert [e["event"] for e in logs if e["log_level"] == "error"] == ["plane.refuses_our_token"]
        assert [word for word in desk.words() if "refuses our token" in word] == desk.words()
        assert len(desk.words()) == 1
        assert "old" not in repr(logs).replace("told", "")

    async def test_a_token_file_that_is_gone_is_a_failure_until_it_is_back(self, tmp_path: Path) -> None:
        file = tmp_path / "token"
        file.write_text("one")
        desk = Desk()
        async with told(desk, token_file=file) as plane:
            file.unlink()
            with pytest.raises(PlaneError, match="cannot be read"):
                await plane.position("stdout")
            file.write_text("two")
            await plane.position("stdout")
        assert desk.asked[0][1].headers["authorization"] == "Bearer two"


class TestAllowed:
    """A replica whose Lease may have passed to others still sent what it had taken before."""

    async def test_what_was_taken_waits_until_the_run_is_ours_again_and_beats_do_not(self) -> None:
        desk, allowed = Desk(), anyio.Event()
        async with told(desk, allowed=allowed.wait) as plane:
            await plane.log(chunk(b"one\n"))
            await plane.event(event("running"))
            await plane.beat(BEAT)
            await anyio.sleep(60)
            assert {kind for kind, _ in desk.asked} == {"beat"}
            allowed.set()
            await desk.until(lambda: desk.text == b"one\n" and desk.words())

    async def test_a_result_waits_too(self) -> None:
        desk, allowed = Desk(), anyio.Event()
        async with told(desk, allowed=allowed.wait) as plane:
            with pytest.raises(TimeoutError), anyio.fail_after(60):
                await plane.result(RESULT)
            assert not desk.asked
            allowed.set()
            await plane.result(RESULT)
        assert desk.report
