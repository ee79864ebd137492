"""The service's HTTP edge, as an ASGI app: who may speak, how much, what there is to ask, how errors are said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from adapter._version import __version__
from adapter.sidecar import errors, routes_agent, routes_health, routes_runs
from adapter.sidecar.auth import Guard, Token
from adapter.sidecar.limits import MOST_BODY, BodyLimit
from adapter.sidecar.metrics import Metrics, Pulse
from adapter.sidecar.parts import Book

TITLE = "claude-k8s serve"

ROUTERS = (routes_runs.router, routes_agent.router, routes_health.router)


def create_app(
    book: Book, *, token: Token | None, metrics: Metrics | None = None, most_body: int = MOST_BODY
) -> FastAPI:
    """The app over a book of runs. Without a `token` it serves programs of this machine alone."""
    app = FastAPI(
        title=TITLE,
        version=__version__,
        summary="Runs coding agents as Kubernetes Jobs.",
        docs_url=None,
        redoc_url=None,
        lifespan=_life,
        generate_unique_id_function=_name,
    )
    app.state.book, app.state.metrics = book, metrics or Metrics()
    app.state.pulse = Pulse(app.state.metrics.lagged)
    for router in ROUTERS:
        app.include_router(router)
    app.state.routes = [route for router in ROUTERS for route in router.routes]
    errors.install(app)
    app.add_middleware(BodyLimit, most=most_body)
    app.add_middleware(Guard, token=token)
    app.add_middleware(AsSent)
    app.add_middleware(errors.Faults)  # the last one is the outermost
    return app


class AsSent:
    """Routes a path as it was sent: one that is decoded as a whole has lost what of it is a run's id."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("raw_path") is not None:
            scope["path"] = scope["raw_path"].decode("latin-1")
        await self._app(scope, receive, send)


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    """While the app is served, somebody looks whether the loop turns."""
    looking = asyncio.create_task(app.state.pulse.run(), name="claude-k8s pulse")
    try:
        yield
    finally:
        looking.cancel()
        await asyncio.wait([looking])


def _name(route: APIRoute) -> str:
    return route.name


def openapi() -> dict[str, Any]:
    """The service's OpenAPI document."""
    return create_app(cast("Book", None), token=None).openapi()


def openapi_json() -> str:
    """The document `docs/service-openapi.json`."""
    return json.dumps(openapi(), indent=2) + "\n"
