"""The life of one pod on the node: what the kubelet does for it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from .containers import Container
from .environment import ConfigError
from .errors import ApiError
from .instances import Instances
from .registry import DeleteOptions
from .reports import Report
from .resources import PODS
from .sidecars import LEAST_GRACE, Sidecars
from .volumes import fill

if TYPE_CHECKING:
    from pathlib import Path

    from .node import Node
    from .store import Object


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
        self.volumes: dict[str, Path] = {}
        self.instances = Instances(self)
        self.sidecars = Sidecars(self)
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
        self.request_stop(LEAST_GRACE)

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
            await asyncio.gather(life, self.sidecars.let_be(), return_exceptions=True)
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
                group.create_task(self.instances.run(container))
        await self._since_end(timing.terminated)  # the kubelet learns of the end in the moment it tells of it
        await self.sidecars.stop(float(self.pod["spec"]["terminationGracePeriodSeconds"]))

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
                    self.volumes[volume["name"]] = fill(self.node.store, self.pod, volume, place, claims)
                    break
                except ConfigError as error:
                    message = f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}'
                    self.node.recorder.warn(self.pod, "FailedMount", message, "kubelet")
                await asyncio.sleep(delay)
                delay = min(2 * delay, 120.0)

    async def _initialize(self) -> bool:
        """Init containers one after another; a sidecar among them need only be seen running."""
        for container in self.inits:
            if container.is_sidecar:
                await self.sidecars.start(container)
                continue
            await self.instances.run(container)
            if container.terminated and container.terminated["exitCode"] != 0:
                return False
        self.report.initialized = True
        self.report.tell()
        return True

    # the end

    async def _stop(self, life: asyncio.Future[None]) -> None:
        """Main containers first, then the sidecars, all within one grace period."""
        deadline = asyncio.get_running_loop().time() + (self.grace or 0.0)
        life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        self.node.recorder.tell(self.pod, "Killing", "Stopping container", "kubelet")
        others = [one for one in self.all_containers if not one.is_sidecar]
        await asyncio.gather(*(one.stop(self.grace or 0.0) for one in others))
        await self.sidecars.stop(deadline - asyncio.get_running_loop().time())

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
