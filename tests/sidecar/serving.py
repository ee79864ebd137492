"""The service's app on a real socket, over a book of runs that does as it is told."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import uvicorn

from adapter.cluster.connection import Unreachable
from adapter.errors import AdapterError, Code
from adapter.limits import Limits
from adapter.plane import LogChunk, Stream
from adapter.plane.store import Store
from adapter.run import Outcome, RunResult
from adapter.serving import Server
from adapter.sidecar.app import create_app
from adapter.sidecar.auth import Token
from adapter.sidecar.documents import Asked
from adapter.sidecar.errors import Conflict, NotFinished
from adapter.sidecar.journal import Journal
from adapter.sidecar.metrics import Metrics
from adapter.sidecar.server import _config
from adapter.sidecar.views import RunView, State

KEEP = 1024 * 1024


class NoConnection:
    """An API server that is never there."""

    server = "http://127.0.0.1:9"
    namespace = "default"

    async def answer(self, *args: Any, **how: Any) -> Any:
        raise Unreachable("nobody is there")

    call = answer


@dataclass
class NoCluster:
    """Stands for an adapter whose cluster cannot be reached."""

    namespace: str = "default"
    instance: str = "default"
    limits: Limits = field(default_factory=Limits)
    connection: Any = field(default_factory=NoConnection)

    async def at(self, kubeconfig: str) -> NoCluster:
        return self


class FakeBook:
    """Runs that are what a test makes of them. `raises` is raised by every call, `why` is why it is not ready."""

    def __init__(self, store: Store, keep: int = KEEP, ping: float = 15.0) -> None:
        self.store, self.keep, self.ping = store, keep, ping
        self.adapter: Any = NoCluster()
        self.views: dict[str, RunView] = {}
        self.asked: dict[str, str] = {}
        self.journals: dict[str, Journal] = {}
        self.documents: list[Mapping[str, Any]] = []
        self.cancelled: dict[str, str] = {}
        self.durable = True
        self.raises: AdapterError | None = None
        self.why: str | None = None

    async def add(self, run_id: str, **fields: Any) -> Journal:
        """A run with its journal."""
        await self.store.create(run_id)
        row = await self.store.row(run_id)
        assert row is not None
        self.views[run_id] = replace(RunView(run_id=run_id, state=State.RUNNING, durable=True, mine=True), **fields)
        self.journals[run_id] = Journal(self.store, run_id, row.epoch, keep=self.keep, ping=self.ping)
        return self.journals[run_id]

    async def finish(self, run_id: str) -> None:
        """The run's end, in its journal and its view."""
        await self.journals[run_id].result(result(run_id).to_json(), None)
        self.views[run_id] = replace(
            self.views[run_id], state=State.FINISHED, outcome="succeeded", result=result(run_id).to_json()
        )

    async def accept(self, document: Mapping[str, Any]) -> tuple[RunView, bool]:
        self._raise()
        asked = Asked.parse(document)
        self.documents.append(document)
        new = asked.run_id not in self.views
        if self.asked.setdefault(asked.run_id, asked.hash) != asked.hash:
            raise Conflict("another request")
        if new:
            await self.add(asked.run_id)
            await self.finish(asked.run_id)  # so that whoever reads it comes to an end
        self.views[asked.run_id] = replace(self.views[asked.run_id], durable=self.durable)
        return self.views[asked.run_id], new

    async def runs(self) -> list[RunView]:
        self._raise()
        return list(self.views.values())

    def states(self) -> list[State]:
        return [view.state for view in self.views.values()]

    async def run(self, run_id: str) -> RunView | None:
        self._raise()
        return self.views.get(run_id)

    async def cancel(self, run_id: str, why: str) -> bool:
        self._raise()
        self.cancelled[run_id] = why
        return run_id in self.views

    async def ack(self, run_id: str) -> bool:
        self._raise()
        if run_id in self.views and self.views[run_id].state is not State.FINISHED:
            raise NotFinished(f"run {run_id!r} has not finished")
        return run_id in self.views

    async def journal(self, run_id: str) -> Journal | None:
        self._raise()
        return self.journals.get(run_id)

    def ready(self) -> str | None:
        return self.why

    def _raise(self) -> None:
        if self.raises:
            raise self.raises


def result(run_id: str) -> RunResult:
    """A good end."""
    return RunResult(run_id=run_id, outcome=Outcome.SUCCEEDED, code=Code.OK, message="exit 0", exit_code=0)


def chunk(data: bytes, offset: int = 0, stream: Stream = "stdout", **more: Any) -> LogChunk:
    """Log."""
    return LogChunk(offset=offset, data=data, cursor=f"c{offset}", stamp="2026-01-01T00:00:00Z", stream=stream, **more)


@dataclass
class Service:
    """What a test has of the service that it speaks to."""

    book: FakeBook
    client: httpx.AsyncClient
    metrics: Metrics
    url: str
    server: uvicorn.Server

    async def lines(self, run_id: str, **query: str) -> list[dict[str, Any]]:
        """All that is told of a run, as JSON lines."""
        async with self.client.stream("GET", f"/v1/runs/{run_id}/events", params=query) as response:
            assert response.status_code == 200
            return [json.loads(line) async for line in response.aiter_lines()]

    async def until(self, holds: Any, seconds: float = 10) -> None:
        """Looks until something holds that nothing tells of."""
        with anyio.fail_after(seconds):
            while not holds():  # noqa: ASYNC110 - of what a socket or a task does nobody tells us
                await anyio.sleep(0.01)


@asynccontextmanager
async def stored(tmp_path: Path) -> AsyncIterator[Store]:
    """A store of its own."""
    store = await Store.open(tmp_path / "journals.sqlite")
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def heard(
    book: Any, metrics: Metrics, *, token: Token | None = None, **app: Any
) -> AsyncIterator[tuple[str, Server]]:
    """The app of a book, on a port of its own: where, and the server."""
    server = Server(_config(create_app(book, token=token, metrics=metrics, **app)))
    listener = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve([listener]))
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
    finally:
        server.should_exit = True
        await running


@asynccontextmanager
async def served(
    tmp_path: Path, *, token: Token | None = None, book: Mapping[str, Any] | None = None, **app: Any
) -> AsyncIterator[Service]:
    """The app with runs that a test makes up. Afterwards no task of it may be left."""
    before = asyncio.all_tasks()
    async with stored(tmp_path) as store:
        runs, metrics = FakeBook(store, **(book or {})), Metrics()
        async with (
            heard(runs, metrics, token=token, **app) as (url, server),
            httpx.AsyncClient(base_url=url, trust_env=False, timeout=10) as client,
        ):
            yield Service(runs, client, metrics, url, server)
    assert asyncio.all_tasks() <= before, "a task was left"
