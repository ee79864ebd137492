"""The reference plane: the protocol of docs/plane-protocol.md on SQLite, for development and for proof."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI, Query, Request, Response, Security
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse
from fastapi.security import HTTPBearer

from adapter.plane import LogChunk, Stream
from adapter.plane.reference_models import (
    Append,
    Beat,
    Cancel,
    Events,
    Failure,
    History,
    Noted,
    Refusal,
    Report,
    Run,
    Runs,
    Status,
)
from adapter.plane.reference_runs import REAPER, ReferencePlane, same
from adapter.plane.reference_web import Edge, Json, PlainRoute, install, run_id_of
from adapter.plane.store import RUNNING, Entry, Misfit, Store

PAGE = 1024 * 1024
"""Bytes that are read from the store at once."""

MOST = 2**53 - 1
"""The largest number that every language's JSON has exactly."""

PROTOCOL = "1"


@asynccontextmanager
async def opened(path: Path, *, reaper: float = REAPER, interval: float | None = None) -> AsyncIterator[FastAPI]:
    """The app, at work on a database. Its `state.plane` is the `ReferencePlane`. Raises `StoreError`."""
    store = await Store.open(path)
    try:
        app = create_app(ReferencePlane(store, reaper=reaper, interval=interval))
        reaping = asyncio.create_task(app.state.plane.reaping())
        try:
            yield app
        finally:
            reaping.cancel()
            with suppress(asyncio.CancelledError):
                await reaping
    finally:
        await store.close()


def create_app(plane: ReferencePlane | None = None) -> FastAPI:
    """The app as such: without a plane it can only describe itself."""
    app = FastAPI(
        title="A control plane for claude-k8s",
        version=PROTOCOL,
        docs_url=None,  # a page of another's servers
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Security(HTTPBearer(auto_error=False))],  # described here; checked by who serves it
    )
    app.state.plane = plane
    app.include_router(router)
    app.add_middleware(Edge)
    install(app)
    return app


def openapi() -> str:
    """docs/plane-openapi.json."""
    return json.dumps(create_app().openapi(), indent=2) + "\n"


def _plane(request: Request) -> ReferencePlane:
    plane: ReferencePlane = request.app.state.plane
    return plane


def _run_id(run_id: Annotated[str, InPath(description="The run's id, percent-encoded as one segment.")]) -> str:
    return run_id_of(run_id)


Plane = Annotated[ReferencePlane, Depends(_plane)]
RunId = Annotated[str, Depends(_run_id)]

_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"model": Failure, "description": "The body is no JSON."},
    401: {"model": Failure, "description": "No token, or a wrong one."},
    413: {"model": Failure, "description": "The body is too large."},
    422: {"model": Failure, "description": "A field is missing or impossible; `field` says which."},
    503: {"model": Failure, "description": "The database does not work now. Try again."},
}
_UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Failure, "description": "There is no such run."}}


def _refused(codes: str) -> dict[int | str, dict[str, Any]]:
    return _UNKNOWN | {409: {"model": Refusal, "description": codes}}


router = APIRouter(route_class=PlainRoute, responses=_FAILURES)
adapter_side, plane_side = "What the adapter asks", "What the control plane's own side asks"


@router.get("/v1/runs/{run_id}", tags=[adapter_side], response_model=Run, responses=_UNKNOWN)
async def status(run_id: RunId, plane: Plane) -> Response:
    """Where a run stands, and where its log ends."""
    return Json((await plane.view(await plane.row(run_id))).model_dump(by_alias=True))


@router.post("/v1/runs/{run_id}/beat", tags=[adapter_side], response_model=Status, responses=_UNKNOWN)
async def beat(run_id: RunId, plane: Plane, body: Beat) -> Response:
    """The run is alive. A beat of a run that is over is dropped."""
    await plane.heard(run_id, body)
    return await plane.answer(run_id)


@router.post("/v1/runs/{run_id}/log", tags=[adapter_side], response_model=Status, responses=_refused("`misfit`"))
async def append(run_id: RunId, plane: Plane, body: Append) -> Response:
    """More log, also of a run that is over. `misfit`: it does not begin where the plane's log ends."""
    names = ("stream", "offset", "data", "cursor", "stamp", "continued")
    chunk = LogChunk(**{name: getattr(body, name) for name in names})
    try:
        await plane.store.append(run_id, chunk, gap=body.gap)
    except Misfit as error:
        where = f"the {body.stream} ends at {error.position.offset}"
        return await plane.refuse(run_id, "misfit", f"{where}; this begins at {body.offset}, after a gap of {body.gap}")
    return await plane.answer(run_id)


