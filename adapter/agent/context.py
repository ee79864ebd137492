"""What a control plane gives for one run, as it gives it: camelCase on the wire, unknown fields kept and reported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from adapter.agent import checks
from adapter.agent.plain import plain
from adapter.agent.problems import explain, shown
from adapter.errors import InvalidRequest

UNUSED = frozenset(
    {"runtimeCommandSpec", "executionTransport", "executionContinuation", "runtimeTools", "startupTraceContext"}
)
"""Fields that a control plane sends (paperclip 2026.916.1) and that mean nothing to a Job: nothing to report."""


def _or_empty(value: object) -> object:
    return {} if value is None else value


def _or_none(value: object) -> object:
    return None if isinstance(value, str) and not value.strip() else value


def _or_blank(value: object) -> object:
    return "" if value is None else value


def _secret(value: SecretStr) -> SecretStr:
    checks.text(value.get_secret_value())
    return value


def _servers(value: object) -> object:
    return value.get("servers") if isinstance(value, dict) else value


Identifier = Annotated[str, AfterValidator(checks.identifier)]
Text = Annotated[str, BeforeValidator(_or_blank), AfterValidator(checks.text)]
Secret = Annotated[Annotated[SecretStr, AfterValidator(_secret)] | None, BeforeValidator(_or_none)]
Raw = Annotated[dict[str, Any], BeforeValidator(_or_empty), Field(repr=False)]
"""A document of the control plane's: kept as it is. It may hold secrets, so no `repr` shows it."""
Word = Annotated[str | None, BeforeValidator(_or_none)]


class _Wire(BaseModel):
    """A part of the context. Frozen; what it does not know is kept, and is not shown either."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="allow", hide_input_in_errors=True
    )

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        # Pydantic's own shows the unknown fields too, and `runtimeTools` holds a bearer token.
        yield from ((name, getattr(self, name)) for name, field in type(self).model_fields.items() if field.repr)


class AgentRef(_Wire):
    """Whose run it is. The control plane sends its whole row of the agent."""

    id: Identifier
    company_id: Text = ""
    name: Text = ""
    adapter_type: str | None = None
    adapter_config: Raw = Field(default_factory=dict)


class Runtime(_Wire):
    """What is left of the agent's run before this one, on the same task."""

    session_id: Word = None
    session_params: dict[str, Any] | None = Field(default=None, repr=False)
    session_display_id: Word = None
    task_key: Word = None


class McpServer(_Wire):
    """A tool server that the control plane runs for this run."""

    name: Identifier
    url: str = Field(repr=False)
    token: Secret = None
    connection_id: str | None = None


class RunContext(_Wire):
    """One request of a control plane to execute an agent.

    `config` is the agent's configuration with its secrets resolved (`AgentConfig.parse` reads it), `context` the wake
    data with keys as the control plane writes them, `instructions` the content of the instructions file where the
    caller could read it and this machine cannot, `runtime_mcp` the tool servers of this run.
    """

    run_id: Identifier
    agent: AgentRef
    runtime: Annotated[Runtime, BeforeValidator(_or_empty)] = Field(default_factory=Runtime)
    config: Raw = Field(default_factory=dict)
    context: Raw = Field(default_factory=dict)
    auth_token: Secret = None
    execution_target: dict[str, Any] | None = Field(default=None, repr=False)
    runtime_mcp: Annotated[tuple[McpServer, ...] | None, BeforeValidator(_servers)] = Field(default=None, repr=False)
    instructions: str | None = Field(default=None, alias="instructionsContent", repr=False)

    @classmethod
    def parse(cls, data: object) -> RunContext:
        """The context of plain JSON. Raises `InvalidRequest`, which names every field that is wrong in one line."""
        try:
            return cls.model_validate(plain(data))
        except ValidationError as error:
            problems = explain(error, "context")
        except ValueError as error:
            problems = f"context {error}"
        # Raised outside of the handler: the exception that was handled there holds the input, secrets included.
        raise InvalidRequest(problems)

    def unknown(self) -> tuple[str, ...]:
        """Names of the fields that nobody here reads, such as `runtime.newThing`.

        The agent's row is not looked into: its columns are the control plane's own.
        """
        parts = {"": self, "runtime.": self.runtime}
        parts |= {f"runtimeMcp[{number}].": server for number, server in enumerate(self.runtime_mcp or ())}
        names = (place + shown(name) for place, part in parts.items() for name in part.model_extra or ())
        return tuple(sorted(name for name in names if name not in UNUSED))

    @property
    def task_id(self) -> str | None:
        """The task that the run works on."""
        return self._text("taskId") or self._text("issueId")

    @property
    def retry_of(self) -> str | None:
        """The run that this one is a new try of."""
        return self._text("retryOfRunId")

    @property
    def session_id(self) -> str | None:
        """The session to resume, if the agent has one on this task."""
        kept = self.runtime.session_params or {}
        found = (self.runtime.session_id, kept.get("sessionId"), kept.get("session_id"))
        return next((one.strip() for one in found if isinstance(one, str) and one.strip()), None)

    @property
    def workspace(self) -> dict[str, Any]:
        """Where the control plane wants the work done; its paths are those of the control plane's host."""
        found = self.context.get("paperclipWorkspace")
        return found if isinstance(found, dict) else {}

    def _text(self, key: str) -> str | None:
        found = self.context.get(key)
        return found.strip() or None if isinstance(found, str) else None
