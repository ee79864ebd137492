"""The types of the configuration's fields: what a form may send for each, and which rules it must keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from adapter.agent import checks, forms
from adapter.agent.plain import plain

LARGEST = 2**31 - 1
"""The largest number of seconds: the API server takes no longer deadline for a pod."""


def _or_empty(rule: Callable[[str], str]) -> Callable[[str], str]:
    """The rule for a field whose empty text means that it is not set."""
    return lambda value: rule(value) if value else value


_TRIMMED = BeforeValidator(forms.trimmed)
_SEQUENCE = BeforeValidator(forms.sequence, json_schema_input_type=list[str] | str)
_ARGUMENTS = BeforeValidator(forms.arguments, json_schema_input_type=list[str] | str)
_SCALAR = BeforeValidator(forms.scalar, json_schema_input_type=int | float | str)

Text = Annotated[str, AfterValidator(checks.text)]
Word = Annotated[str, _TRIMMED, AfterValidator(_or_empty(checks.word))]
Namespace = Annotated[str, _TRIMMED, AfterValidator(_or_empty(checks.namespace))]
Name = Annotated[str, _TRIMMED, AfterValidator(_or_empty(checks.object_name))]
Image = Annotated[str, _TRIMMED, AfterValidator(_or_empty(checks.image))]
Path = Annotated[str, _TRIMMED, AfterValidator(_or_empty(checks.path))]
MountPath = Annotated[str, _TRIMMED, AfterValidator(checks.mount_path)]
Switch = Annotated[bool, BeforeValidator(forms.trimmed, json_schema_input_type=bool | Literal["true", "false"])]

_Natural = Annotated[int, Field(ge=0, le=LARGEST)]
_Positive = Annotated[int, Field(ge=1, le=LARGEST)]
Count = Annotated[_Natural, BeforeValidator(forms.integer, json_schema_input_type=_Natural | str)]
Seconds = Count
Budget = Annotated[_Positive, BeforeValidator(forms.integer, json_schema_input_type=_Positive | str)]
Deadline = Annotated[_Natural | None, BeforeValidator(forms.deadline, json_schema_input_type=_Natural | str | None)]

Argument = Annotated[str, AfterValidator(checks.argument)]
Arguments = Annotated[tuple[Argument, ...], _ARGUMENTS]
Names = Annotated[tuple[Annotated[str, _TRIMMED, AfterValidator(checks.object_name)], ...], _SEQUENCE]
Pattern = Annotated[str, _TRIMMED, AfterValidator(checks.pattern)]
Patterns = Annotated[tuple[Pattern, ...], _SEQUENCE]
PatternsOrUnset = Annotated[
    tuple[Pattern, ...] | None,
    BeforeValidator(forms.optional(forms.sequence), json_schema_input_type=list[str] | str | None),
]

_LabelKey = Annotated[str, _TRIMMED, AfterValidator(checks.label_key)]
_LabelValue = Annotated[str, _SCALAR, AfterValidator(checks.label_value)]
Labels = Annotated[
    dict[_LabelKey, _LabelValue], BeforeValidator(forms.mapping, json_schema_input_type=dict[str, str] | str)
]
LabelsOrUnset = Annotated[
    dict[_LabelKey, _LabelValue] | None,
    BeforeValidator(forms.optional(forms.mapping), json_schema_input_type=dict[str, str] | str | None),
]


class _Part(BaseModel):
    """A part of the configuration: frozen, with its wire names or ours."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, hide_input_in_errors=True)


class PlainValue(BaseModel):
    """How the control plane stores the value of a variable that is no secret."""

    type: Literal["plain"]
    value: str


def _resolved(value: object) -> object:
    """The text of a variable's value: what the control plane resolved, or a number as JSON writes it."""
    if not isinstance(value, dict):
        return forms.untrimmed_scalar(value)
    if value.get("type") != "plain":
        raise ValueError("is a reference that nobody resolved: the control plane gives its value, or leave it out")
    return forms.untrimmed_scalar(value.get("value"))


def _fitting(variables: dict[str, str]) -> dict[str, str]:
    for name, value in variables.items():
        try:
            checks.env_value(name, value)
        except ValueError as error:
            raise ValueError(f"[{name!r}] {error}") from None
    return variables


_EnvName = Annotated[str, AfterValidator(checks.env_name)]
_Given = str | int | float | bool | PlainValue
_EnvValue = Annotated[str, BeforeValidator(_resolved, json_schema_input_type=_Given), AfterValidator(checks.text)]
Env = Annotated[
    dict[_EnvName, _EnvValue],
    BeforeValidator(forms.variables, json_schema_input_type=dict[str, _Given] | str),
    AfterValidator(_fitting),
]


