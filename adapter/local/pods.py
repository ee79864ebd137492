"""The life of one pod on the node: what the kubelet does for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from . import images
from .containers import Container
from .environment import ConfigError
from .errors import ApiError
from .registry import DeleteOptions
from .reports import Report
from .resources import PODS
from .volumes import fill

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from .node import Node
    from .store import Object

FORCED_GRACE = 2.0
"""seconds a forcibly deleted pod's containers get all the same: the kubelet's minimum"""
LONGEST_BACKOFF = 300.0


class PodWorker:
    """Runs a pod's containers and tells the API what became of them, a little later than it knows."""

    def __init__(self, node: Node, pod: Object) -> None:
        self.node, self.pod = node, pod
        self.uid: str = pod["metadata"]["uid"]
        self.place = node.directory / "pods" / self.uid
        spec = pod["spec"]
        self.inits = [self._container(entry) for entry in spec.get("initContainers") or ()]
        self.containers = [self._container(entry) for entry in spec["containers"]]
        self.report = Report(node, pod, self.inits, self.containers)
        self.grace: float | None = None
        self.stop_requested = asyncio.Event()
        self.removed = asyncio.Event()
        self._volumes: dict[str, Path] = {}
        self._sidecars: list[asyncio.Task[None]] = []
        if self.inits:
            for container in self.all_containers:
                container.waits("PodInitializing")

    def _container(self, spec: Object) -> Container:
        return Container(spec, self.uid, self.place, self.node.rotate_bytes)

    @property
    def namespace(self) -> str:
        return str(self.pod["metadata"]["namespace"])

    @property
    def name(self) -> str:
        return str(self.pod["metadata"]["name"])

    @property
    def all_containers(self) -> list[Container]:
        return [*self.inits, *self.containers]

    def container(self, name: str) -> Container | None:
        return next((one for one in self.all_containers if one.name == name), None)

    # what happens to it

    def request_stop(self, grace: float) -> None:
        """Deleted or evicted: end the containers within their grace period."""
        self.grace = grace if self.grace is None else min(grace, self.grace)
        self.stop_requested.set()

    def object_removed(self) -> None:
        """The pod is gone from the API: by force, if its containers still run."""
        self.removed.set()
        self.report.over = True
        self.request_stop(FORCED_GRACE)

    # the life

    async def run(self) -> None:
        life = asyncio.ensure_future(self._live())
        try:
            await self._until_stopped(life)
            if not life.done():
                await self._stop(life)
            else:
                life.result()
            await self._conclude()
        finally:
            await self._abandon(life)

    async def _until_stopped(self, life: asyncio.Future[None]) -> None:
        """A kubelet that is down does not hear that a pod is deleted."""
        waiting = asyncio.ensure_future(self._stop_heard())
        try:
            await asyncio.wait({life, waiting}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def _stop_heard(self) -> None:
        await self.stop_requested.wait()
        await self.node.awake()

    async def _abandon(self, life: asyncio.Future[None]) -> None:
        """Whatever happened: leave no task, no process, no timer."""
        self.report.stop()
        life.cancel()
        try:
            await asyncio.gather(life, *self._cancel_sidecars(), return_exceptions=True)
            running = [one.process for one in self.all_containers if one.process is not None]
            await asyncio.gather(*(process.stop(0) for process in running))
        finally:  # the cluster may be stopped in this very moment
            for container in self.all_containers:
                container.close_logs()

    async def _live(self) -> None:
        timing = self.node.timing
        await asyncio.sleep(timing.prepare)
        await self.node.awake()
        self.report.begun = True
        self.report.tell()
        await self._mount()
        await asyncio.sleep(timing.start)
        if not await self._initialize():
            return
        async with asyncio.TaskGroup() as group:
            for container in self.containers:
                group.create_task(self._run_container(container))
        await self._stop_sidecars()

    async def _mount(self) -> None:
        """A volume whose Secret is missing is tried again; only an Event says why nothing happens."""
        delay = self.node.timing.mount_retry
        mounts = [mount for one in self.all_containers for mount in one.spec.get("volumeMounts") or ()]
        wanted = {mount["name"] for mount in mounts}  # the kubelet does not look at a volume that nobody mounts
        for volume in self.pod["spec"].get("volumes") or ():
            if volume["name"] not in wanted:
                continue
            place, claims = self.place / "volumes" / volume["name"], self.node.directory / "claims"
            while True:
                try:
                    self._volumes[volume["name"]] = fill(self.node.store, self.pod, volume, place, claims)
                    break
                except ConfigError as error:
                    message = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
                    self.node.recorder.warn(self.pod, "FailedMount", message, "kubelet")
                await asyncio.sleep(delay)
                delay = min(2 * delay, 120.0)

    async def _initialize(self) -> bool:
        """Init containers one after another; a sidecar among them need only be running."""
        for container in self.inits:
            if container.is_sidecar:
                await self._started_sidecar(container)
                continue
            await self._run_container(container)
            if container.terminated and container.terminated["exitCode"] != 0:
                return False
        self.report.initialized = True
        self.report.tell()
        return True

    async def _started_sidecar(self, container: Container) -> None:
        await self._start(container)
        self._sidecars.append(asyncio.ensure_future(self._keep_running(container)))

    async def _keep_running(self, container: Container) -> None:
        await self._watch_over(container)
        await self._restart(container)
        await self._run_container(container)

    async def _run_container(self, container: Container) -> None:
        """One instance after another, as long as the restart policy wants another."""
        while True:
            await self._start(container)
            await self._watch_over(container)
            if not self._wants_restart(container):
                return
            await self._restart(container)

    async def _start(self, container: Container) -> None:
        await self._pull(container)
        while True:
            try:
                status = self.pod.get("status", {}) | {"podIP": "127.0.0.1", "hostIP": "127.0.0.1"}
                container.start(self.node.store, self.pod, self._volumes, self.node.guard, status)
                break
            except ConfigError as error:
                container.waits("CreateContainerConfigError", str(error))
                self.node.recorder.warn(self.pod, "Failed", f"Error: {error}", "kubelet")
                self.report.tell()
            await asyncio.sleep(self.node.timing.config_retry)
        if container.running:
            self.node.recorder.tell(self.pod, "Started", f"Started container {container.name}", "kubelet")
            self.report.tell(self.node.timing.running)

    async def _pull(self, container: Container) -> None:
        """Every image is there, but for one with an impossible name, or one a fault says is missing."""
        image = container.spec["image"]
        if why := images.invalid_name(image):
            await self._wait_for_ever(container, "InvalidImageName", why)
        if self.node.image_error(image) is None:
            return
        await asyncio.sleep(self.node.timing.image_pull)
        while (error := self.node.image_error(image)) is not None:
            for reason, message in images.failing(image, error):
                self.node.recorder.warn(self.pod, "Failed", f"Error: {reason}", "kubelet")
                container.waits(reason, message)
                self.report.tell()
                await self.node.image_changed.wait_for(self.node.timing.image_backoff)

    async def _wait_for_ever(self, container: Container, reason: str, message: str) -> None:
        container.waits(reason, message)
        self.node.recorder.warn(self.pod, reason, message, "kubelet")
        self.report.tell()
        await asyncio.Event().wait()

    async def _watch_over(self, container: Container) -> None:
        """Until the instance has ended; its end is told later, and its log ends later still."""
        timing = self.node.timing
        await container.end()
        self.report.tell(timing.terminated)
        self.node.later(timing.eof, container.logs[-1].close)

    def _wants_restart(self, container: Container) -> bool:
        """An init container that has succeeded has done its work, whatever the policy."""
        policy = "Always" if container.is_sidecar else self.pod["spec"]["restartPolicy"]
        if policy == "Always" and container in self.inits and not container.is_sidecar:
            policy = "OnFailure"
        end = container.terminated
        failed = end is None or end["exitCode"] != 0
        return policy == "Always" or (policy == "OnFailure" and failed)

    async def _restart(self, container: Container) -> None:
        """At once the first time, then later and later."""
        await asyncio.sleep(self.node.timing.terminated)
        container.restart()
        if container.last["terminated"]["reason"] == "StartError":
            container.waits("RunContainerError", container.last["terminated"]["message"])
            self.report.tell()
        if container.restarts > 1:
            delay = min(self.node.timing.restart_backoff * 2 ** (container.restarts - 2), LONGEST_BACKOFF)
            pod = f"{self.name}_{self.namespace}({self.uid})"
            seconds = f"{max(1, round(delay))}s"
            message = f"back-off {seconds} restarting failed container={container.name} pod={pod}"
            container.waits("CrashLoopBackOff", message)
            self.report.tell()
            await asyncio.sleep(delay)

    # the end

    async def _stop(self, life: asyncio.Future[None]) -> None:
        """Main containers first, then the sidecars, all within one grace period."""
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        grace = self.grace or 0.0
        self.node.recorder.tell(self.pod, "Killing", "Stopping container", "kubelet")
        await self._stop_all([one for one in self.all_containers if not one.is_sidecar], grace)
        await self._stop_sidecars()

    async def _stop_all(self, containers: list[Container], grace: float) -> None:
        stopping: list[Coroutine[Any, Any, None]] = []
        for container in containers:
            if container.running and container.process is not None:
                stopping += [container.process.stop(grace), container.end()]
        await asyncio.gather(*stopping)

    def _cancel_sidecars(self) -> list[asyncio.Task[None]]:
        for task in self._sidecars:
            task.cancel()
        return self._sidecars

    async def _stop_sidecars(self) -> None:
        """In the reverse of the order they were started in."""
        await asyncio.gather(*self._cancel_sidecars(), return_exceptions=True)
        grace = self.grace if self.grace is not None else self.pod["spec"]["terminationGracePeriodSeconds"]
        for container in reversed(self.inits):
            if container.is_sidecar:
                await self._stop_all([container], grace)
                self.report.tell(self.node.timing.terminated)
                self.node.later(self.node.timing.eof, container.close_logs)

    async def _conclude(self) -> None:
        if not self.stop_requested.is_set():
            await self._since_end(self.node.timing.phase)
            await self.report.tell_at_last()
        if self.stop_requested.is_set():  # also one that was deleted between its end and its phase
            await self._conclude_stopped()

    async def _conclude_stopped(self) -> None:
        """Deleted: end and phase are told at once, and the pod with its log is gone a moment later."""
        await self.report.tell_at_last()
        await self._since_end(self.node.timing.pod_gone)
        await self.node.awake()
        if not self._is_deleted() or self.removed.is_set():
            return
        with contextlib.suppress(ApiError):
            options = DeleteOptions(grace=0, preconditions={"uid": self.uid})
            self.node.registry.delete(PODS, self.namespace, self.name, options)

    def _is_deleted(self) -> bool:
        return "deletionTimestamp" in self.pod["metadata"]

    async def _since_end(self, delay: float) -> None:
        """A delay counted from the end of the last container."""
        now = asyncio.get_running_loop().time()
        ended = max([one.ended_at for one in self.all_containers], default=0.0) or now
        await asyncio.sleep(max(0.0, ended + delay - now))
