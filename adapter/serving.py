"""A socket and a server for an ASGI app, until a signal: what the service and the reference plane have in common."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from adapter.errors import AdapterError

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """The socket, bound before anything else is begun. Raises `AdapterError`."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.create_server(address[:2], family=family, backlog=1024)
        # asyncio does it for sockets that name their protocol, as this one does not: each answer took 40 ms more.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise AdapterError(f"--host {host} --port {port}: {error.strerror or error}") from error
    with listener:
        yield listener


def url_of(listener: socket.socket) -> str:
    """Where it can be reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def signals() -> Iterator[asyncio.Event]:
    """Set by the first SIGTERM or SIGINT. A second one ends the process as it would any other."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()

    def first() -> None:
        stop.set()
        _handle(signal.SIG_DFL)

    for number in SIGNALS:
        loop.add_signal_handler(number, first)
    try:
        yield stop
    finally:
        _handle(signal.SIG_DFL)


def _handle(handler: signal.Handlers) -> None:
    for number in SIGNALS:
        asyncio.get_running_loop().remove_signal_handler(number)
        signal.signal(number, handler)


class Server(uvicorn.Server):
    """uvicorn, without its own signal handlers: they end the process by the signal once it has stopped."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop(self) -> None:
        """Accepts nothing more; `cut_off` is what comes after it."""
        self.should_exit = True
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # what is cut off now is no fault

    async def cut_off(self) -> None:
        """Ends what had no end in time, such as a log that nobody reads: uvicorn cancels it, and leaves it there.

        On uvloop a process was seen that never ended for it.
        """
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)
