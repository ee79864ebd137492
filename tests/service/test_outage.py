"""The control plane is down for ten minutes: in the middle of runs, at their end, and when they begin.

The clock is compressed: CLAUDE_K8S_FACTOR (40; 1 for the ten minutes as they are) divides the outage, the reaper's
threshold, and every duration of the adapter.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from adapter.cluster.connection import Connection
from adapter.cluster.credentials import Source
from adapter.local import LocalCluster, Timing
from tests.conftest import say
from tests.contract.conftest import Place
from tests.service.judge import Judge
from tests.service.processes import until
from tests.service.scene import Play, scene
from tests.service.scripts import endless, lasting, quiet
from tests.service.victim import victim

FACTOR = float(os.environ.get("CLAUDE_K8S_FACTOR") or 40)
OUTAGE, REAPER = 600 / FACTOR, 300 / FACTOR
COMPRESSED = ("-m", "tests.service.compressed", str(FACTOR))
LEAD = OUTAGE / 10
"""Seconds before the outage."""
TIMEOUT = pytest.mark.timeout(60 + 4 * OUTAGE)


@pytest.fixture
async def fast() -> AsyncIterator[Place]:
    """An embedded cluster whose clock is compressed as well."""
    async with LocalCluster(timing=replace(Timing.fast(), pod_gone=0.4)) as cluster:
        connection = await Connection.open(Source(str(cluster.kubeconfig)), deadline=10)
        try:
            yield Place(str(cluster.kubeconfig), "default", connection, real=False)
        finally:
            await connection.close()


def before() -> list[Play]:
    """Runs that are at work when the plane goes: some end meanwhile, some later."""
    return [
        lasting("outage/in the middle", OUTAGE * 1.3),
        lasting("outage/ends in it", OUTAGE * 0.5, exit_code=3),
        lasting("outage/ends as it begins", LEAD),
        lasting("outage/says much", OUTAGE * 1.2, lines=1000),
        quiet("outage/silent", OUTAGE * 1.2),
        quiet("outage/silent, ends in it", OUTAGE * 0.5),
        endless("outage/cancelled in it", "service"),
        endless("outage/cancelled by the plane later", "plane"),
    ]


def meanwhile() -> list[Play]:
    """Runs that begin while the plane is away."""
    return [lasting("outage/begins in it", OUTAGE * 0.2), lasting("outage/begins in it and ends later", OUTAGE)]


class Killed:
    """The plane is not there: connections are refused."""

    begin, end = Judge.kill, Judge.start


class Stopped:
    """The plane is there and does not answer, whatever it is sent."""

    @staticmethod
    async def begin(judge: Judge) -> None:
        judge.send(signal.SIGSTOP)

    @staticmethod
    async def end(judge: Judge) -> None:
        judge.send(signal.SIGCONT)


@TIMEOUT
@pytest.mark.parametrize("outage", [Killed, Stopped])
async def test_the_plane_is_away_for_ten_minutes(
    fast: Place, tmp_path: Path, pytestconfig: pytest.Config, outage: type[Killed | Stopped]
) -> None:
    async with (
        victim(fast, tmp_path, command=COMPRESSED) as one,
        scene(fast, tmp_path, one, reaper=REAPER) as played,
        anyio.create_task_group() as group,
    ):
        for play in meanwhile():
            await played.judge.register(play.run_id)
        for play in before():
            group.start_soon(played.perform, play, LEAD + OUTAGE * (0.5 if play.cancel == "service" else 1.1))
        await until(lambda: played.begun(len(before())))
        await anyio.sleep(LEAD)
        await outage.begin(played.judge)
        await anyio.sleep(OUTAGE * 0.3)
        for play in meanwhile():
            group.start_soon(played.ask, play)
        await anyio.sleep(OUTAGE * 0.7)
        await outage.end(played.judge)
        complaints = await played.verdict(OUTAGE + 60)
        status = await one.end()
    say(pytestconfig, f"the plane {outage.__name__.lower()} for 600 s, {FACTOR:g} times as fast: {played.told()}")
    assert not complaints, complaints
    assert status == 0
