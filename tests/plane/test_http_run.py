"""Beats, events and results as a control plane is told of them: no failure of it ends a run, or costs its result."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import anyio
import httpx
import pytest
from structlog.testing import capture_logs

from adapter.plane import Plane
from adapter.plane.http import PlaneError
from adapter.run import RunResult
from tests.plane.desk import BEAT, DOWN, FAST, RESULT, Desk, chunk, chunks, event, told, unknown

COMPRESSED = True


async def not_cancelled(plane: Plane) -> bool:
    with anyio.move_on_after(5) as waiting:
        await plane.cancellation()
    return waiting.cancelled_caught


class TestBeats:
    async def test_a_beat_says_where_the_run_stands_and_who_says_so(self) -> None:
        desk = Desk()
        async with told(desk, supervisor="replica-7") as plane:
            assert await plane.beat(BEAT) == FAST.interval
        assert json.loads(desk.kinds("beat")[0].content) == {
            "phase": "watch",
            "observedAgo": 0.5,
            "supervisor": "replica-7",
        }

    async def test_none_is_sent_when_something_else_was_accepted_just_now(self) -> None:
        desk = Desk()
        async with told(desk) as plane:
            await plane.log(chunk(b"one\n"))
            await desk.until(lambda: desk.text)
            await anyio.wait_all_tasks_blocked()
            wanted = await plane.beat(BEAT)
        assert not desk.kinds("beat")
        assert wanted is not None
        assert FAST.interval / 2 <= wanted <= FAST.interval

    async def test_a_question_is_no_sign_of_life(self) -> None:
        desk = Desk()
        async with told(desk) as plane:
            await plane.position("stdout")
            await plane.beat(BEAT)
        assert desk.kinds("beat")

    @pytest.mark.parametrize(("said", "wanted"), [(None, 30), (12, 12), (0, 1), (0.5, 1), (86400, 60)])
    async def test_the_interval_is_the_planes_within_bounds(self, said: float | None, wanted: float) -> None:
        desk = Desk()
        desk.interval = said
        async with told(desk) as plane:
            assert await plane.beat(BEAT) == wanted

    async def test_a_beat_that_fails_is_followed_by_another_one_soon(self) -> None:
        desk = Desk()
        desk.always["beat"] = DOWN
        async with told(desk) as plane:
            wanted = [await plane.beat(BEAT) for _ in range(30)]
        assert all(seconds is not None and 1 <= seconds <= 30 for seconds in wanted)
        assert wanted[0] is not None
        assert wanted[0] <= 3


class TestResult:
    async def test_it_comes_after_all_of_the_log_and_the_events(self) -> None:
        desk = Desk()
        async with told(desk, execution=lambda result: {"ok": result.ok}) as plane:
            for one in chunks(b"one\n", b"two\n"):
                await plane.log(one)
            await plane.event(event("ended"))
            await plane.result(RESULT)

        assert desk.report
        assert desk.report["result"] == json.loads(json.dumps(RESULT.to_json()))
        assert desk.report["execution"] == {"ok": True}
        assert desk.text == b"one\ntwo\n"
        assert desk.asked[-1][0] == "result"

    @pytest.mark.parametrize("failure", [DOWN, httpx.ConnectError("no"), httpx.Response(200, html="?"), unknown()])
    async def test_one_try_raises_and_the_next_one_succeeds(self, failure: Any) -> None:
        desk = Desk()
        desk.instead["result"].append(failure)
        async with told(desk) as plane:
            with pytest.raises(PlaneError):
                await plane.result(RESULT)
            await plane.result(RESULT)
        assert desk.report

    async def test_one_that_was_accepted_without_an_answer_is_accepted_again(self) -> None:
        desk = Desk()

        async def lost() -> httpx.Response:
            desk._end(json.loads(desk.kinds("result")[-1].content))
            raise httpx.ReadError("reset")

        desk.instead["result"].append(lost)
        async with told(desk) as plane:
            with pytest.raises(PlaneError):
                await plane.result(RESULT)
            await plane.beat(BEAT)  # says that the run is terminal: it is, by us
            await plane.result(RESULT)
            assert await not_cancelled(plane)

    async def test_it_waits_for_the_log_within_a_try_and_says_what_is_missing(self) -> None:
        desk = Desk()
        desk.always["log"] = DOWN
        async with told(desk) as plane:
            await plane.log(chunk(b"one\n"))
            with pytest.raises(PlaneError, match="does not have the last 4 bytes of the log"):
                await plane.result(RESULT)
            assert not desk.kinds("result")
            desk.always.clear()
            await plane.result(RESULT)
        assert desk.report

    async def test_it_waits_for_events_too_but_not_for_ever(self) -> None:
        desk = Desk()
        desk.always["events"] = DOWN
        async with told(desk, replace(FAST, flush=0.05, patience=0.1)) as plane:
            await plane.event(event("ended"))
            with pytest.raises(PlaneError, match="the last events"):
                await plane.result(RESULT)
            with anyio.fail_after(2):
                while not desk.report:
                    try:
                        await plane.result(RESULT)
                    except PlaneError as error:
                        assert "the last events" in str(error)  # noqa: PT017 - any other is wrong

    async def test_log_that_the_plane_lacks_is_sent_within_the_try(self) -> None:
        """It had said that it had it, and was restored from a backup since."""
        desk = Desk()
        async with told(desk) as plane:
            await plane.log(chunk(b"one\n"))
            await desk.until(lambda: desk.text)
            await anyio.wait_all_tasks_blocked()
            desk.logs["stdout"].clear()
            desk.ends["stdout"] = {"offset": 0, "cursor": ""}
            await plane.result(RESULT)
        assert [json.loads(request.content).get("gap") for request in desk.kinds("log")] == [None, 4]
        assert len(desk.kinds("result")) == 2

    async def test_a_plane_that_is_never_content_is_a_failure(self) -> None:
        desk = Desk()
        desk.always["result"] = desk.status(409, "log_incomplete")
        async with told(desk) as plane:
            with pytest.raises(PlaneError, match="still lacks log"):
                await plane.result(RESULT)

    async def test_a_run_that_has_ended_there_is_reported_once_that_is_confirmed(self) -> None:
        desk = Desk()
        desk.state = "process_lost"
        with capture_logs() as logs:
            async with told(desk, replace(FAST, grace=60)) as plane:
                await plane.result(RESULT)
        assert [e["state"] for e in logs if e["event"] == "plane.result_not_taken"] == ["process_lost"]

    async def test_a_result_that_an_earlier_life_had_reported_in_other_words_was_called_refused(self) -> None:
        desk = Desk()
        desk.state = RESULT.outcome.value
        with capture_logs() as logs:
            async with told(desk, replace(FAST, grace=60)) as plane:
                await plane.result(RESULT)
        assert [e["event"] for e in logs if e["event"].startswith("plane.result")] == ["plane.result_was_there"]

    async def test_a_terminal_that_is_not_confirmed_is_not_believed(self) -> None:
        desk = Desk()
        desk.instead["result"].append(desk.status(409, "terminal"))
        async with told(desk) as plane:
            with pytest.raises(PlaneError, match="terminal"):
                await plane.result(RESULT)
            await plane.result(RESULT)
        assert desk.report

    async def test_a_conflict_of_another_kind_is_a_failure(self) -> None:
        desk = Desk()
        desk.instead["result"].append(desk.status(409, "mood"))
        async with told(desk) as plane:
            with pytest.raises(PlaneError, match="mood"):
                await plane.result(RESULT)

    async def test_a_stream_of_which_nothing_is_known_is_not_spoken_of(self) -> None:
        """The result of an earlier life, say, of a run that was not followed in this one."""
        desk = Desk()
        desk.ends["stdout"] = {"offset": 9, "cursor": "c"}
        async with told(desk) as plane:
            await plane.result(RESULT)
        assert desk.report
        assert desk.report["log"] == {}

    async def test_an_execution_that_cannot_be_made_does_not_cost_the_result(self) -> None:
        desk = Desk()

        def broken(result: RunResult) -> dict[str, Any]:
            raise ValueError("no")

        async with told(desk, execution=broken) as plane:
            await plane.result(RESULT)
        assert desk.report
        assert desk.report["execution"] is None

    async def test_an_agents_numbers_that_are_none_do_not_cost_the_result(self) -> None:
        desk = Desk()
        async with told(desk) as plane:
            await plane.result(replace(RESULT, agent={"cost": float("nan"), "n": 1}))
        assert desk.report
        assert desk.report["result"]["agent"] == {"cost": None, "n": 1}
