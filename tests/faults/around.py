"""Mishaps of those around a run: its plane, the host that it runs in, whoever cancels it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import anyio

from adapter import Position
from tests.faults.scene import Mishap, Scene, Strike

GARBAGE: dict[str, tuple[Any, ...]] = {
    "beat": ("soon", -1, float("nan"), object(), True),
    "position": ("there", Position(-5, "garbage"), Position("7", object()), 3, object()),  # type: ignore[arg-type]
}
"""What a plane may answer that means nothing. A cancellation means something whatever it says."""


ERRORS: tuple[Callable[[], BaseException], ...] = (
    lambda: ConnectionError("the plane is away"),
    lambda: TimeoutError(),
    lambda: asyncio.CancelledError("its own"),
    lambda: KeyError("a bug of the plane"),
    lambda: ExceptionGroup("several", [ValueError("one"), OSError("two")]),
    lambda: StopAsyncIteration(),
)


def _plane(name: str, trouble: Callable[[random.Random], Callable[[str], Any]]) -> Mishap:
    async def strike(scene: Scene, dice: random.Random) -> None:
        scene.ledger.trouble.append(trouble(dice))

    return Mishap(name, "plane", strike, early=True)


def _failing(dice: random.Random) -> Callable[[str], Any]:
    left = {call: dice.randrange(1, 5) for call in ("beat", "log", "event", "result", "position", "cancellation")}

    async def trouble(call: str) -> None:
        left[call] -= 1
        if left[call] >= 0:
            raise ERRORS[0]()

    return trouble


def _raising(dice: random.Random) -> Callable[[str], Any]:
    left = 12

    async def trouble(_: str) -> None:
        nonlocal left
        left -= 1
        if left > 0 and dice.random() < 0.6:
            raise dice.choice(ERRORS)()

    return trouble


def _slow(dice: random.Random) -> Callable[[str], Any]:
    pause = 0.02 + dice.random() * 0.08

    async def trouble(call: str) -> None:
        if call != "cancellation":
            await asyncio.sleep(pause)

    return trouble


def _hanging(dice: random.Random) -> Callable[[str], Any]:
    calls = set(dice.sample(["beat", "log", "event", "result", "position"], 3))

    async def trouble(call: str) -> None:
        if call in calls:
            calls.remove(call)
            await anyio.sleep_forever()

    return trouble


def _garbage(dice: random.Random) -> Callable[[str], Any]:
    async def trouble(call: str) -> Any:
        return dice.choice(GARBAGE[call]) if call in GARBAGE else None

    return trouble


async def _stored(scene: Scene, dice: random.Random) -> None:
    """What was offered is stored, and the answer lost: it is offered again, and must not be there twice."""
    for _ in range(3):
        scene.ledger.forget = True
        await asyncio.sleep(0.1 * dice.random())


PLANE = [
    _plane("plane fails", _failing),
    _plane("plane raises anything", _raising),
    _plane("plane slow", _slow),
    _plane("plane hangs", _hanging),
    _plane("plane answers garbage", _garbage),
    Mishap("plane's answer lost", "plane", _stored, early=True),
]


# -- the host, and cancels -------------------------------------------------------------------------------------------


def _host(name: str, do: Callable[[Scene], Any], times: int = 1) -> Mishap:
    """At random moments, before there is a Job and in the tail as well."""

    async def strike(scene: Scene, dice: random.Random) -> None:
        for _ in range(times):
            await scene.moment(dice.choice([0.02, 0.1, 0.4]) * dice.random())
            do(scene)

    return Mishap(name, "adapter", strike, early=True)


def _cancel_task(scene: Scene) -> None:
    if scene.task:
        scene.task.cancel()


def _let_go(scene: Scene) -> None:
    if scene.adapter:
        scene.adapter.let_go(scene.request.run_id)


BLOCK, APART = 0.3, 2.0
"""Seconds: what ten of a real cluster's are here, and how far apart, since all the runs of a process are blocked."""

_blocked_at = 0.0


async def _block(scene: Scene, dice: random.Random) -> None:
    global _blocked_at
    await scene.moment(dice.random())
    if time.monotonic() - _blocked_at < APART:
        raise LookupError("another run has blocked the loop just now")
    _blocked_at = time.monotonic()
    time.sleep(BLOCK)  # noqa: ASYNC251 - the very fault


async def _cut_short(scene: Scene, dice: random.Random) -> None:
    """At the very moment at which the result is offered."""

    async def trouble(call: str) -> None:
        if call == "result" and scene.ledger.accepted is None and not scene.ledger.results:
            _cancel_task(scene)

    scene.ledger.trouble.append(trouble)


async def _closed(scene: Scene, dice: random.Random) -> None:
    await scene.moment(dice.choice([0.02, 0.1, 0.4]) * dice.random())
    if scene.adapter:
        await scene.adapter.aclose()


async def _cancelled(scene: Scene, dice: random.Random) -> None:
    await scene.moment(dice.choice([0.02, 0.1, 0.4]) * dice.random())
    scene.ledger.cancel()


async def _cancelled_at_the_end(scene: Scene, dice: random.Random) -> None:
    def ended(cluster: Any) -> bool:
        return any("terminated" in str(pod["status"].get("containerStatuses")) for pod in cluster.list("pods"))

    await scene.cluster.until(ended, 20)
    scene.ledger.cancel()


async def _cancelled_by_hand(scene: Scene, dice: random.Random) -> None:
    await scene.speaking(dice)
    if scene.adapter:
        await scene.adapter.cancel(scene.request.run_id, "by hand")


def _cancel(name: str, strike: Strike, *, early: bool = False) -> Mishap:
    return Mishap(name, "cancel", strike, early=early, outcomes=("cancelled",), codes=("cancelled",))


HOST = [
    _host("let go of, and come back", _let_go),
    _host("let go of again and again", _let_go, times=4),
    _host("host's task cancelled", _cancel_task),
    _host("host's task cancelled again and again", _cancel_task, times=4),
    Mishap("host's task cancelled as the result is offered", "adapter", _cut_short, early=True),
    Mishap("adapter closed and opened again", "adapter", _closed, early=True),
    Mishap("host blocks the event loop", "adapter", _block, early=True),
    _cancel("cancelled at any moment", _cancelled, early=True),
    _cancel("cancelled as the container ends", _cancelled_at_the_end, early=True),
    _cancel("cancelled by hand", _cancelled_by_hand),
]
