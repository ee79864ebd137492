"""What a control plane asks beside runs: forms, models, skills, whether an agent could be run, how to show a log."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Any

from anyio import to_thread
from fastapi import APIRouter

from adapter.agent.models import models
from adapter.agent.schema import json_schema, ui_schema
from adapter.agent.skills import list_skills, sync_skills
from adapter.agent.uilines import parse_stderr_line, parse_stdout_line
from adapter.cluster.checks_api import refusal
from adapter.cluster.preflight import Report
from adapter.doctor import examine
from adapter.errors import ConnectError
from adapter.service import Adapter
from adapter.sidecar.errors import Json
from adapter.sidecar.examples import MODELS, REPORT
from adapter.sidecar.models import (
    EntriesAnswer,
    LinesRequest,
    ModelsAnswer,
    ModelsRequest,
    ReportAnswer,
    SchemaAnswer,
    SkillsAnswer,
    SkillsRequest,
    SyncRequest,
)
from adapter.sidecar.parts import TOKEN, Books, answers, refusals

router = APIRouter(tags=["agents"], dependencies=[TOKEN])


@router.get("/v1/schema", responses={**answers(200, SchemaAnswer, "The schemas."), **refusals()})
async def schema() -> Json:
    """The agent's configuration: as JSON Schema, and as the control plane's form draws it."""
    return Json(_schemas())


@cache
def _schemas() -> dict[str, Any]:
    return {"jsonSchema": json_schema(), "uiSchema": ui_schema()}


@router.get(
    "/v1/models",
    operation_id="get_models",
    responses={**answers(200, ModelsAnswer, "The models.", MODELS), **refusals()},
)
async def get_models() -> Json:
    """The models of an agent whose environment is the service's own."""
    return Json(_models(os.environ))


@router.post(
    "/v1/models",
    operation_id="post_models",
    responses={**answers(200, ModelsAnswer, "The models.", MODELS), **refusals(413, 422)},
)
async def post_models(body: ModelsRequest) -> Json:
    """The models of an agent with this environment."""
    return Json(_models(body.env))


def _models(env: Mapping[str, str]) -> dict[str, Any]:
    named = env.get("ANTHROPIC_MODEL", "").strip()
    detected = {"model": named, "provider": "anthropic", "source": "ANTHROPIC_MODEL"} if named else None
    return {"models": models(env), "detected": detected}


@router.get(
    "/v1/preflight",
    operation_id="get_preflight",
    responses={**answers(200, ReportAnswer, "The findings.", REPORT), **refusals()},
)
async def get_preflight(book: Books) -> Json:
    """Whether an agent could be run here at all. Nothing is changed."""
    return Json((await _examined(book.adapter, None)).to_json())


@router.post(
    "/v1/preflight",
    operation_id="post_preflight",
    responses={**answers(200, ReportAnswer, "The findings.", REPORT), **refusals(413, 422)},
)
async def post_preflight(book: Books, body: dict[str, Any]) -> Json:
    """Whether this agent could be run: a run context, a document with its configuration as `config`, or that alone."""
    return Json((await _examined(book.adapter, body)).to_json())


async def _examined(adapter: Adapter, given: Mapping[str, Any] | None) -> Report:
    """In the cluster that the configuration names, where it names one."""
    config = (given or {}).get("config", given) or {}
    named = config.get("kubeconfig") if isinstance(config, Mapping) else None
    try:
        return await examine(await adapter.at(named if isinstance(named, str) else ""), given)
    except ConnectError as problem:
        return Report.of([refusal(str(problem), problem.__cause__)])


@router.post("/v1/skills/list", responses={**answers(200, SkillsAnswer, "The skills."), **refusals(413, 422)})
async def skills_list(body: SkillsRequest) -> Json:
    """The skills that there are, and which of them the agent is to have."""
    return Json(list_skills(body.config))


@router.post("/v1/skills/sync", responses={**answers(200, SkillsAnswer, "The skills."), **refusals(413, 422)})
async def skills_sync(body: SyncRequest) -> Json:
    """The same: skills are put into the pod of each run anew, so there is nothing to bring into line."""
    return Json(sync_skills(body.config, body.desired_skills))


@router.post("/v1/ui/lines", responses={**answers(200, EntriesAnswer, "Their entries."), **refusals(413, 422)})
async def ui_lines(body: LinesRequest) -> Json:
    """Lines of a run's log as the entries that a run viewer shows."""
    return Json({"entries": await to_thread.run_sync(_entries, body, abandon_on_cancel=True)})


def _entries(body: LinesRequest) -> list[list[dict[str, Any]]]:
    """In a thread: there may be megabytes of them, and beats do not wait."""
    parse = parse_stdout_line if body.stream == "stdout" else parse_stderr_line
    ts = body.ts or datetime.now(UTC).isoformat(timespec="milliseconds")
    return [parse(line, ts) for line in body.lines]
