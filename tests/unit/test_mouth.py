"""What a run says to its plane, and that no plane can do it harm. Real loop, small limits."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
import structlog

from adapter.cluster.cursor import Cursor
from adapter.cluster.framing import Batch
from adapter.errors import Code
from adapter.limits import Limits
from adapter.mouth import MOST_EVENTS, Courier, Heart, Herald
from adapter.plane import Beat, LogChunk
from adapter.run import Outcome, RunResult
from adapter.spool import Spool
from tests.unit.planes import FakePlane

LIMITS = Limits(call=0.05, beat=0.01, beat_in_flight=0.02, sink=0.05, retry_first=0.001, retry_most=0.002)
LOG: structlog.typing.FilteringBoundLogger = structlog.wrap_logger(structlog.ReturnLogger())
BEAT = Beat(run_id="r", phase="watch", observed_ago=0.0)
RESULT = RunResult(run_id="r", outcome=Outcome.SUCCEEDED, code=Code.OK, message="fine")


def fails(times: int, kind: str) -> Callable[[str], None]:
    """Raises for the first calls of one kind."""
    left = [times]

    def before(called: str) -> None:
        if called == kind and left[0]:
            left[0] -= 1
            raise RuntimeError("the plane is down")

    return before


def hangs(kind: str, until: anyio.Event) -> Callable[[str], anyio.Event | None]:
    return lambda called: until if called == kind else None


class TestHerald:
    async def deliver(self, herald: Herald) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(herald.run)
            with anyio.fail_after(2):
                await herald.flushed()
            group.cancel_scope.cancel()

    async def test_events_come_in_order(self) -> None:
        plane = FakePlane()
        herald = Herald(plane, LIMITS, LOG)
        for n in range(5):
            herald.tell("pod", f"event {n}")
        await self.deliver(herald)

        assert plane.all("event") == [f"event {n}" for n in range(5)]

    async def test_a_plane_that_raises_loses_that_event_only(self) -> None:
        plane = FakePlane(fails(1, "event"))
        herald = Herald(plane, LIMITS, LOG)
        herald.tell("pod", "first")
        herald.tell("pod", "second")
        await self.deliver(herald)

        assert plane.all("event") == ["second"]

    async def test_a_plane_that_hangs_is_given_up_at_the_deadline(self) -> None:
        herald = Herald(FakePlane(hangs("event", anyio.Event())), LIMITS, LOG)
        herald.tell("pod", "first")
        await self.deliver(herald)

    async def test_flushed_waits_for_the_event_in_flight(self) -> None:
        let_go = anyio.Event()
        plane = FakePlane(hangs("event", let_go))
        herald = Herald(plane, Limits(), LOG)
        async with anyio.create_task_group() as group:
            group.start_soon(herald.run)
            herald.tell("pod", "last words")
            await anyio.wait_all_tasks_blocked()
            group.start_soon(self.release, let_go)
            await herald.flushed()
            assert plane.all("event") == ["last words"]
            group.cancel_scope.cancel()

    async def release(self, event: anyio.Event) -> None:
        event.set()

    async def test_telling_never_waits_and_keeps_the_newest(self) -> None:
        plane = FakePlane()
        herald = Herald(plane, LIMITS, LOG)
        for n in range(MOST_EVENTS + 10):
            herald.tell("pod", str(n))
        await self.deliver(herald)

        assert plane.all("event")[0] == "10"


def line(data: bytes) -> Batch:
    return Batch(data, Cursor((data,)), b"stamp")


def courier(plane: FakePlane, *batches: Batch, offset: int = 0) -> tuple[Courier, Spool]:
    spool = Spool(1000, 1000)
    spool.put(list(batches))
    return Courier(plane, spool, offset, LIMITS, Herald(plane, LIMITS, LOG)), spool


def chunks(plane: FakePlane) -> list[tuple[int, bytes]]:
    taken = plane.all("log")
    return [(chunk.offset, chunk.data) for chunk in taken if isinstance(chunk, LogChunk)]


class TestCourier:
    async def test_each_chunk_begins_where_the_last_ended(self) -> None:
        plane = FakePlane()
        carrier, spool = courier(plane, line(b"one\n"), line(b"last"), offset=7)
        spool.close()
        await carrier.run()

        assert chunks(plane) == [(7, b"one\n"), (11, b"last")]
        assert carrier.summary().delivered == 15
        assert carrier.summary().complete

    async def test_a_chunk_is_offered_until_it_is_taken(self) -> None:
        plane = FakePlane(fails(3, "log"))
        carrier, spool = courier(plane, line(b"one\n"))
        spool.close()
        await carrier.run()

        assert chunks(plane) == [(0, b"one\n")]
        assert carrier.summary().complete

    async def test_a_sink_that_hangs_is_asked_again(self) -> None:
        calls: list[str] = []

        def before(called: str) -> anyio.Event | None:
            calls.append(called)
            return anyio.Event() if len(calls) == 1 else None

        plane = FakePlane(before)
        carrier, spool = courier(plane, line(b"one\n"))
        spool.close()
        await carrier.run()

        assert chunks(plane) == [(0, b"one\n")]

    async def test_a_gap_is_a_note_and_no_log(self) -> None:
        plane = FakePlane()
        carrier, spool = courier(plane, line(b"one\n"), Batch(b"", Cursor(), gap="lost"), line(b"two\n"))
        spool.close()
        await carrier.run()

        assert chunks(plane) == [(0, b"one\n"), (4, b"two\n")]
        assert (carrier.summary().complete, carrier.summary().notes) == (False, ("lost",))

    async def test_what_a_dead_sink_did_not_take_is_said(self) -> None:
        plane = FakePlane(hangs("log", anyio.Event()))
        carrier, spool = courier(plane, line(b"in hand\n"), Batch(b"x" * 5, Cursor(), continued=True))
        async with anyio.create_task_group() as group:
            group.start_soon(carrier.run)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

        assert carrier.summary().notes == ("log incomplete: the plane did not take the last 13 bytes",)
        assert spool.pending == 0

    async def test_the_last_chunk_counts_as_missing_while_it_is_in_hand(self) -> None:
        carrier, spool = courier(FakePlane(hangs("log", anyio.Event())), line(b"last\n"))
        spool.close()
        async with anyio.create_task_group() as group:
            group.start_soon(carrier.run)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

        assert not carrier.summary().complete

    async def test_a_courier_that_is_stopped_while_it_waits_has_lost_nothing(self) -> None:
        carrier, _ = courier(FakePlane(), line(b"one\n"))
        async with anyio.create_task_group() as group:
            group.start_soon(carrier.run)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()

        assert carrier.summary().complete


class TestHeart:
    async def test_it_beats_on_whatever_the_plane_does(self) -> None:
        enough = anyio.Event()
        plane = FakePlane(fails(2, "beat"))

        def beat() -> Beat:
            if len(plane.all("beat")) >= 3:
                enough.set()
            return BEAT

        async with anyio.create_task_group() as group:
            group.start_soon(Heart(plane, LIMITS, LOG).run, beat)
            with anyio.fail_after(5):
                await enough.wait()
            group.cancel_scope.cancel()

    async def test_a_stuck_supervisor_does_not_beat(self) -> None:
        plane = FakePlane()
        asked = anyio.Event()

        def beat() -> None:
            asked.set()

        async with anyio.create_task_group() as group:
            group.start_soon(Heart(plane, LIMITS, LOG).run, beat)
            await asked.wait()
            group.cancel_scope.cancel()

        assert plane.said == []

    async def test_no_beat_follows_an_accepted_result(self) -> None:
        plane = FakePlane()
        heart = Heart(plane, LIMITS, LOG)

        assert await heart.report(RESULT)
        await heart._beat(BEAT)
        assert plane.said == [("result", RESULT)]

    @pytest.mark.parametrize("before", [fails(1, "result"), hangs("result", anyio.Event())], ids=["raises", "hangs"])
    async def test_a_result_that_is_not_accepted_leaves_the_heart_beating(
        self, before: Callable[[str], object]
    ) -> None:
        plane = FakePlane(before)
        heart = Heart(plane, LIMITS, LOG)

        assert not await heart.report(RESULT)
        await heart._beat(BEAT)
        assert plane.said == [("beat", BEAT)]

    async def test_a_beat_in_flight_is_awaited_before_the_result(self) -> None:
        arrive = anyio.Event()
        plane = FakePlane(hangs("beat", arrive))
        heart = Heart(plane, Limits(), LOG)
        async with anyio.create_task_group() as group:
            group.start_soon(heart._beat, BEAT)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(heart.report, RESULT)
            await anyio.wait_all_tasks_blocked()
            arrive.set()

        assert [kind for kind, _ in plane.said] == ["beat", "result"]

    async def test_a_beat_that_hangs_is_cut_off_for_the_result(self) -> None:
        plane = FakePlane(hangs("beat", anyio.Event()))
        heart = Heart(plane, Limits(beat_in_flight=0.01), LOG)
        async with anyio.create_task_group() as group:
            group.start_soon(heart._beat, BEAT)
            await anyio.wait_all_tasks_blocked()
            with anyio.fail_after(2):
                assert await heart.report(RESULT)

        assert plane.said == [("result", RESULT)]
