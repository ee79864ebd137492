"""The end, as an independent watcher sees it first, to the result returned."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass

from adapter import Adapter, CallbackPlane, RunRequest
from tests.bench.figures import Figure, quantile
from tests.bench.places import Place, embedded, namespace, real
from tests.bench.programs import program

RUNS, REAL_RUNS = 120, 20
MEDIAN, P99 = 50, 150


@dataclass(frozen=True, slots=True)
class Ran:
    """When the result of a Job was accepted by its plane, and when it was returned."""

    job: str
    accepted: float
    returned: float


async def measure(*, full: bool) -> list[Figure]:
    async with embedded() as place:
        figures = await _at(place, RUNS * 5 if full else RUNS, at_once=2)
    if kubeconfig := real():
        async with namespace(kubeconfig) as place:
            figures += await _at(place, REAL_RUNS * 5 if full else REAL_RUNS, at_once=2)
    return figures


async def _at(place: Place, runs: int, at_once: int) -> list[Figure]:
    async with program("watcher", place.kubeconfig, place.namespace) as watcher, place.adapter() as adapter:
        await watcher.hear()
        await _runs(adapter, at_once, at_once)  # the first ones connect
        ran = await _runs(adapter, runs, at_once)
        await asyncio.sleep(1)  # the watcher may be behind
        seen = (await watcher.ask())["seen"]
    accepted = [(one.accepted - seen[one.job]) * 1000 for one in ran]
    returned = [(one.returned - seen[one.job]) * 1000 for one in ran]
    median, what = quantile(returned, 0.5), f"end seen to result returned ({place.name})"
    note = f"the plane has it after {quantile(accepted, 0.5):.1f} ms, the Job's deletion is awaited after it"
    worst = f"{runs} runs, {at_once} at once; worst {max(returned):.1f} ms"
    return [
        Figure(what=f"{what}, median", value=median, unit="ms", aim=MEDIAN, note=note),
        Figure(what=f"{what}, p99", value=quantile(returned, 0.99), unit="ms", aim=P99, note=worst),
    ]


async def _runs(adapter: Adapter, count: int, at_once: int) -> list[Ran]:
    room, begun = asyncio.Semaphore(at_once), time.monotonic_ns()

    async def one(number: int) -> Ran:
        async with room:
            return await _run(adapter, f"end-{begun}-{number}")

    return await asyncio.gather(*map(one, range(count)))


async def _run(adapter: Adapter, run_id: str) -> Ran:
    accepted: list[float] = []
    plane = CallbackPlane(on_result=lambda _: accepted.append(time.monotonic()))
    result = await adapter.run(RunRequest(run_id=run_id, command=("sh", "-c", "echo one; echo two"), retain=0), plane)
    returned = time.monotonic()
    assert result.ok, result.message
    return Ran(str(result.job), accepted[0], returned)
