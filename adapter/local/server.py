"""The HTTP server: who may ask, what is remembered of it, and what goes wrong on purpose."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from typing import TYPE_CHECKING

from aiohttp import web

from .api import LARGEST_BODY, Api, failure, is_watch
from .errors import ApiError, unauthorized
from .faults import Cut, Delay, Faults, Handle, LoseAnswer, NoHeaders, Respond, of_kind
from .records import RequestRecord, StreamRecord
from .resources import resolve
from .streams import Stream, cut_off

if TYPE_CHECKING:
    from collections.abc import Callable

REMEMBERED = 10_000


class Server:
    """One aiohttp server on loopback."""

    def __init__(self, api: Api, changed: Callable[[], None]) -> None:
        self._api, self._changed = api, changed
        self.faults = Faults(self._join)
        self.token = secrets.token_hex(16)
        self.secret_path = f"/{secrets.token_hex(16)}"
        """Authenticates, too: kubectl sends no token over plain HTTP, but it keeps a path in the server's URL."""
        self.requests: deque[RequestRecord] = deque(maxlen=REMEMBERED)
        self.streams: deque[StreamRecord] = deque(maxlen=REMEMBERED)
        self._open: set[Stream] = set()
        self._runner: web.AppRunner | None = None

    async def start(self, port: int) -> int:
        app = web.Application(client_max_size=LARGEST_BODY)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0, auto_decompress=True
        )
        await self._runner.setup()
        await self.listen(port)
        bound: int = self._runner.addresses[0][1]
        return bound

    async def listen(self, port: int) -> None:
        assert self._runner is not None  # noqa: S101 - it has been started
        self._site = web.TCPSite(self._runner, "127.0.0.1", port, reuse_address=True)
        await self._site.start()

    async def crash(self) -> None:
        """Refuse connections, and leave those there are in the middle of what was said."""
        assert self._runner is not None  # noqa: S101 - it has been started
        assert self._runner.server is not None  # noqa: S101
        await self._site.stop()
        for stream in list(self._open):
            stream.end("fin")
        for connection in list(self._runner.server.connections):
            cut_off(connection.transport, "fin")

    async def stop(self) -> None:
        """End every stream cleanly, then the connections."""
        self.faults.clear()
        self.end_streams()
        if self._runner is not None:
            await self._runner.cleanup()

    def end_streams(self, kind: str | None = None) -> None:
        for stream in list(self._open):
            if kind in (None, stream.record.kind):
                stream.end("eof")

    def _join(self, handle: Handle) -> None:
        """A fault that is switched on befalls open streams, too."""
        for stream in self._open:
            if handle.strikes(stream.method, stream.record.path, stream.record.query):
                stream.attach(handle)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path, trusted = request.path, False
        if path.startswith(self.secret_path):
            path, trusted = path.removeprefix(self.secret_path) or "/", True
        record = RequestRecord(
            request.method,
            path,
            dict(request.query),
            request.headers.get("User-Agent", ""),
            time.monotonic(),
        )
        self.requests.append(record)
        self._changed()
        response = await self._answer(request, record, trusted=trusted)
        record.status = response.status
        self._changed()
        return response

    async def _answer(self, request: web.Request, record: RequestRecord, *, trusted: bool) -> web.StreamResponse:
        handles = self.faults.striking(record.method, record.path, record.query)
        try:
            await _before(handles)
            self._check_token(request, record.path, trusted=trusted)
            response = await self._carry_out(request, record, handles)
        except ApiError as error:
            response = failure(error)
        if not response.prepared:
            _maybe_lose(request, handles)
        return response

    def _check_token(self, request: web.Request, path: str, *, trusted: bool) -> None:
        given = request.headers.get("Authorization")
        if given is None and (trusted or path in ("/healthz", "/livez", "/readyz", "/version")):
            return
        if given is None or not secrets.compare_digest(given, f"Bearer {self.token}"):
            raise unauthorized()

    async def _carry_out(
        self, request: web.Request, record: RequestRecord, handles: list[Handle]
    ) -> web.StreamResponse:
        kind = _stream_kind(record)
        if kind is None:
            return await self._api.answer(request, record.path, None)
        stream_record = StreamRecord(kind, record.path, record.query, time.monotonic())  # type: ignore[arg-type]
        stream = Stream(request, stream_record, handles, lambda: self._opened(stream_record, record), self._changed)
        self._open.add(stream)
        try:
            return await self._api.answer(request, record.path, stream)
        finally:
            self._open.discard(stream)
            self._changed()

    def _opened(self, stream: StreamRecord, request: RequestRecord) -> None:
        request.status = 200
        self.streams.append(stream)
        self._changed()


def _stream_kind(record: RequestRecord) -> str | None:
    if record.method != "GET":
        return None
    try:
        target = resolve(record.path)
    except ApiError:
        return None
    if target.subresource == "log":
        return "log"
    return "watch" if is_watch(target, record.query) else None


async def _before(handles: list[Handle]) -> None:
    for handle in of_kind(handles, Delay):
        await _until_lifted(handle, handle.fault.action.seconds)  # type: ignore[union-attr]  # of_kind has looked
    for handle in of_kind(handles, NoHeaders):
        await handle.lifted.wait()
    for handle in of_kind(handles, Respond):
        action = handle.fault.action
        assert isinstance(action, Respond)  # noqa: S101 - of_kind has looked
        raise ApiError(action.status, action.message, action.reason, headers=action.headers)


async def _until_lifted(handle: Handle, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await handle.lifted.wait()
    except TimeoutError:
        pass


def _maybe_lose(request: web.Request, handles: list[Handle]) -> None:
    for handle in of_kind(handles, LoseAnswer, Cut):
        cut_off(request.transport, handle.fault.action.how)  # type: ignore[union-attr]  # of_kind has looked
