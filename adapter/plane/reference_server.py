"""The reference plane's server, from the first request to the signal that ends it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from adapter.serving import Server, signals

FINISHING = 0.3
"""Seconds that a request may still take once the plane is to end."""


async def serve(app: ASGIApp, listener: socket.socket, started: Callable[[], None]) -> None:
    """Serves until SIGTERM or SIGINT."""
    config = uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None, access_log=False)
    config.timeout_graceful_shutdown = FINISHING  # type: ignore[assignment]  # it takes a fraction as well
    server = Server(config)
    with signals() as stop:
        running = asyncio.create_task(server.serve([listener]))
        waiting = asyncio.create_task(stop.wait())
        started()
        await asyncio.wait([running, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        server.stop()
        await running
    await server.cut_off()
