"""Examples of answers, for the OpenAPI document."""

from __future__ import annotations

from typing import Any

from adapter.errors import Code
from adapter.run import Outcome, RunResult
from adapter.sidecar.errors import dumps
from adapter.sidecar.models import RUN_ID
from adapter.sidecar.views import RunView, State

CURSOR = "5f0c7b12a9e4d380.7.6.0.363a3020.-"

JOB = "claude-k8s-b2f6c0de-run-3f1c"

RESULT = RunResult(
    run_id=RUN_ID,
    outcome=Outcome.SUCCEEDED,
    code=Code.OK,
    message="the container exited with 0",
    exit_code=0,
    job=JOB,
    pod=f"{JOB}-x7k2p",
    started_at="2026-11-24T10:00:02Z",
    finished_at="2026-11-24T10:00:41Z",
)

_VIEW = RunView(
    run_id=RUN_ID,
    state=State.PENDING,
    durable=True,
    phase="watch",
    job=JOB,
    job_uid="0d1a2b3c-0000-4000-8000-000000000000",
    namespace="agents",
    supervisor="replica-4b1d",
    mine=True,
    created_at="2026-11-24T10:00:00+00:00",
)

RUN_ACCEPTED: dict[str, Any] = _VIEW.to_json()
RUN: dict[str, Any] = RUN_ACCEPTED | {"state": "running", "pod": RESULT.pod}

MODELS = {"models": [{"id": "claude-sonnet-5", "label": "Claude Sonnet 5"}], "detected": None}

REPORT = {
    "adapterType": "claude_k8s",
    "status": "pass",
    "checks": [{"code": "k8s_api", "level": "info", "message": "the API server answers", "detail": None, "hint": None}],
    "testedAt": "2026-11-24T10:00:00.000+00:00",
}

_LINES: tuple[dict[str, Any], ...] = (
    {
        "cursor": "5f0c7b12a9e4d380.6.0.0",
        "type": "event",
        "kind": "job",
        "message": f"Job {JOB} created",
        "data": {"job": JOB},
        "at": 1795514400.25,
    },
    {
        "cursor": CURSOR,
        "type": "log",
        "stream": "stdout",
        "offset": 0,
        "text": "hello\n",
        "continued": False,
        "stamp": "2026-11-24T10:00:02.120000000Z",
    },
    {"cursor": CURSOR, "type": "beat", "phase": "watch", "observedAgo": 0.4},
    {"cursor": CURSOR, "type": "result", "result": RESULT.to_json(), "execution": None},
)

JSON_LINES = "".join(f"{dumps(line).decode()}\n" for line in _LINES)
EVENTS = "".join(f"id: {one['cursor']}\nevent: {one['type']}\ndata: {dumps(one).decode()}\n\n" for one in _LINES)
