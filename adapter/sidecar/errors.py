"""What the service refuses, and the one shape in which it says so.

No answer shows what was sent: it may be secret. Only places and rules are said.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapter.agent.problems import MOST_PROBLEMS, dotted, rule_of
from adapter.cluster.connection import ApiError, Unreachable
from adapter.errors import AdapterError, InvalidRequest

log = structlog.get_logger(__name__)

SOON = {"Retry-After": "2"}
"""For what was not taken, but may be in a moment."""


class Conflict(AdapterError):
    """Another request under a run id that is known."""


class Closing(AdapterError):
    """The service is about to stop and accepts nothing any more."""


class NotFinished(AdapterError):
    """What can only be done to a run that has ended."""


class NotTaken(AdapterError):
    """The API server has not taken it in time; nothing is lost by asking again."""


class BadCursor(AdapterError):
    """A cursor that no journal has given out."""


class Json(JSONResponse):
    """JSON of whatever a cluster or an agent has said."""

    def render(self, content: Any) -> bytes:
        return dumps(content)


def dumps(content: Any) -> bytes:
    """One line of JSON, in ASCII.

    Half a surrogate pair, which a text may hold, cannot be said in UTF-8; and many a client's lines end at U+2028, too.
    """
    return json.dumps(content, separators=(",", ":")).encode("ascii")


def refusal(
    status: int, code: str, message: str, *, field: str | None = None, headers: Mapping[str, str] | None = None
) -> Json:
    """An error as every error of the service looks."""
    error = {"code": code, "message": message} | ({"field": field} if field else {})
    return Json({"error": error}, status, dict(headers or {}))


_ANSWERS: dict[type[AdapterError], tuple[int, str]] = {
    Conflict: (409, "conflict"),
    NotFinished: (409, "not_finished"),
    InvalidRequest: (422, "invalid_request"),
    BadCursor: (422, "bad_cursor"),
    Closing: (503, "closing"),
    NotTaken: (503, "not_taken"),
    ApiError: (503, "api_refused"),
    Unreachable: (503, "api_unreachable"),
    AdapterError: (503, "unavailable"),
}
"""What an error is answered with. Every 503 may be asked again."""

_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 400: "malformed"}

_FIELDS = (
    "context|config|request|plane|run_?[iI]d|command|image|env|working_?[dD]ir|timeout|grace|retain|cpu|memory"
    "|service_?[aA]ccount|node_?[sS]elector"
)
_FIELD = re.compile(rf"(?:{_FIELDS})\b[\w.]*(?:\[[^\]]*\][\w.]*)*")
"""The place with which the text of an `InvalidRequest` begins, where it does."""


def install(app: FastAPI) -> None:
    """Every error of the app in our shape."""
    app.add_exception_handler(AdapterError, _adapter_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


async def _adapter_error(request: Request, error: Exception) -> Json:
    status, code = next(_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS)
    if status == 503:
        log.warning("http.unavailable", path=request.scope["path"], code=code, error=str(error))
    if isinstance(error, ApiError | Unreachable | NotTaken):
        request.app.state.metrics.api_problem(code)
    return refusal(status, code, str(error), field=_field(error), headers=SOON if status == 503 else None)


def _field(error: Exception) -> str | None:
    if isinstance(error, BadCursor):
        return "after"
    found = _FIELD.match(str(error)) if isinstance(error, InvalidRequest) else None
    return found.group().rstrip(".") if found else None


async def _validation_error(request: Request, error: Exception) -> Json:
    """FastAPI's own, without the input that its text quotes."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - installed for nothing else
    found = [(_place(one["loc"]), rule_of(one)) for one in error.errors()]
    said = [f"{place or 'the body'} {rule}" for place, rule in found[:MOST_PROBLEMS]]
    if found[0][0] is None and "json" not in request.headers.get("content-type", ""):
        said = ["the body is not taken for JSON: send it with the header Content-Type: application/json"]
    return refusal(422, "invalid_request", "; ".join(said), field=found[0][0])


def _place(location: Sequence[int | str]) -> str | None:
    """The field's name as its sender knows it; None where it is the body as a whole."""
    where, *rest = location
    at_position = where == "body" and len(rest) == 1 and isinstance(rest[0], int)  # of what is no JSON
    return None if at_position else dotted(rest, "").lstrip(".") or None


async def _http_error(request: Request, error: Exception) -> Json:
    assert isinstance(error, HTTPException)  # noqa: S101 - installed for nothing else
    code, headers = _CODES.get(error.status_code, "refused"), error.headers
    if error.status_code == 405:
        headers = {"Allow": ", ".join(_allowed(request))}
    return refusal(error.status_code, code, str(error.detail), headers=headers)


def _allowed(request: Request) -> list[str]:
    """The methods of all routes of the path: the framework's own answer knows the first one alone."""
    fitting = [route for route in request.app.state.routes if route.path_regex.match(request.scope["path"])]
    return sorted({method for route in fitting for method in route.methods})


class Faults:
    """The outermost layer: a fault of ours is a 500 in our shape, and in the log without anything that was sent.

    An answer that has begun is cut off instead, so that nobody takes it for a whole one.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is logged, and the connection survives it
            log.error("http.fault", path=scope["path"], **_told(error.__cause__ or error))
            if not begun:
                await refusal(500, "internal", "a fault of the service; its log says more")(scope, receive, send)


def _told(error: BaseException) -> dict[str, str]:
    """What the log may have of an error. The text of one that is not our own may quote what was sent."""
    name = type(error).__name__
    text = f"{name}: {error}" if isinstance(error, AdapterError) else name
    return {"error": text, "trace": "".join(traceback.format_tb(error.__traceback__))}
