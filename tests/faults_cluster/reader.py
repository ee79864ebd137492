"""A second follow of a pod's log, by nobody's rules: what it got, the API server has given."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import ClientError

from tests.faults_cluster.ground import Ground, Run
from tests.faults_cluster.ledger import Tally


class Reader:
    """Follows until the API server ends it."""

    def __init__(self, ground: Ground, path: str) -> None:
        self.tally = Tally()
        self._task = asyncio.create_task(self._follow(ground, f"{path}/log"))

    async def ended(self, seconds: float = 60) -> None:
        """Waits for the end of the follow."""
        await asyncio.wait_for(asyncio.shield(self._task), seconds)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def beside(self, run: Run) -> str:
        """What it got and the run did not, in words: which of them the kubelet cuts, and when, is chance."""
        ours, last = run.ledger.tally, self.tally.last
        more = set(ours.missing(last)) - set(self.tally.missing(last))
        return f"a follow that nobody cuts got {self.tally.lines}, {len(more)} of them besides"

    async def _follow(self, ground: Ground, path: str) -> None:
        query = [("follow", "true"), ("container", "claude")]
        async with ground.place.connection.stream(path, query=query, headers=30) as response:
            with suppress(ClientError, OSError):
                while block := await response.content.readany():
                    self.tally.feed(block)


@asynccontextmanager
async def reader_of(ground: Ground, run: Run) -> AsyncIterator[Reader]:
    """A second reader of a run's log."""
    reader = Reader(ground, await ground.pod(run))
    try:
        yield reader
    finally:
        await reader.close()
