"""Watches: what is there, then what changes, and a bookmark now and then."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ApiError, Cause, invalid
from .resources import JOBS, NAMESPACES, PODS, Resource
from .store import Event, Object, Store, encode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .selecting import Selector
    from .streams import Stream

TRUE = ("1", "true", "True", "t", "T", "TRUE")
END_MARK = "k8s.io/initial-events-end"
BEFORE_TIMEOUT = 2.0
"""seconds before the end of a watch with `timeoutSeconds` at which it says its last version"""


@dataclass(frozen=True)
class WatchOptions:
    """The query of a watch."""

    version: int | None
    bookmarks: bool
    initial: bool
    timeout: float | None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> WatchOptions:
        initial = query.get("sendInitialEvents") in TRUE
        if initial and query.get("resourceVersionMatch") != "NotOlderThan":
            why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            cause = Cause.forbidden("resourceVersionMatch", why)
            raise invalid("ListOptions", "meta.k8s.io", "", [cause])
        timeout = query.get("timeoutSeconds")
        return cls(
            version=_version(query.get("resourceVersion", "")),
            bookmarks=query.get("allowWatchBookmarks") in TRUE,
            initial=initial,
            timeout=None if timeout in (None, "", "0") else max(0.0, float(timeout or 0)),
        )


def _version(text: str) -> int | None:
    if text in ("", "0"):
        return None
    if not text.isdigit():
        why = f'strconv.ParseUint: parsing "{text}": invalid syntax'
        raise ApiError(500, f'resourceVersion: Invalid value: "{text}": {why}')
    return int(text)


class Watch:
    """One watch of one kind in one namespace, or in all."""

    def __init__(
        self,
        store: Store,
        resource: Resource,
        namespace: str,
        selector: Selector,
        options: WatchOptions,
        every: float,
    ) -> None:
        self.store, self.resource, self.namespace = store, resource, namespace
        self.selector, self.options, self.every = selector, options, every

    async def produce(self, stream: Stream) -> None:
        loop = asyncio.get_running_loop()
        end = None if self.options.timeout is None else loop.time() + self.options.timeout
        try:
            version = await self._begin(stream)
            if version > self.store.version:
                await _silence(end)
            else:
                await self._continue(stream, version, end)
        except ApiError as error:
            await stream.send(encode({"type": "ERROR", "object": error.body()}))

    async def _begin(self, stream: Stream) -> int:
        """What is there, unless the client says that it knows; answers the version it then has."""
        asked = self.options.version
        if asked is not None and not self.options.initial:
            self.store.since(asked)
            return asked
        version = self.store.version
        present = self.store.select(self.resource, self.namespace)
        lines = [_line("ADDED", obj) for obj in present if self.selector.matches(obj)]
        await stream.send(b"".join(lines))
        if self.options.bookmarks:
            await stream.send(self._bookmark(version, {END_MARK: "true"}))
        return version

    async def _continue(self, stream: Stream, version: int, end: float | None) -> None:
        loop = asyncio.get_running_loop()
        bookmark = self._next_bookmark(end)
        while end is None or loop.time() < end:
            events, version = self.store.since(version), self.store.version
            lines = [line for event in events if (line := self._seen(stream, event))]
            if lines:
                await stream.send(b"".join(lines))
            elif self.options.bookmarks and loop.time() >= bookmark:
                await stream.send(self._bookmark(version))
                bookmark = self._next_bookmark(end)
            else:
                until = min(bookmark, end or bookmark) if self.options.bookmarks else end
                await self._news(version, until)

    def _next_bookmark(self, end: float | None) -> float:
        now = asyncio.get_running_loop().time()
        regular = now + self.every * random.uniform(0.99, 1.01)  # noqa: S311
        last = regular if end is None else end - BEFORE_TIMEOUT
        return last if now < last < regular else regular

    async def _news(self, version: int, until: float | None) -> None:
        if self.store.version != version:
            return
        if until is None:
            await self.store.changed.wait()
        else:
            await self.store.changed.wait_for(until - asyncio.get_running_loop().time())

    def _seen(self, stream: Stream, event: Event) -> bytes | None:
        """The event as this watch sees it: what leaves its selector is deleted, what enters it is new."""
        place = event.object["metadata"].get("namespace", "")
        if event.resource is not self.resource or self.namespace not in ("", place):
            return None
        was, is_ = self.selector.matches(event.previous), self.selector.matches(event.object)
        type_ = _type(event.type, was, is_)
        if type_ is None or stream.withholds(event.version, type_, event.object):
            return None
        return event.line() if type_ == event.type else _line(type_, event.object)

    def _bookmark(self, version: int, annotations: Mapping[str, str] | None = None) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        metadata |= {"annotations": dict(annotations)} if annotations else {}
        obj: Object = {"kind": self.resource.kind, "apiVersion": self.resource.api_version}
        return _line("BOOKMARK", obj | {"metadata": metadata} | _hollow(self.resource))


def _type(stored: str, was: bool, is_: bool) -> str | None:
    if stored == "DELETED":
        return "DELETED" if was else None
    if was != is_:
        return "ADDED" if is_ else "DELETED"
    return "MODIFIED" if is_ else None


def _line(type_: str, obj: Object) -> bytes:
    return encode({"type": type_, "object": obj})


def _hollow(resource: Resource) -> Object:
    """What Go leaves of an empty object of this kind."""
    if resource is JOBS:
        return {"spec": {"template": {"metadata": {}, "spec": {"containers": None}}}, "status": {}}
    if resource is PODS:
        return {"spec": {"containers": None}, "status": {}}
    return {"spec": {}, "status": {}} if resource is NAMESPACES else {}


async def _silence(end: float | None) -> None:
    """A version from the future: nothing is ever said, not even what happens after it."""
    loop = asyncio.get_running_loop()
    await asyncio.sleep(end - loop.time() if end is not None else 86_400)
