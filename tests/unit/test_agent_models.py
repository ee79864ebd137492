"""The models that are offered follow the way the agent reaches them."""

from __future__ import annotations

import json

import pytest

from adapter.agent.models import BEDROCK_MODELS, MODELS, SESSION_MANAGEMENT, models


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"ANTHROPIC_BEDROCK_BASE_URL": "   "},
        {"CLAUDE_CODE_USE_BEDROCK": ""},
        {"CLAUDE_CODE_USE_BEDROCK": "0"},
        {"CLAUDE_CODE_USE_BEDROCK": "false", "ANTHROPIC_BEDROCK_BASE_URL": ""},
        {"ANTHROPIC_BASE_URL": "https://proxy.example"},
    ],
)
def test_by_default_they_are_those_of_the_direct_api(env: dict[str, str]) -> None:
    names = [model["id"] for model in models(env)]
    assert "claude-opus-4-6" in names
    assert not [name for name in names if "anthropic." in name]


@pytest.mark.parametrize(
    "env",
    [
        {"CLAUDE_CODE_USE_BEDROCK": "1"},
        {"CLAUDE_CODE_USE_BEDROCK": "true"},
        {"CLAUDE_CODE_USE_BEDROCK": " Yes "},
        {"ANTHROPIC_BEDROCK_BASE_URL": "https://bedrock.us-east-1.amazonaws.com"},
        {"CLAUDE_CODE_USE_BEDROCK": "0", "ANTHROPIC_BEDROCK_BASE_URL": "https://bedrock.example"},
    ],
)
def test_with_bedrock_they_are_bedrocks(env: dict[str, str]) -> None:
    names = [model["id"] for model in models(env)]
    assert names
    assert all("anthropic." in name and not name.startswith("claude-") for name in names)


@pytest.mark.parametrize("listed", [MODELS, BEDROCK_MODELS])
def test_a_list_is_never_empty_and_names_each_model_once(listed: tuple[dict[str, str], ...]) -> None:
    assert listed
    assert all(set(model) == {"id", "label"} and model["id"] and model["label"] for model in listed)
    assert len({model["id"] for model in listed}) == len({model["label"] for model in listed}) == len(listed)


def test_an_answer_can_be_changed_without_changing_the_list() -> None:
    models({})[0]["id"] = "another"
    assert models({})[0] == MODELS[0]
    assert MODELS[0]["id"] != "another"


def test_sessions_are_resumed_and_compacted_by_the_agent() -> None:
    assert json.loads(json.dumps(SESSION_MANAGEMENT)) == {
        "supportsSessionResume": True,
        "nativeContextManagement": "confirmed",
        "defaultSessionCompaction": {
            "enabled": True,
            "maxSessionRuns": 0,
            "maxRawInputTokens": 0,
            "maxSessionAgeHours": 0,
        },
    }
