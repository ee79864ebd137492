"""An embedded cluster and an adapter for each test; afterwards nothing may be left of either."""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import psutil
import pytest

from adapter import Adapter, Limits, RunRequest, RunResult
from adapter.local import LocalCluster, StreamRecord, Timing
from tests.conftest import CLOSINGS
from tests.recorder import Recorder
from tests.wire.band import Band

FAST = Limits(
    call=3,
    plane=6,
    launch=5,
    beat=0.05,
    stuck=2,
    silence=1.5,
    safety=0.3,
    grace=0.4,
    no_pod=0.1,
    schedule=1.5,
    start=3,
    ending=1,
    headers=0.5,
    news=0.1,
    stall=0.7,
    tail=10,
    report=10,
    beat_in_flight=0.3,
    let_go=1,
    retry_first=0.01,
    retry_most=0.1,
)
"""The proportions of the real limits, small."""

_ids = itertools.count()


@dataclass
class Ran:
    """A run that has begun: its request, what its plane was told, and the task that waits for its result."""

    request: RunRequest
    plane: Recorder
    task: asyncio.Task[RunResult]

    async def result(self, seconds: float = 20) -> RunResult:
        async with asyncio.timeout(seconds):
            return await self.task

    @property
    def job(self) -> str:
        return str(next(e.data["job"] for e in self.plane.events if e.kind == "job"))


@dataclass
class Site:
    """A cluster and an adapter for it."""

    cluster: LocalCluster
    adapter: Adapter
    tasks: list[asyncio.Task[RunResult]] = field(default_factory=list)

    def start(self, *command: str, plane: Recorder | None = None, **fields: Any) -> Ran:
        """Begins a run."""
        return start(self.adapter, *command, plane=plane, tasks=self.tasks, **fields)

    async def running(self, *command: str, said: str = "", **fields: Any) -> Ran:
        """Begins a run, and returns when its log holds `said`."""
        run = self.start(*command, **fields)
        await run.plane.until(lambda: said in run.plane.text)
        return run

    def pod(self, run: Ran) -> str:
        """The name of the run's pod."""
        pods = self.cluster.list("pods")
        names = (p["metadata"]["name"] for p in pods if p["metadata"]["labels"]["job-name"] == run.job)
        return str(next(names))

    def follows(self) -> list[StreamRecord]:
        """Every log stream so far."""
        return [s for s in self.cluster.streams if s.kind == "log" and "follow" in s.query]


def start(
    adapter: Adapter, *command: str, plane: Recorder | None = None, tasks: list[Any] | None = None, **fields: Any
) -> Ran:
    """Begins a run on an adapter."""
    plane = plane or Recorder()
    fields.setdefault("run_id", f"run-{next(_ids)}")
    request = RunRequest(command=command, **fields)
    task = asyncio.create_task(adapter.run(request, plane))
    if tasks is not None:
        tasks.append(task)
    return Ran(request, plane, task)


@pytest.fixture
async def cluster() -> AsyncIterator[LocalCluster]:
    """An empty embedded cluster."""
    before = set(psutil.Process().children())  # a module's own cluster may stand beside it
    # The log of a pod that was deleted is there for a while yet, as it is in reality.
    async with LocalCluster(timing=replace(Timing.fast(), pod_gone=0.4)) as cluster:
        yield cluster
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task was left"
    assert set(psutil.Process().children()) <= before, "a process was left"


@pytest.fixture
async def site(cluster: LocalCluster, request: pytest.FixtureRequest) -> AsyncIterator[Site]:
    """An adapter for that cluster. Every follow of it must have been closed by then, and every stream in the end."""
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig), limits=FAST) as adapter:
        site = Site(cluster, adapter)
        yield site
        if all(task.done() for task in site.tasks):  # a test that failed may have left a run to be let go of
            assert not any(s.kind == "log" for s in cluster.open_streams()), "a log stream outlived its run"
    await cluster.until(lambda c: not c.open_streams())
    request.config.stash[CLOSINGS].extend(closings(cluster))


@pytest.fixture
async def band(cluster: LocalCluster) -> AsyncIterator[Band]:
    band = Band(cluster)
    yield band
    await band.close()


def closings(cluster: LocalCluster) -> list[float]:
    """For each Job that ended: how long after its agent's `terminated` the server saw its last follow closed."""
    ended: dict[str, float] = {}
    for change in cluster.history:
        if change.kind == "Pod" and _terminated(change.object):
            ended.setdefault(change.object["metadata"]["name"], change.at)
    follows = [s for s in cluster.streams if s.kind == "log" and "follow" in s.query and s.closed_at]
    last = {s.path.split("/")[-2]: s.closed_at for s in follows}
    return [max(0.0, (last[pod] or at) - at) for pod, at in ended.items() if pod in last]


def _terminated(pod: dict[str, Any]) -> bool:
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return any(s["name"] == "claude" and "terminated" in s.get("state", {}) for s in statuses)


PYTHON = sys.executable
