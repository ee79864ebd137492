"""A pod's containers, instance by instance: image there, started, watched over, started again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from . import images
from .environment import ConfigError

if TYPE_CHECKING:
    from .containers import Container
    from .pods import PodWorker

LONGEST_BACKOFF = 300.0


class Instances:
    """What the kubelet does with each container of one pod."""

    def __init__(self, worker: PodWorker) -> None:
        self._worker, self._node, self._report = worker, worker.node, worker.report

    async def run(self, container: Container) -> None:
        """One instance after another, as long as the restart policy wants another."""
        while True:
            await self.start(container)
            await self.watch_over(container)
            if not self._wants_restart(container):
                return
            await self._restart(container)

    async def start(self, container: Container) -> None:
        """Start an instance, once its image and all it refers to is there."""
        await self._pull(container)
        while True:
            pod = self._worker.pod
            try:
                status = pod.get("status", {}) | {"podIP": "127.0.0.1", "hostIP": "127.0.0.1"}
                container.start(self._node.store, pod, self._worker.volumes, self._node.guard, status)
                break
            except ConfigError as error:
                container.waits("CreateContainerConfigError", str(error))
                self._node.recorder.warn(pod, "Failed", f"Error: {error}", "kubelet")
                self._report.tell()
            await asyncio.sleep(self._node.timing.config_retry)
        if container.running:
            self._node.recorder.tell(pod, "Started", f"Started container {container.name}", "kubelet")
            self._report.tell(self._node.timing.running)

    async def _pull(self, container: Container) -> None:
        """Every image is there, but for one with an impossible name, or one a fault says is missing."""
        image = container.spec["image"]
        if why := images.invalid_name(image):
            await self._wait_for_ever(container, "InvalidImageName", why)
        if self._node.image_error(image) is None:
            return
        await asyncio.sleep(self._node.timing.image_pull)
        while (error := self._node.image_error(image)) is not None:
            for reason, message in images.failing(image, error):
                self._node.recorder.warn(self._worker.pod, "Failed", f"Error: {reason}", "kubelet")
                container.waits(reason, message)
                self._report.tell()
                await self._node.image_changed.wait_for(self._node.timing.image_backoff)

    async def _wait_for_ever(self, container: Container, reason: str, message: str) -> None:
        container.waits(reason, message)
        self._node.recorder.warn(self._worker.pod, reason, message, "kubelet")
        self._report.tell()
        await asyncio.Event().wait()

    async def watch_over(self, container: Container) -> None:
        """Until the instance has ended; its end is told later, and its log ends later still."""
        timing = self._node.timing
        await container.end()
        self._report.tell(timing.terminated)
        self._node.later(timing.eof, container.logs[-1].close)

    def _wants_restart(self, container: Container) -> bool:
        """An init container that has succeeded has done its work, whatever the policy."""
        policy = self._worker.pod["spec"]["restartPolicy"]
        if policy == "Always" and container in self._worker.inits:
            policy = "OnFailure"
        end = container.terminated
        failed = end is None or end["exitCode"] != 0
        return policy == "Always" or (policy == "OnFailure" and failed)

    async def _restart(self, container: Container) -> None:
        """At once the first time, then later and later."""
        await asyncio.sleep(self._node.timing.terminated)
        container.restart()
        if container.last["terminated"]["reason"] == "StartError":
            container.waits("RunContainerError", container.last["terminated"]["message"])
            self._report.tell()
        if delay := self.backoff(container.restarts):
            container.waits("CrashLoopBackOff", self._backing_off(container, delay))
            self._report.tell()
            await asyncio.sleep(delay)

    def backoff(self, restarts: int) -> float:
        """Seconds before a container is started for the so-manieth time again."""
        if restarts < 2:
            return 0.0
        return float(min(self._node.timing.restart_backoff * 2 ** (restarts - 2), LONGEST_BACKOFF))

    def _backing_off(self, container: Container, delay: float) -> str:
        pod = f"{self._worker.name}_{self._worker.namespace}({self._worker.uid})"
        return f"back-off {max(1, round(delay))}s restarting failed container={container.name} pod={pod}"
