"""The life of the service's process: its directory, the cluster, its runs, the socket, and the end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import structlog
import uvicorn

from adapter.errors import AdapterError
from adapter.line import Line
from adapter.loopback import is_loopback
from adapter.plane.store import Store
from adapter.service import Adapter
from adapter.serving import Server, listening, signals, url_of
from adapter.sidecar.app import create_app
from adapter.sidecar.auth import VARIABLE, Token, token_of
from adapter.sidecar.book import RunBook
from adapter.sidecar.keeper import Settings
from adapter.sidecar.limits import MOST_HEAD
from adapter.sidecar.metrics import Metrics
from adapter.sidecar.pushing import PlaneChoice
from adapter.sidecar.state import StateDirectory, state_directory
from adapter.sidecar.tracing import tracer_of
from adapter.sidecar.watcher import MetricsAndTraces

log = structlog.get_logger(__name__)

STOP = 2
"""Seconds that answers under way may take once the service stops; whoever reads events is told at once."""

Connect = Callable[[str, Line], AbstractAsyncContextManager[Adapter]]
"""An adapter for a replica of this name, with this line for its runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """What `claude-k8s serve` was told. `max_runs` is how many runs may be at work at once; the others wait."""

    state: Path
    host: str = "127.0.0.1"
    port: int = 8642
    token_file: Path | None = None
    plane: PlaneChoice | None = None
    settings: Settings = field(default_factory=Settings)
    max_runs: int = 100


async def serve(serving: Serving, connect: Connect, started: Callable[[str], None]) -> None:
    """Serves until SIGTERM or SIGINT; then lets go of its runs, whose Jobs go on.

    `started` is told the line that says where. Raises `AdapterError` for what keeps it from serving.
    """
    token = token_of(serving.token_file)
    _check_open(serving.host, token)
    with state_directory(serving.state) as state, listening(serving.host, serving.port) as listener:
        async with connect(state.replica, Line(serving.max_runs, agents=True)) as adapter, _stores(state) as store:
            await _serve(serving, adapter, store, listener, token, started)


def _check_open(host: str, token: Token | None) -> None:
    if token is None and not is_loopback(host):
        how = f"give a token, with --token-file or in {VARIABLE}, or serve 127.0.0.1"
        raise AdapterError(f"--host {host} is open to the network: {how}")


async def _serve(
    serving: Serving,
    adapter: Adapter,
    store: Store,
    listener: socket.socket,
    token: Token | None,
    started: Callable[[str], None],
) -> None:
    metrics, tracer = Metrics(), tracer_of(adapter.instance, str(adapter.replica))
    book = await RunBook.open(
        adapter,
        store,
        watcher=MetricsAndTraces(metrics, tracer),
        plane=serving.plane,
        settings=serving.settings,
        observe=metrics.plane,
    )
    server = Server(_config(create_app(book, token=token, metrics=metrics)))
    running = asyncio.create_task(server.serve([listener]))
    try:
        with signals() as stop:
            started(f"{url_of(listener)} (instance {adapter.instance}, replica {adapter.replica})")
            fault = await _until(stop, running, book)
    finally:
        await _stop(server, running, book)
        await tracer.aclose()
    if fault:
        raise fault


async def _until(stop: asyncio.Event, running: asyncio.Task[None], book: RunBook) -> AdapterError | None:
    """Until a signal. A service that has lost a part of itself ends too: started again it is whole. What it was."""
    waiting, over = asyncio.create_task(stop.wait()), asyncio.create_task(book.over())
    await asyncio.wait([waiting, running, over], return_when=asyncio.FIRST_COMPLETED)
    for task in (waiting, over):
        task.cancel()
    error = over.exception() if over.done() and not over.cancelled() else None
    return error if isinstance(error, AdapterError) or error is None else AdapterError(f"a fault of ours: {error!r}")


async def _stop(server: Server, running: asyncio.Task[None], book: RunBook) -> None:
    """Accepts nothing more, lets go of every run, ends what is read: all at once, none waits for another."""
    log.info("serve.stopping")
    server.stop()
    let_go = await book.close()
    await running
    await server.cut_off()
    log.info("serve.stopped", let_go=let_go, hint="their Jobs go on" if let_go else "")


def _config(app: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http="h11",  # the one that bounds a request's head
        h11_max_incomplete_event_size=MOST_HEAD,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than clients keep one: they would post into a connection that closes
        timeout_graceful_shutdown=STOP,
    )


@asynccontextmanager
async def _stores(state: StateDirectory) -> AsyncIterator[Store]:
    store = await Store.open(state.journals)
    try:
        yield store
    finally:
        with anyio.CancelScope(shield=True):
            await store.close()
