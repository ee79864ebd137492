"""Runs over HTTP: asked for, listed, read, cancelled, acknowledged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import StreamingResponse

from adapter.agent.labels import label_value
from adapter.cluster.jobs import slug
from adapter.sidecar.errors import Json
from adapter.sidecar.examples import CURSOR, EVENTS, JSON_LINES, RUN, RUN_ACCEPTED
from adapter.sidecar.models import CancelRequest, Done, RunAnswer, RunDocument, RunsAnswer
from adapter.sidecar.parts import TOKEN, Books, Counts, RunId, answers, refusals, unknown
from adapter.sidecar.place import CURSOR_PATTERN, Place
from adapter.sidecar.streaming import NDJSON, SSE, Lines, media_of
from adapter.sidecar.views import RunView, State

router = APIRouter(tags=["runs"], dependencies=[TOKEN])

BY_REQUEST = "cancelled by request"
"""Why a run was cancelled whose canceller does not say it."""


@router.post(
    "/v1/runs",
    status_code=201,
    responses={
        **answers(201, RunAnswer, "A new run: its Job and its request are in the cluster.", RUN_ACCEPTED),
        **answers(200, RunAnswer, "The same run, known already.", RUN_ACCEPTED),
        **answers(202, RunAnswer, "Accepted, but the API server has not taken it yet: send it again."),
        **refusals(413, 422, 503, e409="Another request under this run id."),
    },
)
async def accept(document: RunDocument, request: Request, book: Books) -> Json:
    """Asks for a run. The same request under the same id is the same run, however often it is sent."""
    del document  # it was checked; what is kept of the request is what was sent
    view, new = await book.accept(await request.json())
    status = (201 if new else 200) if view.durable else 202
    return Json(view.to_json(), status, {"Location": f"/v1/runs/{quote(view.run_id, safe='')}"})


@router.get(
    "/v1/runs",
    responses={**answers(200, RunsAnswer, "The runs.", {"runs": [RUN]}), **refusals(422, 503)},
)
async def runs(
    book: Books,
    agent: Annotated[str | None, Query(description="Of this agent: its id, or its label.")] = None,
    task: Annotated[str | None, Query(description="On this task.")] = None,
    state: Annotated[State | None, Query(description="In this state.")] = None,
    unattended: Annotated[bool | None, Query(description="Whether nobody reads a run that is not pushed.")] = None,
) -> Json:
    """Every run that is known here, of those that are asked for."""
    wanted: list[Callable[[RunView], bool]] = [
        lambda view: agent is None or _is_of(view, agent),
        lambda view: task is None or view.task in (task, label_value(task)),
        lambda view: state is None or view.state is state,
        lambda view: unattended is None or view.unattended is unattended,
    ]
    return Json({"runs": [view.to_json() for view in await book.runs() if all(fits(view) for fits in wanted)]})


def _is_of(view: RunView, agent: str) -> bool:
    """Of a run that is known by its Job alone, the agent's label is known: its id, as far as that fits, and a hash."""
    return agent in (view.agent, view.agent_key) or slug(agent, 36) == (view.agent_key or "").rpartition("-")[0]


@router.get("/v1/runs/{run_id}", responses={**answers(200, RunAnswer, "The run.", RUN), **refusals(404, 422, 503)})
async def run(run_id: RunId, book: Books) -> Json:
    """One run: where it stands, and its result."""
    view = await book.run(run_id)
    return Json(view.to_json()) if view else unknown(run_id)


_LINES = """\
The run's lines, as they come, until `result` or `bye`: JSON lines or, where `Accept` prefers them, server-sent events
(`id`: the cursor, `event`: the type, `data`: the line). Each line has a `type`, and all but `ping` a `cursor`, with
which the next request goes on behind that line.

- `log`: `stream`, `offset` of the first byte in that stream, `text` or, where it is not UTF-8, `base64`, `stamp` of the
  last line (RFC 3339), `continued`: more of the same line follows
- `event`: `kind`, `message`, `data`, `at` (Unix seconds)
- `meta`: `data`, the control plane's `AdapterInvocationMeta`
- `beat`: `phase`, `observedAgo` (seconds; null: not yet); live only
- `missed`: `message`, `bytes` of log that cannot be read here any more, its `stream`, and the `offset` where that
  goes on
- `result`: `result`, `execution` (`AdapterExecutionResult`, or null); the last line
- `bye`: `message`; the service lets go of the run, which goes on; the last line
- `ping`: nothing, after 15 s of silence
"""


_CURSOR: dict[str, Any] = {"examples": [CURSOR], "json_schema_extra": {"pattern": f"^({CURSOR_PATTERN})?$"}}
"""Said in the document alone: the journal knows better what is wrong with a cursor."""


def _streams() -> dict[int | str, dict[str, Any]]:
    lines = {"schema": {"type": "string"}, "example": JSON_LINES}
    events = {"schema": {"type": "string"}, "example": EVENTS}
    return {200: {"description": _LINES, "content": {NDJSON: lines, SSE: events}}}


@router.get(
    "/v1/runs/{run_id}/events",
    response_class=StreamingResponse,
    responses={**_streams(), **refusals(404, 503, e422="A cursor that is none.")},
)
async def events(
    run_id: RunId,
    request: Request,
    book: Books,
    metrics: Counts,
    after: Annotated[str, Query(description="The cursor of the last line that is known.", **_CURSOR)] = "",
    last_event_id: Annotated[
        str, Header(alias="Last-Event-ID", description="The same from an event source, and newer.", **_CURSOR)
    ] = "",
) -> Any:
    """What a run tells: its log, events and result, from the beginning or behind a cursor, and then as it comes."""
    journal = await book.journal(run_id)
    if journal is None:
        return unknown(run_id)
    for cursor in filter(None, (after, last_event_id)):
        Place.parse(cursor)  # one that is garbled is refused, though the other one counts
    return Lines(journal.read(last_event_id or after or None), media_of(request.headers.get("accept")), metrics.reading)


@router.post(
    "/v1/runs/{run_id}/cancel",
    status_code=202,
    responses={
        **answers(202, Done, "The API server has the cancel; the result follows."),
        **refusals(404, 413, 422, 503),
    },
)
async def cancel(run_id: RunId, book: Books, body: CancelRequest | None = None) -> Json:
    """Cancels a run: its pod gets its grace period. Answered when nothing can forget the cancel any more."""
    reason = (body.reason if body else None) or BY_REQUEST
    return Json({"runId": run_id}, 202) if await book.cancel(run_id, reason) else unknown(run_id)


@router.post(
    "/v1/runs/{run_id}/ack",
    responses={
        **answers(200, Done, "What was left of the run goes."),
        **refusals(404, 422, 503, e409="It has not finished."),
    },
)
async def ack(run_id: RunId, book: Books) -> Json:
    """Says that the run's result was stored: its Job, and what else is kept for whoever fetches results, may go."""
    return Json({"runId": run_id}) if await book.ack(run_id) else unknown(run_id)
