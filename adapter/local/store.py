"""Objects, their resource versions, and everything that ever happened to them."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from .errors import expired
from .signals import Signal

if TYPE_CHECKING:
    from collections.abc import Callable

    from .resources import Resource

Object = dict[str, Any]

KEEP = 50_000
"""events kept for watches that resume; etcd keeps five minutes of them"""


class Key(NamedTuple):
    resource: Resource
    namespace: str
    name: str


class Event:
    """One change, as every watch sees it."""

    def __init__(self, version: int, type_: str, resource: Resource, obj: Object, previous: Object | None) -> None:
        self.version, self.type, self.resource = version, type_, resource
        self.object, self.previous = obj, previous
        self.at = time.monotonic()
        self._line: bytes | None = None

    def line(self) -> bytes:
        """The event as it is sent; encoded once for all watches."""
        if self._line is None:
            self._line = encode({"type": self.type, "object": self.object})
        return self._line


def encode(value: object) -> bytes:
    """JSON as Go writes it: compact, UTF-8, newline at the end."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


class Store:
    """The only place where objects live. Stored objects are never changed in place."""

    def __init__(self) -> None:
        self.version = 1
        self.compacted = 0
        self.events: list[Event] = []
        self.changed = Signal()
        self.listeners: list[Callable[[Event], None]] = []
        self._objects: dict[Resource, dict[tuple[str, str], Object]] = {}

    def get(self, key: Key) -> Object | None:
        return self._objects.get(key.resource, {}).get(key[1:])

    def select(self, resource: Resource, namespace: str = "") -> list[Object]:
        """In the order of the real one: by namespace and name."""
        objects = self._objects.get(resource, {})
        return [objects[place] for place in sorted(objects) if namespace in ("", place[0])]

    def items(self) -> list[tuple[Key, Object]]:
        """Everything there is."""
        return [
            (Key(resource, *place), obj)
            for resource, objects in self._objects.items()
            for place, obj in objects.items()
        ]

    def put(self, key: Key, obj: Object) -> Object:
        """Add or replace; the object gets the next resource version."""
        previous = self.get(key)
        stored = self._versioned(obj)
        self._objects.setdefault(key.resource, {})[key[1:]] = stored
        self._record("MODIFIED" if previous else "ADDED", key.resource, stored, previous)
        return stored

    def remove(self, key: Key) -> Object:
        previous = self._objects[key.resource].pop(key[1:])
        last = self._versioned(previous)
        self._record("DELETED", key.resource, last, previous)
        return last

    def compact(self) -> None:
        """Forget all history: a watch from any earlier version is too old now."""
        self.compacted = self.version

    def since(self, version: int) -> list[Event]:
        """Events after a version; raises 410 for one that is forgotten."""
        if version < self.compacted:
            raise expired(version, self.compacted + 1)
        first = self.events[0].version if self.events else self.version + 1
        return self.events[max(0, version + 1 - first) :]

    def _versioned(self, obj: Object) -> Object:
        self.version += 1
        return obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.version)}}

    def _record(self, type_: str, resource: Resource, obj: Object, previous: Object | None) -> None:
        event = Event(self.version, type_, resource, obj, previous)
        self.events.append(event)
        if len(self.events) > 2 * KEEP:
            self.compacted = max(self.compacted, self.events[KEEP - 1].version)
            del self.events[:KEEP]
        for listener in self.listeners:
            listener(event)
        self.changed.fire()
