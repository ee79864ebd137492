"""The namespaces in which there are runs: one watch for each, shared by all its runs, in a task of its own.

A task of its own, so that an adapter can be opened in one task and closed in another.
"""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass

import structlog

from adapter.cluster.connection import Connection
from adapter.cluster.jobs import selector
from adapter.cluster.rights import Rights
from adapter.cluster.watching import Feed
from adapter.limits import Limits

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """A namespace in which there are runs: its watch, the task that is its life, and what we may do there."""

    feed: Feed
    watching: asyncio.Task[None]
    rights: Rights


class Places:
    """The places of one adapter."""

    def __init__(self, connection: Connection, instance: str, limits: Limits) -> None:
        self._connection, self._instance, self._limits = connection, instance, limits
        self._places: dict[str, Place] = {}

    def at(self, namespace: str) -> Place:
        """The namespace's watch, begun when it is first asked for, and anew where it has died."""
        place = self._places.get(namespace)
        if place is None or place.watching.done():
            feed = Feed(self._connection, namespace, selector(self._instance), self._limits)
            watching = asyncio.create_task(feed.run(), name=f"claude-k8s feed {namespace}")
            watching.add_done_callback(_tell_death)
            place = Place(feed, watching, Rights(self._connection, namespace, call=self._limits.call))
            self._places[namespace] = place
        return place

    async def aclose(self) -> None:
        """Ends the watches. May be called from any task."""
        for place in self._places.values():
            place.watching.cancel()
            await asyncio.wait([place.watching])


def without_locals(error: BaseException) -> dict[str, str]:
    """An error for the log. Not as `exc_info`: a renderer may show the frames' variables, a token among them."""
    return {"error": repr(error), "trace": "".join(traceback.format_tb(error.__traceback__))}


def _tell_death(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("feed.died", **without_locals(error))
