"""More log than anybody reads at once: the API serves only the newest file, and a pod that is deleted is cut off."""

from __future__ import annotations

import anyio
import pytest

from tests.faults_cluster.ground import Ground, Run
from tests.faults_cluster.judge import Expected, Judge
from tests.faults_cluster.memory import Memory
from tests.faults_cluster.reader import reader_of
from tests.faults_cluster.scripts import burst, hoard, stream

pytestmark = pytest.mark.cluster

STALL = 60
"""Seconds that the sink takes nothing."""

MIB = 1024 * 1024

BURST = Expected("succeeded", ("ok",), 0, losing=True)
"""The kubelet rotates faster than it follows. What is missing must be said, and be served by nobody any more."""

MOST = 64 * MIB
"""Bytes that this process may grow by, whatever the log's size."""


def stalls(run: Run, seconds: float) -> None:
    """Has the sink stand still with the first chunk."""

    async def stall() -> None:
        run.ledger.before_log = None
        await anyio.sleep(seconds)

    run.ledger.before_log = stall


async def test_50_MB_at_once_and_a_sink_that_stalls(ground: Ground, judge: Judge) -> None:  # noqa: N802 - a size
    with Memory() as memory:
        run = ground.start(burst(500_000, 100))
        stalls(run, STALL)
        await run.over(200)
    await judge(run, expected=BURST, note=memory.words)
    assert memory.grown < MOST


async def test_2000_lines_a_second_and_a_sink_that_stalls(ground: Ground, judge: Judge) -> None:
    with Memory() as memory:
        run = ground.start(stream(seconds=75, rate=2000, width=300))
        stalls(run, STALL)
        await run.over(250)
    await judge(run, note=memory.words)
    assert memory.grown < MOST


async def test_cancel_with_100000_lines_to_be_said(ground: Ground, judge: Judge) -> None:
    run = await ground.speaking(hoard(100_000), lines=1, grace=30)
    async with reader_of(ground, run) as reader:
        run.ledger.cancel()
        await reader.ended()
        expected = Expected("cancelled", ("cancelled",), 0, losing=True)
        await judge(run, expected=expected, note=lambda: reader.beside(run))


async def test_deadline_with_100000_lines_to_be_said(ground: Ground, judge: Judge) -> None:
    run = await ground.speaking(hoard(100_000), lines=1, grace=30, timeout=10)
    async with reader_of(ground, run) as reader:
        await reader.ended()
        expected = Expected("timed_out", ("deadline",), 0, losing=True)
        await judge(run, expected=expected, note=lambda: reader.beside(run))
