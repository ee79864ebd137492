"""The configuration's documents: JSON Schema, the UI's schema and `docs/configuration.md`, read out of its model."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from adapter.agent.config import PLATFORM, AgentConfig
from adapter.agent.raw import NO_EFFECT

_KINDS = {"string": "text", "integer": "number", "number": "number", "array": "list"}


def json_schema() -> dict[str, Any]:
    """What `AgentConfig.parse` takes, as JSON Schema: also the text that a form sends, also dotted resources.

    That null stands for a field that is not there is not said of each field.
    """
    made = AgentConfig.model_json_schema(by_alias=True)
    dotted = {key: made["$defs"][type(part).__name__]["properties"][name] for key, name, part in _resources()}
    return made | {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "claude_k8s",
        "description": "The configuration of an agent that runs as Kubernetes Jobs.",
        "properties": made["properties"] | dotted,
        # What is not known is reported, not refused.
        "additionalProperties": True,
    }


def ui_schema() -> dict[str, list[dict[str, Any]]]:
    """The fields of our own as the control plane's form draws them; it has controls for the others already."""
    return {"fields": [_drawn(key, field) for key, field in _fields() if "x-control" in _extra(field)]}


def markdown() -> str:
    """The document `docs/configuration.md`."""
    properties = json_schema()["properties"]
    groups: dict[str, list[str]] = {}
    for key, field in _fields():
        line = f"| `{key}` | {_kind(properties[key])} | {_default(field)} | {field.description} |\n"
        groups.setdefault(_extra(field)["x-group"], []).append(line)
    groups[PLATFORM] = groups.pop(PLATFORM)
    tables = [f"## {group}\n\n{_TABLE}{''.join(lines)}" for group, lines in groups.items()]
    return "\n".join([_HEAD, *tables, _TAIL + "".join(f"| `{key}` | {why} |\n" for key, why in NO_EFFECT.items())])


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    """Every field by its wire name, the resources as the four that a form shows."""
    for name, field in AgentConfig.model_fields.items():
        if name == "resources":
            yield from ((key, type(part).model_fields[name]) for key, name, part in _resources())
        else:
            yield str(field.alias), field


def _resources() -> Iterator[tuple[str, str, BaseModel]]:
    bounds = AgentConfig().resources
    for kind, part in (("requests", bounds.requests), ("limits", bounds.limits)):
        yield from ((f"resources.{kind}.{name}", name, part) for name in type(part).model_fields)


def _extra(field: FieldInfo) -> dict[str, Any]:
    return dict(field.json_schema_extra) if isinstance(field.json_schema_extra, dict) else {}


def _drawn(key: str, field: FieldInfo) -> dict[str, Any]:
    extra = _extra(field)
    made = {"type": extra["x-control"], "key": key, "label": field.title, "hint": field.description}
    if extra["x-control"] == "select":
        made["options"] = [{"label": value, "value": value} for value in get_args(field.annotation)]
    if _is_set(field):
        made["default"] = field.default
    return made | {"group": extra["x-group"]}


def _is_set(field: FieldInfo) -> bool:
    return field.default not in (None, "", (), {})


def _default(field: FieldInfo) -> str:
    return f"`{json.dumps(field.default)}`" if _is_set(field) else ""


def _kind(schema: dict[str, Any]) -> str:
    """The types of a field in words."""
    choices = [choice for choice in schema.get("anyOf", [schema]) if choice.get("type") != "null"]
    if choices[0].get("type") == "boolean":
        return "true or false"
    return " or ".join(dict.fromkeys(_word(choice) for choice in choices))


def _word(choice: dict[str, Any]) -> str:
    if "enum" in choice:
        return ", ".join(f"`{value}`" for value in choice["enum"])
    return _KINDS.get(choice.get("type", ""), "object")


_TABLE = "| field | type | default | meaning |\n|---|---|---|---|\n"

_HEAD = """\
# The agent's configuration

Generated from `adapter/agent/config.py` by `make docs`; do not edit.

Durations are whole seconds. A field that is null, or text without a visible character, is as if it were not there.
Every field may be sent as a form sends it: numbers and truth values as text, lists as JSON or with one item a line,
objects as JSON or in lines of `key=value` (blank lines and lines that begin with `#` do not count), resources nested or
dotted. A request for more than the default limit raises the limit, and a limit below the default request lowers the
request; a request above a limit that was set is refused.

What is wrong is refused before anything is started, with every field that is wrong in one line. A field that nobody
reads does no harm, and is reported.

An execution target whose kind or transport is `k8s` or `kubernetes` has a `config` of its own: each field that is set
there takes the place of the agent's, whole (objects are not merged).
"""

_TAIL = """\
## Fields without effect

Fields of the adapter before this one. They are reported.

| field | why |
|---|---|
"""
