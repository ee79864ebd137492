"""Many runs of `claude-k8s serve`, pushed to a control plane, while some others say as much as the machine can take."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from pathlib import Path
from typing import Any

import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.bench.figures import Figure
from tests.bench.places import Place, embedded
from tests.bench.programs import Program, program
from tests.bench.sink import QUIET
from tests.service.client import Client
from tests.service.processes import until
from tests.service.victim import Victim

RUNS, FULL = 200, 1000
LOUD = 4
"""Runs that say as much as they can."""

FIRST = 10
"""Runs that are posted at the same time; as many come first, before memory is counted."""

INTERVAL, RARE = 5.0, 30.0
"""Seconds between two beats of a run: six times as many as by default, but for the many runs of the full benchmark."""

HOLD = 4.0
"""For how many intervals it is looked how late the beats are; for half as many where they are rare."""

PATIENCE = 500
"""Seconds within which all of them must be running."""

LATE, MEMORY = 1.0, 400
MIB = 1024 * 1024
SLEEP, TALK = ("sleep", "3600"), ("sh", "-c", 'exec yes "$(cat /proc/version)"')


class Service:
    """The service, asked for runs, and looked at from outside."""

    def __init__(self, url: str, plane: str, pid: int) -> None:
        self._url, self._plane, self._process = url, plane, psutil.Process(pid)
        self._client, self._room, self._count = Client([url], haste=60), asyncio.Semaphore(FIRST), 0

    async def aclose(self) -> None:
        await self._client.aclose()

    async def grow(self, kind: str, count: int, command: tuple[str, ...]) -> None:
        """Has so many runs more, and returns when all of them are running."""
        begin, self._count = self._count, self._count + count
        await asyncio.gather(*(self._post(f"{kind}-{n}", command) for n in range(begin, self._count)))
        await until(self._running, PATIENCE)

    async def _post(self, run_id: str, command: tuple[str, ...]) -> None:
        request = {"runId": run_id, "command": list(command), "grace": 1}
        async with self._room:
            await self._client.post({"request": request, "plane": {"url": self._plane}})

    async def _running(self) -> bool:
        runs = (await self._client.runs()).values()
        return sum(bool(run["state"] == "running") for run in runs) == self._count

    def memory(self) -> float:
        """KiB that it has."""
        return float(self._process.memory_info().rss / 1024)

    def busy(self) -> float:
        """Seconds of a core that it has used."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    async def lags(self) -> dict[float, float]:
        """How often the event loop was at most so late."""
        async with httpx.AsyncClient(trust_env=False) as client:
            text = (await client.get(f"{self._url}/metrics", timeout=60)).text
        [lag] = [one for one in text_string_to_metric_families(text) if one.name == "claude_k8s_loop_lag_seconds"]
        return {float(sample.labels["le"]): sample.value for sample in lag.samples if sample.name.endswith("_bucket")}


@asynccontextmanager
async def _service(directory: Path, place: Place, plane: str, runs: int) -> AsyncIterator[Service]:
    process = Victim(place, directory, "service", "--max-runs", str(runs))
    await process.start()
    try:
        await process.up()
        service = Service(process.url, plane, process.pid)
        yield service
        await service.aclose()
    finally:
        await process.discard()


async def measure(*, full: bool) -> list[Figure]:
    figures = await _measured(RUNS, INTERVAL, INTERVAL * HOLD)
    return [*figures, *(await _measured(FULL, RARE, RARE * HOLD / 2))] if full else figures


async def _measured(runs: int, interval: float, hold: float) -> list[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        async with embedded() as place, program("sink", interval) as sink:
            url = (await sink.hear())["url"]
            async with _service(Path(directory), place, url, runs + LOUD) as service:
                return _figures(runs, interval, await _held(service, sink, runs, hold))


async def _held(service: Service, sink: Program, runs: int, hold: float) -> dict[str, Any]:
    await service.grow(QUIET, FIRST, SLEEP)
    before = service.memory()
    await service.grow(QUIET, runs - FIRST, SLEEP)
    memory = (service.memory() - before) / (runs - FIRST)
    await service.grow("loud", LOUD, TALK)
    await sink.ask()
    lags, busy, began = await service.lags(), service.busy(), time.monotonic()
    await asyncio.sleep(hold)
    took = await sink.ask()
    passed = time.monotonic() - began
    counts = {le: count - lags[le] for le, count in (await service.lags()).items()}
    return took | {
        "memory": memory,
        "rate": took["bytes"] / passed / MIB,
        "busy": (service.busy() - busy) / passed,
        "lag": min(le for le, count in counts.items() if count >= 0.99 * counts[inf]),
        "worst_lag": min(le for le, count in counts.items() if count == counts[inf]),
    }


def _figures(runs: int, interval: float, took: dict[str, Any]) -> list[Figure]:
    beats = f"{took['beats']} beats, one in {interval:g} s a run, as the control plane heard them"
    loud = f"meanwhile {LOUD} runs said {took['rate']:.1f} MiB/s; the service had {took['busy'] * 100:.0f} % of a core"
    lag = f"99 of 100 of its looks at its event loop were at most so late, all at most {took['worst_lag']:g} s"
    return [
        Figure(
            what=f"latest beat of {runs} of the service's runs", value=took["worst"], unit="s", aim=LATE, note=beats
        ),
        Figure(what="log to the control plane, journals on", value=took["rate"], unit="MiB/s", note=loud),
        Figure(what="lag of the service's event loop, p99", value=took["lag"] * 1000, unit="ms", note=lag),
        Figure(what=f"memory of {runs} of its runs, each", value=took["memory"], unit="KiB", aim=MEMORY),
    ]
