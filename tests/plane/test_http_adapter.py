"""Whole runs of an adapter, told to the reference plane over real HTTP, with the plane as the judge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from adapter import Adapter, Outcome, RunRequest, RunResult
from adapter.local import LocalCluster
from adapter.plane import Plane
from adapter.plane.http import HttpPlane
from adapter.plane.reference_models import Run
from tests.plane.desk import FAST
from tests.plane.served import Served, served
from tests.wire import conftest as wire
from tests.wire.test_agents import context_of

LIMITS = replace(
    FAST, flush=0.5, patience=5, confirm=0.2, grace=5, retry_first=0.01, retry_most=0.1, interval_least=0.1
)
cluster = wire.cluster
"""The embedded cluster: a fixture."""

COUNT = ("sh", "-c", "i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo line $i; sleep 0.02; done")
COUNTED = b"".join(b"line %d\n" % n for n in range(1, 41))
FOREVER = ("sh", "-c", "echo begun; while :; do sleep 0.05; done")


class Site:
    """A cluster and a control plane; `adapter` opens one of the adapters between the two."""

    def __init__(self, cluster: LocalCluster, here: Served) -> None:
        self.cluster, self.here = cluster, here
        self.ends: list[tuple[str, str]] = []
        self._news = anyio.Event()

    @asynccontextmanager
    async def adapter(self) -> AsyncIterator[Adapter]:
        async with Adapter.connect(kubeconfig=str(self.cluster.kubeconfig), limits=wire.FAST) as adapter:
            yield adapter

    @asynccontextmanager
    async def plane(self, run_id: str) -> AsyncIterator[Plane]:
        await self.here.plane.store.create(run_id)
        http = HttpPlane(self.here.url, limits=LIMITS, supervisor="me", observe=self._observe)
        async with http.run(run_id, execution=lambda result: {"ok": result.ok}) as plane:
            yield plane
        await http.aclose()

    async def ran(self, adapter: Adapter, *command: str, run_id: str = "r", **fields: Any) -> RunResult:
        """A run, from its request to its result."""
        async with self.plane(run_id) as plane:
            return await adapter.run(RunRequest(run_id=run_id, command=command, **fields), plane)

    def _observe(self, kind: str, end: str, seconds: float) -> None:
        self.ends.append((kind, end))
        self._news.set()
        self._news = anyio.Event()

    async def failed(self, kind: str, times: int = 3) -> None:
        """Waits until requests of a kind have failed for want of a server."""
        with anyio.fail_after(10):
            while self.ends.count((kind, "error")) < times:
                await self._news.wait()

    async def has(self, text: bytes, run_id: str = "r") -> None:
        """Waits until the control plane has this of the log."""

        async def there() -> bool:
            return text in await self.here.log(run_id)

        await self.here.until(there)


@pytest.fixture
async def site(cluster: LocalCluster, tmp_path: Path) -> AsyncIterator[Site]:
    async with served(tmp_path / "plane.db") as here:
        yield Site(cluster, here)
    await cluster.until(lambda c: not c.open_streams())


async def judged(site: Site, run_id: str = "r") -> Run:
    """What the control plane knows of a run that has ended; its checksum must fit."""
    run = await site.here.run(run_id)
    assert run.terminal
    assert not run.log_mismatch
    assert all(not log.lost for log in run.log.values())
    assert run.result
    assert run.result["log"]["complete"] is True
    return run


async def test_a_run_from_its_request_to_the_planes_own_record(site: Site) -> None:
    async with site.adapter() as adapter:
        result = await site.ran(adapter, *COUNT)

    run = await judged(site)
    assert await site.here.log("r") == COUNTED
    assert (run.state, run.result) == ("succeeded", result.to_json() | {"warnings": [], "log": run.result["log"]})  # type: ignore[index]  # judged
    assert run.execution == {"ok": True}
    kinds = [event["kind"] for event in await site.here.events("r")]
    assert "job" in kinds
    assert "task" not in kinds


async def test_a_run_without_output_beats(site: Site) -> None:
    async with site.adapter() as adapter:
        await site.ran(adapter, "sleep", "0.8")

    run = await site.here.run("r")
    assert run.state == "succeeded"
    assert run.beat
    assert run.beat.supervisor == "me"


async def test_a_plane_that_is_down_in_the_middle_loses_nothing(site: Site) -> None:
    async with site.adapter() as adapter, asyncio.TaskGroup() as group:
        run = group.create_task(site.ran(adapter, *COUNT))
        await site.has(b"line 5\n")
        await site.here.down()
        await site.failed("log", 5)
        await site.here.up()
        assert (await run).outcome is Outcome.SUCCEEDED

    await judged(site)
    assert await site.here.log("r") == COUNTED


async def test_a_plane_that_is_down_at_the_end_gets_it_all_the_same(site: Site) -> None:
    async with site.adapter() as adapter, asyncio.TaskGroup() as group:
        run = group.create_task(site.ran(adapter, *COUNT))
        await site.has(b"line 5\n")
        await site.here.down()
        await site.cluster.until(lambda c: any("succeeded" in pod["status"] for pod in c.list("jobs")))
        await site.here.up()
        await run

    await judged(site)
    assert await site.here.log("r") == COUNTED


async def test_a_cancel_of_the_planes_ends_the_job(site: Site) -> None:
    async with site.adapter() as adapter, asyncio.TaskGroup() as group:
        run = group.create_task(site.ran(adapter, *FOREVER, grace=1))
        await site.has(b"begun\n")
        await site.here.plane.store.ask_cancel("r", "the operator wants it")
        result = await run

    assert result.outcome is Outcome.CANCELLED
    assert "the operator wants it" in result.message
    assert (await judged(site)).state == "cancelled"


async def test_a_run_that_changes_hands_has_every_line_once(site: Site) -> None:
    async with site.adapter() as first, asyncio.TaskGroup() as group:
        run = group.create_task(site.ran(first, *COUNT))
        await site.has(b"line 10\n")
        first.let_go("r")
        assert (await run).outcome is Outcome.DETACHED
    async with site.adapter() as second:
        assert (await site.ran(second, *COUNT)).ok

    await judged(site)
    assert await site.here.log("r") == COUNTED


async def test_what_the_first_could_not_send_the_second_reads_again(site: Site) -> None:
    async with site.adapter() as first, asyncio.TaskGroup() as group:
        run = group.create_task(site.ran(first, *COUNT))
        await site.has(b"line 5\n")
        await site.here.down()
        await site.cluster.until(lambda c: any("succeeded" in job["status"] for job in c.list("jobs")))
        first.let_go("r")
        assert (await run).outcome is Outcome.DETACHED
    had = await site.here.log("r")
    assert had != COUNTED
    await site.here.up()
    async with site.adapter() as second:
        assert (await site.ran(second, *COUNT)).ok

    await judged(site)
    assert await site.here.log("r") == COUNTED


async def test_an_agent_that_changes_hands_has_every_line_once_in_both_its_logs(site: Site) -> None:
    async def executed(adapter: Adapter, run_id: str) -> RunResult:
        context = context_of(run_id, "sleep=1 stderr=20", agent=f"agent of {run_id}")
        async with site.plane(run_id) as plane:
            return await adapter.execute(context, plane)

    async with site.adapter() as first, asyncio.TaskGroup() as group:
        alone = group.create_task(executed(first, "alone"))
        run = group.create_task(executed(first, "r"))
        await site.has(b"\n")
        first.let_go("r")
        assert (await run).outcome is Outcome.DETACHED
        assert (await alone).ok
    async with site.adapter() as second:
        assert (await executed(second, "r")).ok

    ours, theirs = await judged(site), await judged(site, "alone")
    assert ours.result
    assert theirs.result
    assert ours.result["agent"]["usage"] == theirs.result["agent"]["usage"], "the transcript was heard to its end"
    assert await site.here.log("r", "stderr") == await site.here.log("alone", "stderr")
    assert len(await site.here.log("r")) == len(await site.here.log("alone"))
