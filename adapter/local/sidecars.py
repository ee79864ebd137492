"""Native sidecars: init containers that stay. Started before what comes after them, stopped after all the others.

As observed on Kubernetes 1.34: what comes next waits until a sidecar has been seen running, so one that ends at once
holds the pod in `Pending`; between two instances its state is `terminated`, never `waiting`; and of a deleted pod's
grace period the sidecars get what the main containers left, but two seconds at least.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .containers import Container
    from .pods import PodWorker

LEAST_GRACE = 2.0
"""seconds every container is given between TERM and KILL: the kubelet's minimum"""


class Sidecars:
    """The sidecars of one pod, in the order they were started in."""

    def __init__(self, worker: PodWorker) -> None:
        self._node, self._report, self._instances = worker.node, worker.report, worker.instances
        self._kept: dict[Container, asyncio.Task[None]] = {}

    async def start(self, container: Container) -> None:
        """Start one, and wait until it has been seen running."""
        up = asyncio.Event()
        self._kept[container] = asyncio.create_task(self._keep(container, up))
        await up.wait()

    async def _keep(self, container: Container, up: asyncio.Event) -> None:
        """One instance after another, for ever; the backoff is told by nothing but its absence."""
        while True:
            await self._instances.start(container)
            seen = asyncio.get_running_loop().call_later(self._node.timing.running, up.set)
            try:
                await self._instances.watch_over(container)
            finally:
                seen.cancel()
            await asyncio.sleep(self._node.timing.terminated + self._instances.backoff(container.restarts + 1))
            container.restart()

    async def let_be(self) -> None:
        """Nobody starts them again."""
        for task in self._kept.values():
            task.cancel()
        await asyncio.gather(*self._kept.values(), return_exceptions=True)

    async def stop(self, grace: float) -> None:
        """In the reverse of the order they were started in, all within one grace period."""
        deadline = asyncio.get_running_loop().time() + grace
        await self.let_be()
        for container in reversed(self._kept):
            left = deadline - asyncio.get_running_loop().time()
            await container.stop(max(left, LEAST_GRACE))
            self._report.tell(self._node.timing.terminated)
            self._node.later(self._node.timing.eof, container.close_logs)
