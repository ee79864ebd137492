from __future__ import annotations

import anyio
import pytest

from adapter.cluster.cursor import Cursor
from adapter.errors import Code
from adapter.plane import Beat, Event, LogChunk, Position
from adapter.plane.callbacks import CallbackPlane
from adapter.run import Outcome, RunResult

CHUNK = LogChunk(offset=3, data=b"one\n", cursor=Cursor(), stamp="")
BEAT = Beat(run_id="r", phase="watch", observed_ago=1.0)
EVENT = Event(kind="pod", message="running", at=0.0)
RESULT = RunResult(run_id="r", outcome=Outcome.SUCCEEDED, code=Code.OK, message="fine")


async def everything(plane: CallbackPlane) -> None:
    await plane.log(CHUNK)
    await plane.beat(BEAT)
    await plane.event(EVENT)
    await plane.result(RESULT)


async def test_plain_functions_are_called() -> None:
    said: list[object] = []
    await everything(
        CallbackPlane(on_log=said.append, on_beat=said.append, on_event=said.append, on_result=said.append)
    )

    assert said == [CHUNK, BEAT, EVENT, RESULT]


async def test_async_functions_are_awaited() -> None:
    said: list[object] = []

    async def say(what: object) -> None:
        said.append(what)

    await everything(CallbackPlane(on_log=say, on_beat=say, on_event=say, on_result=say))

    assert said == [CHUNK, BEAT, EVENT, RESULT]


async def test_what_is_missing_is_not_called() -> None:
    await everything(CallbackPlane())


async def test_the_position_is_behind_what_was_taken() -> None:
    plane = CallbackPlane()
    assert await plane.position("stdout") is None
    await plane.log(CHUNK)

    assert await plane.position("stdout") == Position(7, CHUNK.cursor)


async def test_a_chunk_that_was_refused_does_not_move_the_position() -> None:
    def refuse(_: object) -> None:
        raise OSError("disk full")

    plane = CallbackPlane(on_log=refuse)
    with pytest.raises(OSError, match="disk full"):
        await plane.log(CHUNK)

    assert await plane.position("stdout") is None


async def test_a_cancel_is_waited_for_and_only_the_first_counts() -> None:
    plane = CallbackPlane()
    reasons: list[str] = []

    async def wait() -> None:
        reasons.append(await plane.cancellation())

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        assert reasons == []
        plane.cancel("first")
        plane.cancel("second")

    assert (reasons, await plane.cancellation()) == (["first"], "first")
