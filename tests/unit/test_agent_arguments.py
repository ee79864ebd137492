"""The agent's command line."""

from __future__ import annotations

from typing import Any

import pytest

from adapter.agent.arguments import LONGEST, arguments
from adapter.agent.bundle import INSTRUCTIONS, Bundle
from adapter.agent.config import AgentConfig
from adapter.agent.selfpod import Claim
from adapter.agent.workspace import Workspace
from adapter.errors import InvalidRequest

FIRST = ("--print", "-", "--output-format", "stream-json", "--verbose")
SHARED = Workspace(mount="/paperclip", claim=Claim("data"), cwd="/paperclip")
EMPTY = Workspace(mount="/paperclip", claim=None, cwd="/paperclip")
SKILLED = Bundle({".claude/skills/a/SKILL.md": b"x"}, {}, ("a",))
INSTRUCTED = Bundle({INSTRUCTIONS: b"x"})
BUNDLED = "/run/claude-k8s/in/bundle"


def made(
    config: dict[str, Any] | None = None,
    *,
    session: str | None = None,
    bundle: Bundle | None = None,
    mcp: bool = False,
    workspace: Workspace = SHARED,
) -> tuple[str, ...]:
    parsed = AgentConfig.parse({"maxTurnsPerRun": 0, "dangerouslySkipPermissions": False} | (config or {}))
    return arguments(parsed, workspace, session=session, bundle=bundle or Bundle(), mcp=mcp)


def test_the_defaults() -> None:
    assert arguments(AgentConfig(), SHARED, session=None, bundle=Bundle(), mcp=False) == (
        *FIRST,
        "--dangerously-skip-permissions",
        *("--max-turns", "1000"),
    )


@pytest.mark.parametrize(
    ("given", "more"),
    [
        ({}, ()),
        ({"config": {"model": "m"}}, ("--model", "m")),
        ({"config": {"effort": "high"}}, ("--effort", "high")),
        ({"config": {"maxTurnsPerRun": 5}}, ("--max-turns", "5")),
        ({"config": {"dangerouslySkipPermissions": True}}, ("--dangerously-skip-permissions",)),
        ({"config": {"extraArgs": ["--x", "a b", ""]}}, ("--x", "a b", "")),
        ({"session": "s-1"}, ("--resume", "s-1")),
        ({"mcp": True}, ("--mcp-config", "/run/claude-k8s/in/mcp.json", "--strict-mcp-config")),
        ({"bundle": SKILLED}, ("--add-dir", BUNDLED)),
        ({"bundle": SKILLED, "session": "s"}, ("--resume", "s", "--add-dir", BUNDLED)),
        ({"bundle": INSTRUCTED}, ("--append-system-prompt-file", f"{BUNDLED}/{INSTRUCTIONS}")),
        ({"bundle": INSTRUCTED, "session": "s"}, ("--resume", "s")),
    ],
)
def test_what_is_asked_for_is_an_argument(given: dict[str, Any], more: tuple[str, ...]) -> None:
    assert made(**given) == (*FIRST, *more)


@pytest.mark.parametrize(
    ("path", "workspace", "session", "given"),
    [
        ("/paperclip/AGENTS.md", SHARED, None, True),
        ("/paperclip/AGENTS.md", SHARED, "s", False),
        ("/paperclip/AGENTS.md", EMPTY, None, False),
        ("/home/me/AGENTS.md", SHARED, None, False),
        ("", SHARED, None, False),
    ],
)
def test_instructions_that_are_not_bundled_are_read_where_the_pod_has_them(
    path: str, workspace: Workspace, session: str | None, given: bool
) -> None:
    found = made({"instructionsFilePath": path}, workspace=workspace, session=session)

    assert (("--append-system-prompt-file", path) == found[-2:]) == given


def test_the_bundles_instructions_are_preferred_to_the_path() -> None:
    found = made({"instructionsFilePath": "/paperclip/AGENTS.md"}, bundle=INSTRUCTED)

    assert found[-1] == f"{BUNDLED}/{INSTRUCTIONS}"


def test_extra_arguments_are_last() -> None:
    found = made({"extraArgs": "--x y", "model": "m"}, bundle=SKILLED, mcp=True, session="s")

    assert found[-2:] == ("--x", "y")


@pytest.mark.parametrize("session", ["--dangerous", "a b", "a\0b", "a\nb"])
def test_a_session_that_would_be_another_option_is_refused(session: str) -> None:
    with pytest.raises(InvalidRequest, match=r"context\.runtime\.sessionId "):
        made(session=session)


def test_arguments_without_end_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=f"more than {LONGEST}: put what is long into a file"):
        made({"extraArgs": ["x" * 100_000] * 3})
