"""The end of a run to the follower's connection closed, both as the server has them."""

from __future__ import annotations

import asyncio
from typing import Any

from adapter import Adapter, RunRequest
from tests.bench.figures import Figure, quantile
from tests.bench.places import Place, embedded

RUNS, AT_ONCE = 100, 4
P99 = 50


async def measure(*, full: bool) -> list[Figure]:
    runs = RUNS * 5 if full else RUNS
    async with embedded() as place:
        plain = await _closings(place, runs)
    async with embedded("hang") as place:
        hung = await _closings(place, runs)
    return [_figure("end to follow closed, p99", plain), _figure("the same, of follows that never end, p99", hung)]


def _figure(what: str, closings: list[float]) -> Figure:
    note = f"{len(closings)} runs, median {quantile(closings, 0.5):.1f} ms, worst {max(closings):.1f} ms"
    return Figure(what=what, value=quantile(closings, 0.99), unit="ms", aim=P99, note=note)


async def _closings(place: Place, runs: int) -> list[float]:
    room = asyncio.Semaphore(AT_ONCE)
    async with place.adapter() as adapter:
        await asyncio.gather(*(_run(adapter, room, f"close-{number}") for number in range(runs)))
    assert place.server is not None
    return _of(await place.server.ask())


async def _run(adapter: Adapter, room: asyncio.Semaphore, name: str) -> None:
    async with room:
        result = await adapter.run(RunRequest(run_id=name, command=("sh", "-c", "echo one; sleep 0.05; echo two")))
    assert result.ok, result.message


def _of(records: dict[str, Any]) -> list[float]:
    """Milliseconds, for each run; a stream that the server closed itself before the end was told counts as none."""
    follows = [s for s in records["streams"] if s["kind"] == "log" and "follow" in s["query"]]
    assert all(s["closed_at"] for s in follows), "a follow was left open"
    closed = {s["path"].split("/")[-2].rpartition("-")[0]: s["closed_at"] for s in follows}
    return [max(0.0, closed[job] - at) * 1000 for job, at in records["ended"].items() if job in closed]
