"""Plays a run of the matrix, and many of them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import replace

from adapter import Adapter, ConnectError, Limits, Outcome, RunRequest
from adapter.local import LocalCluster, Timing
from adapter.local.errors import ApiError
from tests.faults.drawing import Plan
from tests.faults.judging import Finding, judge, open_logs
from tests.faults.scene import Mishap, Scene, command_of
from tests.wire.conftest import FAST

LIMITS: Limits = replace(
    FAST, call=2, plane=4, sink=1, headers=1.5, stall=2.5, launch=30, start=6, schedule=6, grace=2, stuck=20
)
"""Compressed as the tests' are; a plane that hangs is given up sooner, and nobody waits for what is gone for good."""

TIMING = replace(Timing.fast(), pod_gone=0.4)
PATIENCE = 60.0
"""Seconds after which a run of the matrix hangs."""

COMEBACKS = 12
"""How often a run that was let go of is come back to."""


async def play_all(plans: Sequence[Plan], at_once: int) -> AsyncIterator[Finding]:
    """Each plan's finding, as it comes."""
    room = asyncio.Semaphore(at_once)

    async def one(plan: Plan) -> Finding:
        async with room:
            return await play(plan)

    tasks = [asyncio.create_task(one(plan)) for plan in plans]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def play(plan: Plan) -> Finding:
    """One run, in a cluster of its own. Whatever goes wrong is a finding, and no exception."""
    async with LocalCluster(timing=TIMING) as cluster:
        own = {key: value for mishap in plan.mishaps for key, value in mishap.own.items()}
        request = RunRequest(run_id=f"run-{plan.number}", command=command_of(cluster, plan.part), grace=1, **own)
        scene = Scene(cluster, plan.part, request)
        strikes = [asyncio.create_task(_strike(scene, plan, mishap)) for mishap in plan.mishaps if not mishap.early]
        try:
            async with asyncio.timeout(PATIENCE):
                streams = await _life(scene, plan)
            finding = judge(plan, scene, streams)
        except TimeoutError:
            finding = Finding(plan, tuple(scene.happened), right=False, wrong=(f"no end within {PATIENCE:g} s",))
        except Exception as error:  # noqa: BLE001 - it is told with its run, so that it can be replayed
            finding = Finding(plan, tuple(scene.happened), right=False, wrong=(f"{error!r}",))
        finally:
            await _ended(strikes)
    return finding


async def _life(scene: Scene, plan: Plan) -> int:
    """Supervises until the result is accepted, however often it is let go of; log streams open at that moment."""
    early = [m for m in plan.mishaps if m.early]
    async with asyncio.timeout(PATIENCE):
        adapter = await _open(scene)
        strikes = [asyncio.create_task(_strike(scene, plan, mishap)) for mishap in early]
        await asyncio.sleep(0)  # what is to be wrong from the beginning is
        try:
            for _ in range(COMEBACKS):
                if await _supervised(scene, adapter):
                    break
                await adapter.aclose()
                adapter = await _open(scene)
            streams = open_logs(scene.cluster)
        finally:
            await _ended(strikes)
            await adapter.aclose()
        await scene.cluster.until(lambda c: not c.open_streams())
    return streams


async def _supervised(scene: Scene, adapter: Adapter) -> bool:
    """One supervision, to its end or until it is let go of; whether the plane has the result."""
    scene.adapter = adapter
    scene.task = asyncio.create_task(adapter.run(scene.request, scene.ledger))
    await asyncio.wait([scene.task])
    if scene.task.cancelled():
        return scene.ledger.accepted is not None
    return scene.task.result().outcome is not Outcome.DETACHED


async def _open(scene: Scene) -> Adapter:
    while True:
        try:
            return await Adapter.open(kubeconfig=str(scene.cluster.kubeconfig), limits=LIMITS)
        except ConnectError:
            await asyncio.sleep(0.05)  # the API server is away: a host would try again, too


async def _strike(scene: Scene, plan: Plan, mishap: Mishap) -> None:
    """A mishap that comes too late has not happened; one that was cut short halfway has."""
    with suppress(LookupError, AssertionError, ApiError, TimeoutError):
        if not mishap.early:
            await scene.until_pod()
        scene.struck.append(mishap.name)
        try:
            await mishap.strike(scene, plan.dice(mishap.name))
        except (LookupError, AssertionError, ApiError):
            scene.struck.remove(mishap.name)


async def _ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
