"""Garbage collection: dependents follow their owners, owners wait for their dependents, orphans are let go."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from .errors import ApiError
from .registry import DeleteOptions
from .store import Key

if TYPE_CHECKING:
    from .registry import Registry
    from .store import Event, Object
    from .tasks import Tasks

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class GarbageCollector:
    """Knows who owns whom by uid, and nothing else."""

    def __init__(self, registry: Registry, tasks: Tasks, delay: float) -> None:
        self._registry, self._store, self._tasks, self._delay = registry, registry.store, tasks, delay
        self._owned: dict[str, set[Key]] = {}
        self._present: dict[str, Key] = {}

    def start(self) -> None:
        self._store.listeners.append(self._on_event)

    def stop(self) -> None:
        self._store.listeners.remove(self._on_event)

    def _on_event(self, event: Event) -> None:
        metadata = event.object["metadata"]
        key = Key(event.resource, metadata.get("namespace", ""), metadata["name"])
        owners = _owners(event.object)
        if event.type == "DELETED":
            self._forget(key, metadata["uid"], owners)
            return
        self._present[metadata["uid"]] = key
        for uid in owners:
            self._owned.setdefault(uid, set()).add(key)
        if owners and not any(uid in self._present for uid in owners):
            self._tasks.later(self._delay, lambda: self._collect(key, metadata["uid"]))
        if metadata.get("deletionTimestamp") and {FOREGROUND, ORPHAN} & set(metadata.get("finalizers") or ()):
            self._tasks.later(self._delay, lambda: self._finish(metadata["uid"]))

    def _forget(self, key: Key, uid: str, owners: list[str]) -> None:
        self._present.pop(uid, None)
        for dependent in self._dependents(uid):
            self._tasks.later(self._delay, lambda gone=dependent: self._collect_orphan(gone))  # type: ignore[misc]
        self._owned.pop(uid, None)
        for owner in owners:
            self._owned.get(owner, set()).discard(key)
            asyncio.get_running_loop().call_soon(self._finish, owner)

    def _dependents(self, uid: str) -> list[Key]:
        """Those that still name this owner; a label may have been taken off them meanwhile."""
        keys = sorted(self._owned.get(uid, ()), key=lambda key: key[1:])
        return [key for key in keys if (obj := self._store.get(key)) is not None and uid in _owners(obj)]

    def _collect_orphan(self, key: Key) -> None:
        obj = self._store.get(key)
        if obj is not None:
            self._collect(key, obj["metadata"]["uid"])

    def _collect(self, key: Key, uid: str) -> None:
        """Delete it, unless it has an owner after all."""
        obj = self._store.get(key)
        if obj is None or obj["metadata"]["uid"] != uid or obj["metadata"].get("deletionTimestamp"):
            return
        owners = _owners(obj)
        if owners and not any(owner in self._present for owner in owners):
            self._delete(key, uid)

    def _delete(self, key: Key, uid: str) -> None:
        options = DeleteOptions(policy="Background", preconditions={"uid": uid})
        with contextlib.suppress(ApiError):
            self._registry.delete(key.resource, key.namespace, key.name, options)

    def _finish(self, uid: str) -> None:
        """Bring an owner that is being deleted a step further."""
        key = self._present.get(uid)
        owner = self._store.get(key) if key else None
        if key is None or owner is None or not owner["metadata"].get("deletionTimestamp"):
            return
        finalizers = owner["metadata"].get("finalizers") or ()
        if ORPHAN in finalizers:
            self._orphan(key, uid)
        elif FOREGROUND in finalizers:
            self._wait_for_dependents(key, uid)

    def _orphan(self, key: Key, uid: str) -> None:
        for dependent in self._dependents(uid):
            self._registry.modify(*dependent, lambda obj: _disown(obj, uid))
        self._registry.modify(*key, lambda obj: _without(obj, ORPHAN))

    def _wait_for_dependents(self, key: Key, uid: str) -> None:
        dependents = self._dependents(uid)
        for dependent in dependents:
            obj = self._store.get(dependent)
            if obj is not None and not obj["metadata"].get("deletionTimestamp"):
                self._delete(dependent, obj["metadata"]["uid"])
        if not self._dependents(uid):
            self._registry.modify(*key, lambda obj: _without(obj, FOREGROUND))


def _owners(obj: Object) -> list[str]:
    return [owner.get("uid", "") for owner in obj["metadata"].get("ownerReferences") or ()]


def _without(obj: Object, finalizer: str) -> None:
    obj["metadata"]["finalizers"] = [one for one in obj["metadata"]["finalizers"] if one != finalizer]
    if not obj["metadata"]["finalizers"]:
        del obj["metadata"]["finalizers"]


def _disown(obj: Object, uid: str) -> None:
    obj["metadata"]["ownerReferences"] = [
        owner for owner in obj["metadata"]["ownerReferences"] if owner.get("uid") != uid
    ]
    if not obj["metadata"]["ownerReferences"]:
        del obj["metadata"]["ownerReferences"]