def _server(value: object) -> object:
    """One MCP server: how Claude Code starts it, or where it is."""
    made = plain(value)
    if isinstance(made, dict) and not any(isinstance(made.get(key), str) for key in ("command", "url")):
        raise ValueError("has neither a command nor a url, so it cannot be started or reached")
    return made


def _servers(value: object) -> object:
    """The servers by name, also as a whole `.mcp.json` has them."""
    made = forms.document(value)
    return made["mcpServers"] if isinstance(made, dict) and list(made) == ["mcpServers"] else made


_ServerName = Annotated[str, AfterValidator(checks.identifier)]
McpServers = Annotated[
    dict[_ServerName, Annotated[dict[str, Any], BeforeValidator(_server)]],
    BeforeValidator(_servers, json_schema_input_type=dict[str, dict[str, Any]] | str),
]


_AnyInteger = Annotated[int, Field(ge=-LARGEST, le=LARGEST)]
_TolerationSeconds = Annotated[_AnyInteger, BeforeValidator(forms.integer, json_schema_input_type=_AnyInteger | str)]


class Toleration(_Part):
    """Which taint of a node is tolerated, and for how many seconds; for ever if unset."""

    # Part of one would tolerate what nobody meant: here a misspelt field is refused.
    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, _TRIMMED, AfterValidator(_or_empty(checks.label_key))] = ""
    operator: Literal["Equal", "Exists"] = "Equal"
    value: Annotated[str, _SCALAR, AfterValidator(checks.label_value)] = ""
    effect: Literal["", "NoSchedule", "PreferNoSchedule", "NoExecute"] = ""
    toleration_seconds: _TolerationSeconds | None = None

    @model_validator(mode="after")
    def _as_the_api_server_takes_it(self) -> Toleration:
        if self.operator == "Exists" and self.value:
            raise ValueError("has a value, which goes with the operator Equal alone")
        if self.operator == "Equal" and not self.key:
            raise ValueError("has no key, which goes with the operator Exists alone")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise ValueError("has tolerationSeconds, which go with the effect NoExecute alone")
        return self

    def manifest(self) -> dict[str, Any]:
        """The toleration of a pod spec."""
        made = self.model_dump(by_alias=True, exclude_none=True)
        return {name: value for name, value in made.items() if value != ""}


TolerationsOrUnset = Annotated[
    tuple[Toleration, ...] | None,
    BeforeValidator(forms.optional(forms.tolerations), json_schema_input_type=list[Toleration] | str | None),
]

_Cpu = Annotated[str, _SCALAR, AfterValidator(checks.cpu)]
_Memory = Annotated[str, _SCALAR, AfterValidator(checks.memory)]
CpuLimit = Annotated[str, _SCALAR, AfterValidator(checks.more_than_nothing(checks.cpu))]
MemoryLimit = Annotated[str, _SCALAR, AfterValidator(checks.more_than_nothing(checks.memory))]


def _bound(default: str, label: str, hint: str) -> Any:
    return Field(default, title=label, description=hint, json_schema_extra={"x-group": "Pod", "x-control": "text"})


class Requests(_Part):
    """What a node must have free for the agent."""

    cpu: _Cpu = _bound("1000m", "CPU request", "What a node must have free, such as 500m or 2.")
    memory: _Memory = _bound("2Gi", "Memory request", "What a node must have free, such as 512Mi or 2Gi.")


class Limits(_Part):
    """What the agent may use at most."""

    cpu: CpuLimit = _bound("4000m", "CPU limit", "What the agent gets at most, such as 500m or 2.")
    memory: MemoryLimit = _bound("8Gi", "Memory limit", "Beyond it the agent is killed; such as 512Mi or 2Gi.")


class Resources(_Part):
    """Both bounds of the agent's container."""

    requests: Requests = Field(default_factory=Requests)
    limits: Limits = Field(default_factory=Limits)

    def fitted(self) -> Resources:
        """The same, with a default bent to what was set beside it: whoever asks for 16Gi has a limit that allows it.

        Raises ValueError for a request above its limit where both were set.
        """
        requests, limits = self.requests, self.limits
        for name in ("cpu", "memory"):
            asked, allowed = getattr(requests, name), getattr(limits, name)
            if checks.amount(asked) <= checks.amount(allowed):
                continue
            if name not in self.limits.model_fields_set:
                limits = limits.model_copy(update={name: asked})
            elif name not in self.requests.model_fields_set:
                requests = requests.model_copy(update={name: allowed})
            else:
                raise ValueError(f".requests.{name} {asked!r} is more than resources.limits.{name} {allowed!r}")
        return Resources(requests=requests, limits=limits)
