"""The documents that are read out of the configuration's model, and that they tell the truth about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from adapter.agent import schema
from adapter.agent.config import AgentConfig
from adapter.agent.raw import DOTTED, NO_EFFECT
from tests.unit.configs import CONFIGS

DOCUMENT = Path(schema.__file__).parent.parent.parent / "docs" / "configuration.md"
UI = {field["key"]: field for field in schema.ui_schema()["fields"]}
JSON = schema.json_schema()
WIRE = {str(field.alias) for field in AgentConfig.model_fields.values()}
PLATFORM = {
    "model",
    "effort",
    "instructionsFilePath",
    "timeoutSec",
    "graceSec",
    "extraArgs",
    "env",
    "cwd",
    "promptTemplate",
    "bootstrapPromptTemplate",
    "dangerouslySkipPermissions",
    "command",
}


def test_the_document_is_the_model() -> None:
    assert DOCUMENT.read_text() == schema.markdown(), "run `make docs`"


@pytest.mark.parametrize("name", [*sorted((WIRE - {"resources"}) | set(DOTTED)), *NO_EFFECT])
def test_the_document_has_a_line_for_every_field(name: str) -> None:
    assert schema.markdown().count(f"\n| `{name}` |") == 1


def test_the_form_has_every_field_but_the_control_planes_own() -> None:
    assert set(UI) == WIRE - PLATFORM - {"resources"} | set(DOTTED)
    assert len(UI) == len(schema.ui_schema()["fields"])


@pytest.mark.parametrize("key", sorted(UI))
def test_every_field_of_the_form_can_be_drawn(key: str) -> None:
    field = UI[key]

    assert field["type"] in {"text", "select", "toggle", "number", "textarea", "combobox"}
    assert field["label"]
    assert field["hint"].endswith(".")
    assert field["group"]
    assert set(field) <= {"type", "key", "label", "hint", "options", "default", "group"}


@pytest.mark.parametrize(
    ("key", "default"),
    [
        ("maxTurnsPerRun", 1000),
        ("reattachOrphanedJobs", True),
        ("retainJobs", False),
        ("resources.requests.cpu", "1000m"),
        ("resources.limits.memory", "8Gi"),
        ("ttlSecondsAfterFinished", 3600),
        ("dockerImage", "docker:28-dind"),
    ],
)
def test_defaults_of_the_form(key: str, default: object) -> None:
    assert UI[key]["default"] == default


def test_the_pull_policy_is_chosen_from_three() -> None:
    field = UI["imagePullPolicy"]

    assert (field["type"], field["default"]) == ("select", "IfNotPresent")
    assert [option["value"] for option in field["options"]] == ["IfNotPresent", "Always", "Never"]
    assert all(option["label"] == option["value"] for option in field["options"])


def test_text_areas_are_for_what_reads_lines() -> None:
    areas = {key for key, field in UI.items() if field["type"] == "textarea"}

    assert {key for key in areas if "one a line" not in UI[key]["hint"]} == {"mcpServers"}


def test_a_form_sent_as_it_was_drawn_changes_nothing() -> None:
    drawn = {key: field.get("default", "") for key, field in UI.items()}
    typed = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in drawn.items()}

    assert AgentConfig.parse(drawn).to_json() == AgentConfig.parse(typed).to_json() == AgentConfig().to_json()


def fits(value: Any, rule: dict[str, Any]) -> bool:
    """As much of JSON Schema as ours uses."""
    if "$ref" in rule:
        return fits(value, JSON["$defs"][rule["$ref"].removeprefix("#/$defs/")])
    if "anyOf" in rule:
        return any(fits(value, choice) for choice in rule["anyOf"])
    if "const" in rule or "enum" in rule:
        return value in rule.get("enum", [rule.get("const")])
    return _has_type(value, rule) and _is_within(value, rule) and _fits_inside(value, rule)


def _is_within(value: Any, rule: dict[str, Any]) -> bool:
    return "minimum" not in rule or bool(rule["minimum"] <= value <= rule["maximum"])


def _has_type(value: Any, rule: dict[str, Any]) -> bool:
    types = {"string": str, "integer": int, "number": int | float, "array": list, "object": dict, "null": type(None)}
    if isinstance(value, bool):
        return bool(rule["type"] == "boolean")
    return rule["type"] != "boolean" and isinstance(value, types[rule["type"]])


def _fits_inside(value: Any, rule: dict[str, Any]) -> bool:
    if isinstance(value, list):
        return all(fits(item, rule["items"]) for item in value)
    if not isinstance(value, dict):
        return True
    known, other = rule.get("properties", {}), rule.get("additionalProperties", True)
    rules = {name: known.get(name, other) for name in value}
    return all(each if isinstance(each, bool) else fits(value[name], each) for name, each in rules.items())


@settings(deadline=None)
@given(raw=CONFIGS)
def test_what_is_taken_fits_the_schema(raw: dict[str, Any]) -> None:
    assert fits(raw, JSON)
    assert fits(AgentConfig.parse(raw).to_json(), JSON)


@pytest.mark.parametrize(
    "wrong",
    [
        {"timeoutSec": -1},
        {"retainJobs": "maybe"},
        {"imagePullPolicy": "Sometimes"},
        {"env": {"A": []}},
        {"resources.limits.cpu": []},
        {"resources": {"limits": {"cpu": {}}}},
        {"tolerations": [{"effcet": ""}]},
    ],
)
def test_what_does_not_fit_the_schema(wrong: dict[str, Any]) -> None:
    assert not fits(wrong, JSON)


def test_the_schema_knows_every_field_and_takes_unknown_ones() -> None:
    assert set(JSON["properties"]) == WIRE | set(DOTTED)
    assert fits({"namesapce": 1, "resources": {"limits": {"nvidia.com/gpu": 1}}}, JSON)
    assert JSON["$schema"].startswith("https://json-schema.org/")


@pytest.mark.parametrize("name", sorted(WIRE))
def test_every_field_of_the_schema_is_explained(name: str) -> None:
    field = AgentConfig.model_fields[next(key for key, one in AgentConfig.model_fields.items() if one.alias == name)]

    assert field.title
    assert field.description
