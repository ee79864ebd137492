"""For whoever keeps the service alive and looks at it from outside."""

from __future__ import annotations

from fastapi import APIRouter, Response

from adapter.sidecar.errors import Json, refusal
from adapter.sidecar.metrics import CONTENT_TYPE
from adapter.sidecar.models import ErrorAnswer, HealthAnswer, ReadyAnswer
from adapter.sidecar.parts import TOKEN, Books, Counts, Turns, answers, refusals

router = APIRouter(tags=["health"])

STUCK = 5.0
"""Seconds of lag at which the event loop does not turn: its beats are late, and everything else with them."""


@router.get(
    "/healthz",
    responses={
        **answers(200, HealthAnswer, "The event loop turns.", {"status": "ok", "lag": 0.0004}),
        503: {"model": ErrorAnswer, "description": "It is stuck: restart the process."},
    },
)
async def healthz(pulse: Turns) -> Json:
    """Whether the process works, whatever the world around it does. No token is needed."""
    lag = pulse.lag
    if lag > STUCK:
        return refusal(503, "stuck", f"the event loop is {lag:.1f} s late")
    return Json({"status": "ok", "lag": round(lag, 6)})


@router.get(
    "/readyz",
    responses={
        **answers(200, ReadyAnswer, "A run can be taken.", {"status": "ready"}),
        503: {"model": ErrorAnswer, "description": "No run can be taken now; the message says why."},
    },
)
async def readyz(book: Books) -> Json:
    """Whether a run can be taken: the API server answers, and its watch is fresh. No token is needed."""
    why = book.ready()
    return refusal(503, "not_ready", why) if why else Json({"status": "ready"})


@router.get(
    "/metrics",
    dependencies=[TOKEN],
    response_class=Response,
    responses={
        200: {"description": "Prometheus' text format.", "content": {"text/plain": {"schema": {"type": "string"}}}},
        **refusals(503),
    },
)
async def metrics(book: Books, counts: Counts) -> Response:
    """What the service counts."""
    states = book.states()
    return Response(counts.text(states, ready=book.ready() is None), media_type=CONTENT_TYPE)
