"""How much a request may be."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.sidecar.errors import refusal

MOST_BODY = 8 * 1024 * 1024
"""Bytes of a request's body. A run context has some ten thousand; skills and instructions may come with it."""

MOST_HEAD = 32 * 1024
"""Bytes of a request's line and headers. The server answers what is more before the app hears of it."""


class BodyLimit:
    """A longer body is refused: by its announced length before any of it is read, else when it gets too long."""

    def __init__(self, app: ASGIApp, most: int = MOST_BODY) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif _announced(scope) > self._most:
            await refusal(413, "too_large", self._words)(scope, receive, send)
        else:
            await self._app(scope, self._counting(receive), send)

    @property
    def _words(self) -> str:
        return f"the body is longer than {self._most} bytes"

    def _counting(self, receive: Receive) -> Receive:
        read = 0

        async def counting() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most:
                raise HTTPException(413, self._words)
            return message

        return counting


def _announced(scope: Scope) -> int:
    """What is no number announces nothing; the body is counted all the same."""
    given = Headers(scope=scope).get("content-length", "")
    return int(given) if given.isascii() and given.isdigit() else 0