@router.post("/v1/runs/{run_id}/events", tags=[adapter_side], response_model=Status, responses=_UNKNOWN)
async def events(run_id: RunId, plane: Plane, body: Events) -> Response:
    """News beside the log, in order."""
    await plane.row(run_id)
    for event in body.events:
        await plane.store.note(run_id, "event", event.model_dump())
    return await plane.answer(run_id)


@router.post(
    "/v1/runs/{run_id}/result",
    tags=[adapter_side],
    response_model=Status,
    responses=_refused("`log_incomplete` or `terminal`"),
)
async def result(run_id: RunId, plane: Plane, body: Report) -> Response:
    """The end. The very same again is answered as the first time."""
    row = await plane.row(run_id)
    if row.state == RUNNING:
        if missing := await plane.missing(run_id, body.log):
            return await plane.refuse(run_id, "log_incomplete", missing)
        row = await plane.finish(run_id, body)
    if not same(row, body):
        return await plane.refuse(run_id, "terminal", f"the run is over already: {row.state}")
    return await plane.answer(run_id)


@router.put(
    "/v1/runs/{run_id}",
    tags=[plane_side],
    response_model=Status,
    responses={201: {"model": Status, "description": "It is new."}},
)
async def register(run_id: RunId, plane: Plane) -> Response:
    """Makes a run known; it is running from now on. A run that is known stays as it is."""
    new = await plane.store.create(run_id)
    answer = await plane.answer(run_id)
    answer.status_code = 201 if new else 200
    return answer


@router.get("/v1/runs", tags=[plane_side], response_model=Runs)
async def runs(plane: Plane) -> Response:
    """All runs, in the order in which they became known."""
    views = [await plane.view(row) for row in await plane.store.rows()]
    return Json(Runs(runs=views).model_dump(by_alias=True))


@router.post("/v1/runs/{run_id}/cancel", tags=[plane_side], response_model=Status, responses=_refused("`terminal`"))
async def cancel(run_id: RunId, plane: Plane, body: Annotated[Cancel | None, Body()] = None) -> Response:
    """Asks for the run's end: the adapter is told with the next answer. The first reason stays."""
    if await plane.store.ask_cancel(run_id, body.reason if body else ""):
        return await plane.answer(run_id)
    return await plane.refuse(run_id, "terminal", f"the run is over already: {(await plane.row(run_id)).state}")


@router.get(
    "/v1/runs/{run_id}/log/{stream}",
    tags=[plane_side],
    response_class=Response,
    responses=_UNKNOWN | {200: {"content": {"application/octet-stream": {}}, "description": "Byte for byte."}},
)
async def log(run_id: RunId, plane: Plane, stream: Stream) -> Response:
    """A log so far. Bytes that were lost are left out; an event tells of them."""
    await plane.row(run_id)
    return StreamingResponse(_log(plane.store, run_id, stream), media_type="application/octet-stream")


async def _log(store: Store, run_id: str, stream: Stream) -> AsyncIterator[bytes]:
    begin = 0
    while pieces := await store.pieces(run_id, stream, begin, PAGE):
        yield b"".join([data for _, data in pieces])
        begin = pieces[-1][0] + len(pieces[-1][1])


@router.get("/v1/runs/{run_id}/events", tags=[plane_side], response_model=History, responses=_UNKNOWN)
async def history(run_id: RunId, plane: Plane, after: Annotated[int, Query(ge=0, le=MOST)] = 0) -> Response:
    """What happened beside the log, a page of about 1 MiB at once, until it is empty."""
    await plane.row(run_id)
    entries = await plane.store.entries(run_id, after, PAGE, log=False)
    return Json(History(events=[_noted(entry) for entry in entries]).model_dump(by_alias=True))


def _noted(entry: Entry) -> Noted:
    if entry.kind == "event":
        return Noted(seq=entry.seq, **entry.data)
    message = "{bytes} bytes of the {stream} before {offset} are lost".format_map(entry.data)
    return Noted(seq=entry.seq, kind=entry.kind, message=message, at=entry.at, data=entry.data)
