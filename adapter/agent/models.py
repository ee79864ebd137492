"""What the control plane can offer its users before any run: models, and how sessions are kept. Plain data.

The ids are facts of the day: the platform's model overview and Amazon Bedrock's list of inference profiles. A model
that is not listed can be configured all the same; nothing is checked against these lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_TRUE = frozenset({"1", "true", "yes"})

Model = dict[str, str]
"""A model as the control plane takes it: `id`, as the CLI's `--model` wants it, and `label`, for people."""


def _listed(models: Iterable[tuple[str, str]]) -> tuple[Model, ...]:
    return tuple({"id": name, "label": label} for name, label in models)


MODELS = _listed(
    (
        ("claude-opus-5-5", "Claude Opus 5.5"),
        ("claude-sonnet-5-5", "Claude Sonnet 5.5"),
        ("claude-haiku-5-5", "Claude Haiku 5.5"),
        ("claude-fable-5-1", "Claude Fable 5.1"),
        ("claude-opus-5", "Claude Opus 5"),
        ("claude-sonnet-5", "Claude Sonnet 5"),
        ("claude-opus-4-8", "Claude Opus 4.8"),
        ("claude-opus-4-7", "Claude Opus 4.7"),
        ("claude-opus-4-6", "Claude Opus 4.6"),
        ("claude-sonnet-4-6", "Claude Sonnet 4.6"),
        ("claude-sonnet-4-5-20250929", "Claude Sonnet 4.5"),
        ("claude-haiku-4-5-20251001", "Claude Haiku 4.5"),
    )
)
"""The models of the Anthropic API. Also what a form shows before anybody was asked: an empty list there meant that no
model could be chosen at all."""

BEDROCK_MODELS = _listed(
    (
        ("global.anthropic.claude-opus-5-5", "Bedrock Opus 5.5"),
        ("global.anthropic.claude-sonnet-5-5", "Bedrock Sonnet 5.5"),
        ("global.anthropic.claude-fable-5-1", "Bedrock Fable 5.1"),
        ("global.anthropic.claude-opus-5", "Bedrock Opus 5"),
        ("global.anthropic.claude-sonnet-5", "Bedrock Sonnet 5"),
        ("global.anthropic.claude-opus-4-8", "Bedrock Opus 4.8"),
        ("global.anthropic.claude-opus-4-6-v1", "Bedrock Opus 4.6"),
        ("global.anthropic.claude-sonnet-4-6", "Bedrock Sonnet 4.6"),
        ("global.anthropic.claude-haiku-4-5-20251001-v1:0", "Bedrock Haiku 4.5"),
    )
)
"""The same models as Amazon Bedrock names them. Global profiles, which work in every region: those of a geography
(`us.`, `eu.`) exist only there."""

SESSION_MANAGEMENT: Mapping[str, Any] = {
    "supportsSessionResume": True,
    "nativeContextManagement": "confirmed",
    "defaultSessionCompaction": {
        "enabled": True,
        "maxSessionRuns": 0,
        "maxRawInputTokens": 0,
        "maxSessionAgeHours": 0,
    },
}
"""That sessions are resumed, and that the agent compacts its context itself: 0 sets no limit of the control plane's."""


def models(env: Mapping[str, str]) -> list[Model]:
    """The models an agent with this environment can use: Bedrock's where it is set to use Bedrock.

    That is `CLAUDE_CODE_USE_BEDROCK` being 1, true or yes, or an `ANTHROPIC_BEDROCK_BASE_URL` that is not blank.
    """
    return [dict(model) for model in (BEDROCK_MODELS if _bedrock(env) else MODELS)]


def _bedrock(env: Mapping[str, str]) -> bool:
    wanted = env.get("CLAUDE_CODE_USE_BEDROCK", "").strip().lower() in _TRUE
    return wanted or bool(env.get("ANTHROPIC_BEDROCK_BASE_URL", "").strip())
