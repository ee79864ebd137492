"""The embedded cluster on uvloop, which the command uses where it is installed."""

from __future__ import annotations

import asyncio

import pytest

from adapter.local import LocalCluster, Timing
from adapter.local.resources import JOBS
from adapter.local.store import Key


def test_two_looks_at_a_job_at_the_same_moment() -> None:
    """A timer whose time is now does not know it there: the pod of a cancelled run could not be concluded."""
    uvloop = pytest.importorskip("uvloop")

    async def twice() -> None:
        async with LocalCluster(timing=Timing.fast()) as cluster:
            for _ in range(2):
                cluster._jobs.schedule(Key(JOBS, "default", "none"), 0)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(twice())
