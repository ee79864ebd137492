"""The reference plane behind a real server, which can be taken away and given back."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import uvicorn

from adapter.plane import Stream
from adapter.plane.reference import opened
from adapter.plane.reference_models import Run
from adapter.plane.reference_runs import ReferencePlane


class Served:
    """`up` and `down` are the plane's server, on one port; what it knows survives. `until` looks after each request."""

    def __init__(self, app: Any) -> None:
        self.plane: ReferencePlane = app.state.plane
        self._app, self._port = app, 0
        self._news = anyio.Event()
        self._server: uvicorn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    async def up(self) -> None:
        listener = socket.create_server(("127.0.0.1", self._port))
        self._port = listener.getsockname()[1]
        config = uvicorn.Config(self._heard, log_config=None, interface="asgi3", lifespan="off", ws="none")
        self._server = uvicorn.Server(config)
        self._serving = asyncio.create_task(self._server.serve([listener]))

    async def down(self) -> None:
        if self._server and self._serving:
            self._server.should_exit = True
            await self._serving
            self._server = self._serving = None

    async def run(self, run_id: str) -> Run:
        return await self.plane.view(await self.plane.row(run_id))

    async def log(self, run_id: str, stream: Stream = "stdout") -> bytes:
        return await self.plane.store.log(run_id, stream, 0, 2**31)

    async def events(self, run_id: str) -> list[dict[str, Any]]:
        entries = await self.plane.store.entries(run_id, 0, 2**31)
        return [entry.data for entry in entries if entry.kind == "event"]

    async def until(self, holds: Callable[[], Awaitable[object]], seconds: float = 15) -> None:
        with anyio.fail_after(seconds):
            while not await holds():
                await self._news.wait()

    async def _heard(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            self._news.set()
            self._news = anyio.Event()


@asynccontextmanager
async def served(path: Path, *, reaper: float = 300.0) -> AsyncIterator[Served]:
    """The reference plane, up."""
    async with opened(path, reaper=reaper, interval=1.0) as app:
        here = Served(app)
        await here.up()
        try:
            yield here
        finally:
            await here.down()
