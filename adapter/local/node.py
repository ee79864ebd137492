"""The node: takes pods up, runs them as processes of this machine, and serves their logs."""

from __future__ import annotations

import asyncio
import shutil
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from . import times
from .memory import watch_memory
from .pods import PodWorker
from .resources import NODES, PODS
from .scheduling import too_large
from .signals import Signal
from .tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .guard import Guard
    from .recorder import EventRecorder
    from .registry import Registry
    from .store import Event, Object
    from .timing import Timing

NAME = "local"


class Node:
    """One node, always the same; what is done to it from outside is in `node_faults`."""

    def __init__(
        self,
        registry: Registry,
        recorder: EventRecorder,
        timing: Timing,
        directory: Path,
        guard: Guard,
        rotate_bytes: int,
    ) -> None:
        self.registry, self.store, self.recorder = registry, registry.store, recorder
        self.timing, self.directory, self.guard = timing, directory, guard
        self.rotate_bytes = rotate_bytes
        self.ready = True
        self.kubelet_up = True
        self.kubelet_since = float("-inf")
        self.unschedulable: str | None = None
        self.image_errors: dict[str, str] = {}
        self.image_changed = Signal()
        self._up = asyncio.Event()
        self._up.set()
        self._tasks = Tasks()
        self._workers: dict[str, PodWorker] = {}
        self._waiting: dict[str, Object] = {}

    def start(self) -> None:
        self._register()
        self.store.listeners.append(self._on_event)
        self._tasks.start(watch_memory(self))

    async def stop(self) -> None:
        """End every pod at once."""
        self.store.listeners.remove(self._on_event)
        await self._tasks.stop()

    def _register(self) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": times.now()}
        self.registry.create(NODES, "", {"metadata": {"name": NAME, "labels": {"kubernetes.io/hostname": NAME}}})
        self.registry.modify(NODES, "", NAME, lambda node: node.update(status={"conditions": [ready]}))

    @property
    def workers(self) -> list[PodWorker]:
        return list(self._workers.values())

    def worker(self, name: str, namespace: str = "default") -> PodWorker | None:
        """The newest pod of that name."""
        named = (one for one in reversed(self.workers) if (one.namespace, one.name) == (namespace, name))
        return next(named, None)

    def later(self, delay: float, call: Callable[[], object]) -> None:
        self._tasks.later(delay, call)

    async def awake(self) -> None:
        """Until the kubelet runs."""
        await self._up.wait()

    def set_kubelet(self, *, up: bool) -> None:
        self.kubelet_up = up
        if not up:
            self._up.clear()
            return
        self.kubelet_since = asyncio.get_running_loop().time()
        self._up.set()
        for worker in self.workers:
            worker.report.publish()

    def image_error(self, image: str) -> str | None:
        errors = (why for pattern, why in self.image_errors.items() if fnmatchcase(image, pattern))
        return next(errors, None)

    def _on_event(self, event: Event) -> None:
        if event.resource is not PODS:
            return
        uid = event.object["metadata"]["uid"]
        if event.type == "DELETED":
            self._removed(uid)
        elif worker := self._workers.get(uid):
            _changed(worker, event.object)
        elif event.object["spec"].get("nodeName"):
            self._waiting.pop(uid, None)
            self._take_up(event.object)
        elif event.type == "ADDED":
            self._waiting[uid] = event.object
            self.later(self.timing.schedule, lambda: self._schedule(uid))

    def _removed(self, uid: str) -> None:
        self._waiting.pop(uid, None)
        if worker := self._workers.get(uid):
            worker.object_removed()

    def _take_up(self, pod: Object) -> None:
        """Start the pod's worker; what it leaves on disk goes when both it and its object are gone."""
        if pod["spec"]["nodeName"] != NAME:
            return
        worker = PodWorker(self, pod)
        self._workers[worker.uid] = worker
        self._tasks.start(self._run(worker))

    async def _run(self, worker: PodWorker) -> None:
        try:
            await worker.run()
            await worker.removed.wait()
        finally:
            del self._workers[worker.uid]
            shutil.rmtree(worker.place, ignore_errors=True)

    # the scheduler

    def schedule_waiting(self) -> None:
        for uid in list(self._waiting):
            self._schedule(uid)

    def _schedule(self, uid: str) -> None:
        pod = self._waiting.get(uid)
        if pod is None:
            return
        metadata, why = pod["metadata"], self.unschedulable or too_large(pod)
        if why is not None:
            self.recorder.warn(pod, "FailedScheduling", why, "default-scheduler")
        self.registry.modify(
            PODS,
            metadata["namespace"],
            metadata["name"],
            self._bind if why is None else lambda obj: _refuse(obj, why),
        )

    def _bind(self, pod: Object) -> None:
        pod["spec"]["nodeName"] = NAME
        _scheduled(pod, {"status": "True"})
        message = f"Successfully assigned {pod['metadata']['namespace']}/{pod['metadata']['name']} to {NAME}"
        self.recorder.tell(pod, "Scheduled", message, "default-scheduler")


def _refuse(pod: Object, why: str) -> None:
    _scheduled(pod, {"status": "False", "reason": "Unschedulable", "message": why})


def _scheduled(pod: Object, condition: dict[str, Any]) -> None:
    head = {"type": "PodScheduled", "lastProbeTime": None, "lastTransitionTime": times.now()}
    others = [one for one in pod["status"].get("conditions", ()) if one["type"] != "PodScheduled"]
    pod["status"] = pod["status"] | {"conditions": [*others, head | condition]}


def _changed(worker: PodWorker, pod: Object) -> None:
    """A deletion that leaves a grace period begins now; a forced one when the object is gone."""
    worker.pod = pod
    grace = pod["metadata"].get("deletionGracePeriodSeconds")
    if grace:
        worker.request_stop(grace)
