"""The host cancels its own task, natively, at each step of the tail in turn: nothing is lost, and one result told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Generator
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

import pytest

from adapter import Adapter
from adapter.local import LocalCluster
from adapter.supervisor import Supervisor
from tests.recorder import Recorder
from tests.wire.conftest import FAST, Ran, Site

SAY = ("sh", "-c", "echo one; echo two; exit 3")
SAID = b"one\ntwo\n"
AT_ONCE = 8
PATIENT = replace(FAST, call=10, headers=5, stall=8, tail=40, stuck=60, launch=30)
"""Nothing goes wrong here but the cancellation: a machine with much to do must not look like a fault."""


class Countdown:
    """Cancels the host's task before a step of any task of its run; the steps count from the tail's beginning."""

    def __init__(self, left: int) -> None:
        self.left, self.steps, self.armed = left, 0, False
        self.struck = False
        """Whether the task was cancelled while it went on."""
        self.task: asyncio.Task[Any] | None = None

    def step(self) -> None:
        if self.armed:
            if self.steps == self.left and self.task:
                self.struck = self.task.cancel()
            self.steps += 1


RUN: ContextVar[Countdown | None] = ContextVar("RUN", default=None)


class Stepped(Coroutine[Any, Any, Any]):
    """A coroutine whose every step is counted."""

    def __init__(self, inner: Coroutine[Any, Any, Any]) -> None:
        self._inner = inner

    def send(self, value: Any) -> Any:
        if countdown := RUN.get():
            countdown.step()
        return self._inner.send(value)

    def throw(self, *error: Any) -> Any:
        return self._inner.throw(*error)

    def close(self) -> None:
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()


@pytest.fixture(name="place")
async def _place(cluster: LocalCluster) -> AsyncIterator[Site]:
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=PATIENT) as adapter:
        yield Site(cluster, adapter)
    await cluster.until(lambda c: not c.open_streams())


@pytest.fixture(name="stepped")
def _stepped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task steps through `Stepped`, and the tail arms the countdown of its run."""
    end_run = Supervisor._end_run

    async def armed(self: Supervisor, *args: Any) -> None:
        countdown = RUN.get()
        assert countdown
        countdown.armed = True
        await end_run(self, *args)

    monkeypatch.setattr(Supervisor, "_end_run", armed)


def _make(loop: asyncio.AbstractEventLoop, inner: Any, **how: Any) -> asyncio.Task[Any]:
    return asyncio.Task(Stepped(inner), loop=loop, **how)


def _start(site: Site, left: int) -> tuple[Ran, Countdown]:
    countdown = Countdown(left)
    token = RUN.set(countdown)
    try:
        run = site.start(*SAY, run_id=f"step-{left}", retain=60)
    finally:
        RUN.reset(token)
    countdown.task = run.task
    return run, countdown


@pytest.mark.timeout(180)
async def test_a_cancellation_at_each_step_of_the_tail_in_turn(place: Site, stepped: None) -> None:
    loop = asyncio.get_running_loop()
    loop.set_task_factory(_make)
    try:
        run, countdown = _start(place, -1)
        assert (await run.result(60)).exit_code == 3
        steps = countdown.steps
        assert steps > 30, "the tail was stepped through"
        room = asyncio.Semaphore(AT_ONCE)
        came_back = await asyncio.gather(*(_cancelled_at(place, left, room) for left in range(steps + 10)))
    finally:
        loop.set_task_factory(None)
    assert any(came_back)
    assert not all(came_back)


async def _cancelled_at(site: Site, left: int, room: asyncio.Semaphore) -> bool:
    """One run, cancelled before that step of its tail. Whether it had to be come back to."""
    async with room:
        run, countdown = _start(site, left)
        cancelled = await _ended(run)
        assert cancelled == countdown.struck, f"step {left}: a cancellation of the host's was swallowed"
        plane = run.plane
        if plane.accepted is None:
            assert cancelled, f"step {left}: it ended without a result"
            plane = Recorder(position=await run.plane.position("stdout"))
            RUN.set(Countdown(-1))
            again = site.start(*SAY, run_id=f"step-{left}", retain=60, plane=plane)
            assert (await again.result(60)).exit_code == 3, f"step {left}"
        assert plane.accepted is not None
        assert plane.accepted.exit_code == 3
        before = b"" if plane is run.plane else bytes(run.plane.data)
        assert before + bytes(plane.data) == SAID, f"step {left}"
        return plane is not run.plane


async def _ended(run: Ran) -> bool:
    try:
        await run.result(60)
    except asyncio.CancelledError:
        return True
    return False
