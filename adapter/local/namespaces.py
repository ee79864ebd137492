"""Namespaces: what each one is born with, and what goes when it goes."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .errors import ApiError
from .registry import DeleteOptions
from .resources import NAMESPACES, SERVICE_ACCOUNTS

if TYPE_CHECKING:
    from .registry import Registry
    from .store import Event
    from .tasks import Tasks


class NamespaceController:
    """Gives a new namespace its ServiceAccount, and empties one that is deleted."""

    def __init__(self, registry: Registry, tasks: Tasks, delay: float) -> None:
        self._registry, self._store, self._tasks, self._delay = registry, registry.store, tasks, delay

    def start(self) -> None:
        self._store.listeners.append(self._on_event)

    def stop(self) -> None:
        self._store.listeners.remove(self._on_event)

    def _on_event(self, event: Event) -> None:
        metadata = event.object["metadata"]
        if event.resource is NAMESPACES and event.type == "ADDED":
            self._tasks.later(0, lambda: self._furnish(metadata["name"]))
        elif event.resource is NAMESPACES and metadata.get("deletionTimestamp"):
            self._later(metadata["name"])
        elif event.type == "DELETED" and (place := self._terminating(metadata.get("namespace", ""))):
            self._later(place)

    def _furnish(self, name: str) -> None:
        with contextlib.suppress(ApiError):
            self._registry.create(SERVICE_ACCOUNTS, name, {"metadata": {"name": "default"}})

    def _terminating(self, name: str) -> str | None:
        found = next((one for one in self._store.select(NAMESPACES) if one["metadata"]["name"] == name), None)
        return name if found and found["metadata"].get("deletionTimestamp") else None

    def _later(self, name: str) -> None:
        self._tasks.later(self._delay, lambda: self._empty(name))

    def _empty(self, name: str) -> None:
        """Delete everything in it, and then, when nothing is left, itself."""
        if not self._terminating(name):
            return
        for key, obj in self._store.items():
            if key.namespace == name and not obj["metadata"].get("deletionTimestamp"):
                with contextlib.suppress(ApiError):
                    self._registry.delete(*key, DeleteOptions(policy="Background"))
        if not any(key.namespace == name for key, _ in self._store.items()):
            self._registry.modify(NAMESPACES, "", name, lambda place: place.update(spec={"finalizers": []}))
