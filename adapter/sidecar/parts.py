"""What the routes have in common: whom they ask, what they need of a request, and how an answer is written down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Protocol
from urllib.parse import unquote

from fastapi import Depends, Path, Request, Security
from fastapi.security import HTTPBearer
from pydantic import BaseModel

from adapter.agent.problems import shown
from adapter.service import Adapter
from adapter.sidecar.errors import Json, refusal
from adapter.sidecar.journal import Journal
from adapter.sidecar.metrics import Metrics, Pulse
from adapter.sidecar.models import RUN_ID, ErrorAnswer
from adapter.sidecar.views import RunView, State


class Book(Protocol):
    """The runs of the service, as `adapter.sidecar.book.RunBook` keeps them."""

    adapter: Adapter

    async def accept(self, document: Mapping[str, Any]) -> tuple[RunView, bool]: ...
    async def runs(self) -> list[RunView]: ...
    def states(self) -> list[State]: ...
    async def run(self, run_id: str) -> RunView | None: ...
    async def cancel(self, run_id: str, why: str) -> bool: ...
    async def ack(self, run_id: str) -> bool: ...
    async def journal(self, run_id: str) -> Journal | None: ...
    def ready(self) -> str | None: ...


async def _book(request: Request) -> Book:
    book: Book = request.app.state.book
    return book


async def _metrics(request: Request) -> Metrics:
    metrics: Metrics = request.app.state.metrics
    return metrics


async def _pulse(request: Request) -> Pulse:
    pulse: Pulse = request.app.state.pulse
    return pulse


async def _run_id(
    run_id: Annotated[str, Path(description="The run's id, percent-encoded as one segment.", examples=[RUN_ID])],
) -> str:
    """A path is routed as it was sent: an id may hold anything, a slash too."""
    return unquote(run_id)


Books = Annotated[Book, Depends(_book)]
Counts = Annotated[Metrics, Depends(_metrics)]
Turns = Annotated[Pulse, Depends(_pulse)]
RunId = Annotated[str, Depends(_run_id)]

TOKEN = Security(
    HTTPBearer(auto_error=False, description="The token of --token-file or CLAUDE_K8S_TOKEN, where there is one.")
)
"""For the OpenAPI document alone: the token is looked at before anything of a request is read."""

_MEANINGS = {
    400: "The body is no JSON in UTF-8, or nested too deep.",
    401: "No token, or another one.",
    403: "There is no token, and the request is a web page's, or comes by another host name than localhost.",
    404: "No such run.",
    409: "It cannot be done to this run.",
    413: "The body is longer than 8 MiB.",
    422: "Something in the request is wrong; `field` names it.",
    503: "Not now; `Retry-After` says when to ask again.",
}


def answers(status: int, model: type[BaseModel], text: str, example: object = None) -> dict[int | str, dict[str, Any]]:
    """A good answer, for the OpenAPI document."""
    content = {"content": {"application/json": {"example": example}}} if example is not None else {}
    return {status: {"model": model, "description": text, **content}}


def refusals(*statuses: int, **texts: str) -> dict[int | str, dict[str, Any]]:
    """Errors, for the OpenAPI document; `e409="..."` says more of one."""
    wanted = {401, 403, *statuses, *(int(name[1:]) for name in texts)}
    wanted |= {400} if 413 in wanted else set()
    return {one: {"model": ErrorAnswer, "description": texts.get(f"e{one}", _MEANINGS[one])} for one in sorted(wanted)}


def unknown(run_id: str) -> Json:
    """The answer for a run that nobody knows."""
    return refusal(404, "not_found", f"there is no run {shown(run_id)!r} here")
