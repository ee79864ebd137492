"""What goes in and comes out over HTTP, as types: the checks of requests, and the OpenAPI document, are made of them.

Answers are not checked against them: a service does not fail for what it could as well say. Tests do that.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from adapter.errors import Code
from adapter.run import Outcome
from adapter.sidecar.documents import CommandRequest, PlaneTarget
from adapter.sidecar.views import State

RUN_ID = "b2f6c0de-run"

Stream = Literal["stdout", "stderr"]


def _text(text: str) -> str:
    if "\0" in text:
        raise ValueError("contains a NUL character")
    return text


Reason = Annotated[str, Field(max_length=1000), AfterValidator(_text)]


class _Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, hide_input_in_errors=True)


class _Request(_Model):
    """Fields that nobody here reads are the control plane's own."""


# -- requests ----------------------------------------------------------------------------------------------------------


class RunDocument(_Request):
    """A run that is asked for: an agent's, by its `context`, or a command's, by its `request`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"request": {"runId": RUN_ID, "command": ["sh", "-c", "echo hello"], "image": "busybox:1.36"}},
                {
                    "context": {
                        "runId": RUN_ID,
                        "agent": {"id": "a-1", "companyId": "c-1"},
                        "config": {"image": "agent:1"},
                    }
                },
            ]
        }
    )

    context: Annotated[
        dict[str, Any] | None, Field(description="The control plane's `AdapterExecutionContext`, secrets resolved.")
    ] = None
    request: CommandRequest | None = None
    plane: Annotated[
        PlaneTarget | None,
        Field(description="Where to push this run; else the service's own control plane, or nowhere."),
    ] = None


class CancelRequest(_Request):
    """Why the run is cancelled: it is in the run's result."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "stopped by an operator"}]})

    reason: Reason | None = None


class ModelsRequest(_Request):
    """The environment that the agent will have."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"env": {"CLAUDE_CODE_USE_BEDROCK": "1"}}]})

    env: dict[str, str] = {}


class SkillsRequest(_Request):
    """The control plane's `AdapterSkillContext`: of it, the agent's configuration is read."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "config": {
                        "paperclipRuntimeSkills": [
                            {"key": "acme/skills/review", "name": "review", "source": "/skills/review"}
                        ],
                        "paperclipSkillSync": {"desiredSkills": ["review"]},
                    }
                }
            ]
        }
    )

    config: dict[str, Any] = {}


class SyncRequest(SkillsRequest):
    """The same, with what is desired now."""

    desired_skills: list[str] = []


class LinesRequest(_Request):
    """Lines of a run's log. `ts` is the time that the entries bear: now, if it is not given."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"stream": "stdout", "lines": ['{"type":"system","subtype":"init"}']}]}
    )

    stream: Stream = "stdout"
    lines: list[str]
    ts: str | None = None


# -- answers -----------------------------------------------------------------------------------------------------------


class ErrorBody(_Model):
    """What was wrong: a code to branch on, a line for people, and the field, where it was one."""

    code: str
    message: str
    field: str | None = None


class ErrorAnswer(_Model):
    """Every error of the service."""

    error: ErrorBody


class LogSummary(BaseModel):
    """What became of a log."""

    delivered: int
    complete: bool
    notes: list[str]


class Result(BaseModel):
    """The one, truthful result of a run. Codes: docs/errors.md."""

    run_id: str
    outcome: Outcome
    code: Code
    message: str
    hint: str
    transient: bool
    exit_code: int | None
    signal: int | None
    reason: str | None
    termination_message: str | None
    job: str | None
    job_uid: str | None
    pod: str | None
    started_at: str | None
    finished_at: str | None
    warnings: list[str]
    log: LogSummary
    stderr: LogSummary | None
    agent: dict[str, Any] | None


class RunAnswer(_Model):
    """A run. `mine`: this replica looks after it. `durable`: another one could go on with it."""

    run_id: str
    state: State
    outcome: Outcome | None
    durable: bool
    cancel: str | None
    waits: str | None
    phase: str | None
    job: str | None
    job_uid: str | None
    namespace: str | None
    pod: str | None
    agent: str | None
    agent_key: str | None
    task: str | None
    session: str | None
    supervisor: str | None
    mine: bool
    unattended: bool
    pushed: bool
    created_at: str | None
    result: Result | None
    execution: Annotated[
        dict[str, Any] | None, Field(description="The result as the control plane stores it: `AdapterExecutionResult`.")
    ]


class RunsAnswer(_Model):
    """Every run that is known."""

    runs: list[RunAnswer]


class Done(_Model):
    """It is done, for this run."""

    run_id: str


class SchemaAnswer(_Model):
    """The agent's configuration: as JSON Schema, and as the control plane's form draws it."""

    json_schema: dict[str, Any]
    ui_schema: dict[str, Any]


class Model(_Model):
    """A model, as `--model` wants it, and its name for people."""

    id: str
    label: str


class Detected(_Model):
    """The model that agents get whose configuration names none."""

    model: str
    provider: str
    source: str


class ModelsAnswer(_Model):
    """The models that an agent can use."""

    models: list[Model]
    detected: Detected | None


class CheckAnswer(_Model):
    """One finding."""

    code: str
    level: Literal["info", "warn", "error"]
    message: str
    detail: str | None = None
    hint: str | None = None


class ReportAnswer(_Model):
    """Whether an agent could be run: the control plane's `AdapterEnvironmentTestResult`."""

    adapter_type: str
    status: Literal["pass", "warn", "fail"]
    checks: list[CheckAnswer]
    tested_at: str


class SkillsAnswer(_Model):
    """The control plane's `AdapterSkillSnapshot`."""

    adapter_type: str
    supported: bool
    mode: str
    desired_skills: list[str]
    entries: list[dict[str, Any]]
    warnings: list[str]


class EntriesAnswer(_Model):
    """For each line the entries that a run viewer shows: Paperclip's `TranscriptEntry`."""

    entries: list[list[dict[str, Any]]]


class HealthAnswer(_Model):
    """The event loop turns; `lag`: how late it was, in seconds."""

    status: Literal["ok"]
    lag: float


class ReadyAnswer(_Model):
    """A run can be taken."""

    status: Literal["ready"]
