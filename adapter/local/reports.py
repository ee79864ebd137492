"""What the kubelet tells the API of a pod: later than it knows it, and never while it is down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .podstatus import compose, end_of
from .resources import PODS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .containers import Container
    from .node import Node
    from .store import Object


class Report:
    """The status of one pod, and when it is told."""

    def __init__(self, node: Node, pod: Object, inits: Sequence[Container], containers: Sequence[Container]) -> None:
        self._node, self._inits, self._containers = node, inits, containers
        self._metadata, self._policy = pod["metadata"], pod["spec"]["restartPolicy"]
        self._timers: set[asyncio.TimerHandle] = set()
        self.phase = "Pending"
        self.initialized = not inits
        self.begun = False
        """whether the kubelet has taken the pod up: until then it tells nothing, and has no logs to serve"""
        self.over = False
        """whether there is nobody left to tell"""
        self.extra: Object = {}
        """what overrides the rest, as for an evicted pod"""

    @property
    def has_ended(self) -> bool:
        return self.phase in ("Succeeded", "Failed")

    def tell(self, delay: float = 0.0) -> None:
        """Bring the status up to what is known when the delay is over."""
        if delay <= 0:
            self.publish()
        else:
            self._timers.add(asyncio.get_running_loop().call_later(delay, self.publish))

    async def tell_at_last(self) -> None:
        """Tell how it ended, as soon as there is a kubelet to tell it."""
        self._settle()
        await self._node.awake()
        self.publish()

    def publish(self) -> None:
        """Write the status as it is known now."""
        if not self._node.kubelet_up or self.over or not self.begun:
            return
        self._advance()
        self._node.registry.modify(PODS, self._metadata["namespace"], self._metadata["name"], self._update)

    def stop(self) -> None:
        for timer in self._timers:
            timer.cancel()

    def _advance(self) -> None:
        """Running once a container was seen to run; a container that ends at once leaves it Pending."""
        started = any(container.running or container.restarts for container in self._containers)
        if self.phase == "Pending" and started:
            self.phase = "Running"

    def _settle(self) -> None:
        """The phase of a pod whose containers have all ended, or whose init container has failed."""
        over = end_of(self._inits, self._containers, "Never")
        self.phase = self.extra.get("phase") or over or self.phase

    def _update(self, pod: Object) -> None:
        if pod["metadata"]["uid"] != self._metadata["uid"]:
            return
        pod["status"] = compose(
            pod.get("status", {}),
            self._containers,
            self._inits,
            phase=self.phase,
            policy=self._policy,
            initialized=self.initialized,
            node_ready=self._node.ready,
            extra=self.extra,
        )
