"""The Job controller, as of Kubernetes 1.34."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .jobpods import untrack
from .jobstatus import JobSync
from .resources import JOBS, PODS
from .store import Key

if TYPE_CHECKING:
    from .recorder import EventRecorder
    from .registry import Registry
    from .store import Event, Object
    from .timing import Timing


class JobController:
    """Looks at a Job again whenever it or a pod of it has changed, or when its time has come."""

    def __init__(self, registry: Registry, recorder: EventRecorder, timing: Timing) -> None:
        self.registry, self.store, self.recorder, self.timing = registry, registry.store, recorder, timing
        self.rejection: str | None = None
        """why no pod may be created: a quota, Pod Security, a webhook"""
        self.failures: dict[str, list[float]] = {}
        """when pods of a Job were found failed: the next waits"""
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._due: dict[Key, float] = {}
        self._pods: dict[str, set[Key]] = {}

    def start(self) -> None:
        self.store.listeners.append(self._on_event)

    def stop(self) -> None:
        self.store.listeners.remove(self._on_event)
        for timer in self._timers.values():
            timer.cancel()

    def pods_of(self, uid: str) -> list[Object]:
        found = (self.store.get(key) for key in sorted(self._pods.get(uid, ()), key=lambda key: key.name))
        return [pod for pod in found if pod is not None]

    def resync(self) -> None:
        for key in list(self._timers):
            self.schedule(key, 0)

    def schedule(self, key: Key, delay: float) -> None:
        """Look at a Job after a delay, or earlier if it is to be looked at earlier anyway."""
        loop = asyncio.get_running_loop()
        timer, due = self._timers.get(key), loop.time() + delay
        if timer is not None and self._due[key] <= due:
            return
        if timer is not None:
            timer.cancel()
        # Kept beside it: uvloop's handle of a time that is now does not know it any more.
        self._timers[key], self._due[key] = loop.call_at(due, self._sync, key), due

    def _on_event(self, event: Event) -> None:
        if event.resource is JOBS:
            self._on_job(event)
        elif event.resource is PODS:
            self._on_pod(event)

    def _on_job(self, event: Event) -> None:
        metadata = event.object["metadata"]
        key = Key(JOBS, metadata["namespace"], metadata["name"])
        if event.type == "DELETED":
            self.failures.pop(metadata["uid"], None)
            asyncio.get_running_loop().call_soon(self._release, metadata["uid"])
        elif event.type == "ADDED" or _asks_for_something(event):
            self.schedule(key, 0)

    def _on_pod(self, event: Event) -> None:
        metadata = event.object["metadata"]
        for reference in _jobs_among(metadata) + _jobs_among((event.previous or event.object)["metadata"]):
            place = Key(PODS, metadata["namespace"], metadata["name"])
            members = self._pods.setdefault(reference["uid"], set())
            gone = event.type == "DELETED" or reference not in _jobs_among(metadata)
            (members.discard if gone else members.add)(place)
            job = Key(JOBS, metadata["namespace"], reference["name"])
            self.schedule(job, 0 if event.type == "DELETED" else self.timing.job_sync)

    def _release(self, uid: str) -> None:
        """The Job is gone, or going: its pods need not wait to be counted."""
        for pod in self.pods_of(uid):
            untrack(self.registry, pod)
        if not self.pods_of(uid):
            self._pods.pop(uid, None)

    def _sync(self, key: Key) -> None:
        self._timers.pop(key, None)
        self._due.pop(key, None)
        job = self.store.get(key)
        if job is None:
            return
        if job["metadata"].get("deletionTimestamp"):
            self._release(job["metadata"]["uid"])
            JobSync(self, key, job).write()
            return
        JobSync(self, key, job).run()


def _asks_for_something(event: Event) -> bool:
    """The controller's own writes of the status are no news to it."""
    previous: dict[str, Any] = event.previous or {"metadata": {}}
    going = "deletionTimestamp"
    new = event.object["metadata"].get(going) != previous["metadata"].get(going)
    return new or bool(event.object["spec"] != previous.get("spec"))


def _jobs_among(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    owners = metadata.get("ownerReferences") or []
    return [owner for owner in owners if owner["kind"] == "Job" and owner.get("controller")]
