"""One feed per namespace, shared by all its runs: what the API server says of our Jobs and pods, as it says it.

Three nested loops, as in kopf: reconnect for ever > relist when the version is too old > one stream. Whatever a
LIST returns is treated as events, since what happened in the gap is told by nobody else. The feed decides
nothing: it reports, and says how fresh it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import anyio
import structlog
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from adapter.backoff import Backoff, Patience
from adapter.cluster.connection import ApiError, Connection, Unreachable
from adapter.cluster.jobs import Job, older
from adapter.cluster.pods import Pod
from adapter.limits import Limits

log = structlog.get_logger(__name__)

Seen = Job | Pod


@dataclass(frozen=True, slots=True)
class Change:
    """One object as it was last seen; `gone` says that it left the watch (which may only mean a changed label)."""

    seen: Seen
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Inbox:
    """What the feed has to say to one run. `poke` puts a None into it: time to look for oneself."""

    send: MemoryObjectSendStream[Change | None]
    receive: MemoryObjectReceiveStream[Change | None]

    def poke(self) -> None:
        self.send.send_nowait(None)

    async def next(self) -> Change | None:
        """The next change. Raises `FeedDied` when none will come any more."""
        try:
            return await self.receive.receive()
        except anyio.EndOfStream:
            raise FeedDied("the feed ended by a fault of its own") from None

    def said(self) -> Change | None:
        """A change that is there already; None if none is."""
        while True:
            try:
                change = self.receive.receive_nowait()
            except (anyio.WouldBlock, anyio.EndOfStream):
                return None
            if change:
                return change


class FeedDied(Exception):
    """The feed ended by a fault of its own; the runs that watch through it cannot go on."""


class _TooOld(Exception):
    """Nothing comes after the version we watch from, as little as after one that is not kept any more (410)."""


@dataclass(frozen=True, slots=True)
class _Kind:
    path: str
    view: Callable[[dict[str, Any]], Seen]
    key: Callable[[dict[str, Any]], str | None]


def _job_key(raw: dict[str, Any]) -> str | None:
    name: str | None = raw["metadata"].get("name")
    return name


def _pod_key(raw: dict[str, Any]) -> str | None:
    job: str | None = (raw["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name")
    return job


class Feed:
    """Watches the Jobs and pods of one namespace that match one selector; `run` is its life.

    `problem` is why it cannot see at the moment, None while it can.
    """

    def __init__(self, connection: Connection, namespace: str, selector: str, limits: Limits) -> None:
        self._connection, self.selector, self._limits = connection, selector, limits
        kinds = (
            _Kind(f"/apis/batch/v1/namespaces/{namespace}/jobs", Job.of, _job_key),
            _Kind(f"/api/v1/namespaces/{namespace}/pods", Pod.of, _pod_key),
        )
        self._loops = [_Loop(self, kind) for kind in kinds]
        self._inboxes: dict[str, Inbox] = {}
        self._tried = anyio.Event()
        self._died = False
        self.namespace = namespace

    @property
    def problem(self) -> Exception | None:
        return next((loop.problem for loop in self._loops if loop.problem), None)

    @property
    def heard_at(self) -> float:
        """When both watches were last known to speak (the loop's clock)."""
        return min(loop.heard_at for loop in self._loops)

    @property
    def fresh(self) -> bool:
        """Whether both watches are open and have spoken lately."""
        open_now = all(loop.streaming for loop in self._loops)
        return open_now and anyio.current_time() - self.heard_at <= self._limits.silence

    async def run(self) -> None:
        """Watches until it is cancelled. A fault ends it, and with it every subscription."""
        try:
            async with anyio.create_task_group() as group:
                for loop in self._loops:
                    group.start_soon(loop.run)
        finally:
            self._died = True
            self.noted()
            for inbox in self._inboxes.values():
                inbox.send.close()

    async def listed(self) -> Exception | None:
        """Waits until both kinds were watched, or one try has failed; then the problem, if there is one."""
        while not self._died:
            if self.problem or all(loop.opened for loop in self._loops):
                return self.problem
            await self._tried.wait()
        raise FeedDied("the feed ended by a fault of its own")

    @contextmanager
    def subscribe(self, name: str) -> Iterator[Inbox]:
        """Everything about the Job of this name and its pods, beginning with what is known already."""
        assert name not in self._inboxes  # noqa: S101 - one run, one supervisor
        inbox = self._inboxes[name] = Inbox(*anyio.create_memory_object_stream[Change | None](float("inf")))
        for loop in self._loops:
            for key, seen in loop.known.values():
                if key == name:
                    inbox.send.send_nowait(Change(seen))
        try:
            yield inbox
        finally:
            del self._inboxes[name]
            inbox.send.close()
            inbox.receive.close()

    def serves(self, name: str) -> bool:
        """Whether somebody here watches the Job of this name."""
        return name in self._inboxes

    def jobs(self) -> list[Job]:
        """The Jobs that are there, as far as was heard."""
        return [seen for _, seen in self._loops[0].known.values() if isinstance(seen, Job)]

    def latest(self, job: Job) -> Job:
        """The Job as it was last seen, be it by us or by whoever gives it."""
        known = self._loops[0].known.get(job.uid)
        seen = known[1] if known else None
        return seen if isinstance(seen, Job) and not older(seen.version, job.version) else job

    def tell(self, key: str | None, change: Change) -> None:
        """Hands a change to the run it is about."""
        if key is not None and (inbox := self._inboxes.get(key)):
            inbox.send.send_nowait(change)

    def noted(self) -> None:
        """A try to list has ended, well or not."""
        self._tried.set()
        self._tried = anyio.Event()


class _Loop:
    """The three nested loops for one kind of object."""

    def __init__(self, feed: Feed, kind: _Kind) -> None:
        self._feed, self._kind = feed, kind
        self._connection, self._limits = feed._connection, feed._limits
        self._backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        self._patience = Patience(self._limits.call, self._limits.call * 3)  # a long list takes its time
        self.known: dict[str, tuple[str | None, Seen]] = {}
        self.problem: Exception | None = None
        self.opened = self.streaming = False
        self.heard_at = float("-inf")

    async def run(self) -> None:
        """Reconnects for ever."""
        while True:
            after = 0.0
            try:
                await self._from_list()
            except (ApiError, Unreachable) as error:
                self._fail(error)
                after = getattr(error, "retry_after", 0.0)
            except (KeyError, TypeError, AttributeError) as error:
                self._fail(Unreachable(f"what answers is no API server: {error!r}"))  # a proxy's page, in JSON
            await self._backoff.wait(after)

    def _fail(self, error: Exception) -> None:
        if type(error) is not type(self.problem):
            log.warning("watch.failed", path=self._kind.path, error=str(error))
        self.problem = error
        self._feed.noted()

    async def _from_list(self) -> None:
        """Lists, then streams from there until the version is too old."""
        version = await self._list()
        try:
            while True:
                version = await self._stream(version)
        except _TooOld:
            return
        except ApiError as error:
            if error.status != 410:
                raise

    async def _list(self) -> str:
        answer = await self._listed()
        gone = dict(self.known)
        for raw in answer.get("items") or ():
            gone.pop(raw["metadata"].get("uid"), None)
            self._see(raw)
        for uid, (key, seen) in gone.items():
            del self.known[uid]
            self._feed.tell(key, Change(seen, gone=True))
        self._heard()
        return str(answer["metadata"]["resourceVersion"])

    async def _listed(self) -> dict[str, Any]:
        """Asks for all there is. A list that an API server never answered, as etcd came back, blinded us for 30 s."""
        query, waited = [("labelSelector", self._feed.selector)], self._patience.now
        try:
            with self._patience.wait():
                return await self._connection.call("GET", self._kind.path, query=query, deadline=waited * 2)
        except TimeoutError as error:
            raise Unreachable(f"no list within {waited:g} s") from error

    async def _stream(self, version: str) -> str:
        """One stream, to its end; the version to go on from. Raises `_TooOld`, or what broke it."""
        query = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("labelSelector", self._feed.selector),
            ("resourceVersion", version),
        ]
        opened = version
        async with self._connection.stream(self._kind.path, query=query, headers=self._limits.headers) as response:
            self.opened = self.streaming = True  # not before: who may list may yet be refused the watch
            self._feed.noted()
            try:
                lines = _Lines(response.content, self._limits.silence)
                while (block := await lines.next()) is not None:
                    for line in block:
                        version = self._apply(_event(line)) or version
            finally:
                self.streaming = False
        if version != opened:
            self._backoff.reset()
        await self._backoff.wait()  # one that ends at once was opened again 1,500 times a second elsewhere
        return version

    def _apply(self, event: dict[str, Any]) -> str | None:
        """Takes one event in; the version it carries."""
        kind, raw = event.get("type"), event.get("object") or {}
        if kind == "ERROR":
            raise ApiError(int(raw.get("code") or 500), raw)
        self._heard()
        if kind == "DELETED":
            self.known.pop(raw["metadata"].get("uid"), None)
            self._feed.tell(self._kind.key(raw), Change(self._kind.view(raw), gone=True))
        elif kind in ("ADDED", "MODIFIED"):
            self._see(raw)
        return (raw.get("metadata") or {}).get("resourceVersion")

    def _see(self, raw: dict[str, Any]) -> None:
        uid, key, seen = raw["metadata"].get("uid"), self._kind.key(raw), self._kind.view(raw)
        before = self.known.get(uid)
        self.known[uid] = (key, seen)
        if before is None or before[1].version != seen.version:
            self._feed.tell(key, Change(seen))

    def _heard(self) -> None:
        self.heard_at = anyio.current_time()
        self.problem = None


class _Lines:
    """The lines of one stream, a block of them at a time; a silence means that it is dead."""

    def __init__(self, content: Any, silence: float) -> None:
        self._content, self._silence, self._rest = content, silence, b""

    async def next(self) -> list[bytes] | None:
        """The lines that have arrived, None at the end of the stream. Raises `_TooOld` after a silence."""
        with anyio.move_on_after(self._silence):
            block = await self._read()
            *lines, self._rest = (self._rest + block).split(b"\n")
            return lines if block else None
        # A watch from a version that is in the future (etcd was restored) is silent for ever: list.
        raise _TooOld

    async def _read(self) -> bytes:
        from aiohttp import ClientError

        try:
            return bytes(await self._content.readany())
        except (ClientError, OSError) as error:
            raise Unreachable(f"the watch broke: {error}") from error


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError as error:
        raise Unreachable("the watch sent a line that is no JSON") from error
    if not isinstance(event, dict):
        raise Unreachable("the watch sent a line that is no event")
    return event
