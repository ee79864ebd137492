"""The reference plane's edge: how much it reads, what it takes for JSON, in which shape errors are said."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any
from urllib.parse import unquote_to_bytes

import structlog
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.plane.store import StoreError, UnknownRun

log = structlog.get_logger(__name__)

BODY = 8 * 1024 * 1024
"""Bytes of one request's body. A chunk of log has 256 KiB at most; a batch of events 4 MiB, or one event."""

_CODES = {400: "malformed", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


class Json(JSONResponse):
    """JSON in ASCII: half a surrogate pair, which a result may hold, cannot be said in UTF-8."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class Invalid(Exception):
    """A request that names something impossible; `field` says where."""

    def __init__(self, field: str, complaint: str) -> None:
        super().__init__(f"{field} {complaint}")
        self.field = field


def failure(
    status: int, code: str, message: str, field: str | None = None, headers: Mapping[str, str] | None = None
) -> Json:
    """An error that is no run's."""
    error = {"code": code, "message": message} | ({"field": field} if field else {})
    return Json({"error": error}, status, headers=dict(headers or {}))


class Edge:
    """A bound for every body, and every path as it was sent.

    A run's id is one segment of the path, whatever is encoded in it; a path that is decoded as a whole has lost that.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["path"] = scope["raw_path"].decode("latin-1")
        await self._app(scope, _limited(receive), send)


def _limited(receive: Receive) -> Receive:
    size = 0

    async def limited() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > BODY:
            raise HTTPException(413, f"the body has more than {BODY} bytes")
        return message

    return limited


class PlainRoute(APIRoute):
    """A route whose JSON is JSON: Python's own parser takes NaN, and numbers that are infinite."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def plainly(request: Request) -> Response:
            return await handle(_PlainRequest(request.scope, request.receive))

        return plainly


class _PlainRequest(Request):
    async def json(self) -> Any:
        try:
            return json.loads(await self.body(), parse_constant=_no_number, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise HTTPException(400, f"the body is no JSON: {error}") from error


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _finite(text: str) -> float:
    number = float(text)
    return number if abs(number) != float("inf") else _no_number(text)


def run_id_of(run_id: str) -> str:
    """The id that one segment of a path stands for. Raises `Invalid`; the rules are those of a run's request."""
    try:
        text = unquote_to_bytes(run_id).decode()
    except UnicodeDecodeError as error:
        raise Invalid("runId", "is not UTF-8, percent-encoded") from error
    if not text.strip() or "\0" in text or len(text) > 512:
        raise Invalid("runId", "must have 1 to 512 characters, not all of them blank, and no NUL")
    return text


def install(app: FastAPI) -> None:
    """Every error of the app in one shape."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def _unknown(request: Request, error: Exception) -> Json:
    return failure(404, "unknown_run", str(error))


async def _unavailable(request: Request, error: Exception) -> Json:
    log.error("store.failed", error=str(error))
    return failure(
        503, "unavailable", "the plane's database does not work; its log says more", headers={"Retry-After": "5"}
    )


async def _invalid(request: Request, error: Exception) -> Json:
    return failure(422, "invalid", str(error), getattr(error, "field", None))


async def _unfit(request: Request, error: Exception) -> Json:
    """What pydantic found, without the input that it quotes."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - installed for nothing else
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    complaint = first["msg"].removeprefix("Value error, ")
    if not field:
        return failure(422, "invalid", f"the body must be a JSON object, sent as application/json: {complaint}")
    return failure(422, "invalid", f"{field}: {complaint}", field)


async def _http(request: Request, error: Exception) -> Json:
    assert isinstance(error, AnyHTTPException)  # noqa: S101 - installed for nothing else
    code = _CODES.get(error.status_code, "refused")
    return failure(error.status_code, code, str(error.detail), headers=error.headers)


async def _fault(request: Request, error: Exception) -> Json:
    return failure(500, "internal", "a fault of the plane; its log says more")


_HANDLERS = {
    UnknownRun: _unknown,
    StoreError: _unavailable,
    Invalid: _invalid,
    RequestValidationError: _unfit,
    AnyHTTPException: _http,
    Exception: _fault,
}
