"""What the API server says of a namespace's Jobs and pods, written down as it is heard.

It shares the adapter's transport, over a connection of its own, and none of its judgement.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
from aiohttp import ClientError

from adapter.cluster.connection import ApiError, Unreachable
from tests.contract.conftest import Object, Place

AGAIN = 0.1
"""Seconds before a watch that broke is opened again."""


class Witness:
    """The Jobs, pods and nodes as they were last seen, by name, and when each run was first seen to be over."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self.jobs: dict[str, Object] = {}
        self.pods: dict[str, Object] = {}
        self.nodes: dict[str, Object] = {}
        self.gone: set[str] = set()
        """Jobs and pods that were deleted."""
        self.ended_at: dict[str, float] = {}
        self._news = anyio.Event()

    async def until(self, holds: Callable[[], Any], seconds: float = 60) -> Any:
        """Waits until something holds; what it is."""
        with anyio.fail_after(seconds):
            while not (found := holds()):
                await self._news.wait()
        return found

    def pod_of(self, job: str) -> Object | None:
        """The Job's pod."""
        return next((pod for pod in self.pods.values() if pod["metadata"]["labels"].get("job-name") == job), None)

    def terminated(self, job: str) -> Object | None:
        """The `terminated` state of the Job's container."""
        return terminated_of(self.pod_of(job) or {})

    def said(self, job: str) -> int | None:
        """How many lines the container says that it has printed, where it could."""
        word = (self.terminated(job) or {}).get("message", "").strip()
        return int(word) if word.isdigit() else None

    def not_ready(self) -> bool:
        """Whether a node is not ready."""
        conditions = [c for node in self.nodes.values() for c in node["status"].get("conditions", ())]
        return any(c["status"] != "True" for c in conditions if c["type"] == "Ready")

    async def watch(self, path: str, known: dict[str, Object]) -> None:
        """Watches for ever; each stream begins with a list."""
        while True:
            with suppress(ApiError, Unreachable, ClientError, OSError, ValueError):
                await self._stream(path, known)
            await anyio.sleep(AGAIN)

    async def _stream(self, path: str, known: dict[str, Object]) -> None:
        listed = await self._place.ask("GET", path)
        for name in {*known} - {item["metadata"]["name"] for item in listed["items"]}:
            self._note("DELETED", known[name], known)
        for item in listed["items"]:
            self._note("ADDED", item, known)
        query = [("watch", "1"), ("resourceVersion", listed["metadata"]["resourceVersion"])]
        async with self._place.connection.stream(path, query=query, headers=30) as response:
            while line := await response.content.readline():
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                self._note(event["type"], event["object"], known)

    def _note(self, kind: str, seen: Object, known: dict[str, Object]) -> None:
        name = seen["metadata"]["name"]
        known[name] = seen
        if kind == "DELETED":
            self.gone.add(name)
        if known is self.jobs and (kind == "DELETED" or _over(seen)):
            self.ended_at.setdefault(name, time.monotonic())
        if known is self.pods and terminated_of(seen):
            self.ended_at.setdefault(seen["metadata"]["labels"].get("job-name", ""), time.monotonic())
        self._news.set()
        self._news = anyio.Event()


def terminated_of(pod: Object) -> Object | None:
    """The `terminated` state of a pod's container `claude`."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    return next((s["state"].get("terminated") for s in statuses if s["name"] == "claude"), None)


def _over(job: Object) -> bool:
    conditions = job["status"].get("conditions", ())
    return any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)


@asynccontextmanager
async def witness_of(place: Place) -> AsyncIterator[Witness]:
    """A witness who looks on until the end of the block."""
    witness = Witness(place)
    watched = {place.jobs: witness.jobs, f"{place.core}/pods": witness.pods, "/api/v1/nodes": witness.nodes}
    tasks = [asyncio.create_task(witness.watch(path, known)) for path, known in watched.items()]
    try:
        yield witness
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
