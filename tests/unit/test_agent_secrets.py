"""Which values are blotted out of a result, and which are not."""

from __future__ import annotations

from typing import Any

import pytest

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.secrets import secrets_of

UUID = "5f2c9d1e-7b1a-4c58-9a3e-2f6d0b8c4e17"


def found(config: dict[str, Any] | None = None, content: dict[str, str] | None = None, **fields: Any) -> list[str]:
    context = RunContext.parse({"runId": "r", "agent": {"id": "a"}, **fields})
    given = AgentConfig.parse(config or {})
    env = {**given.env, **(content or {})}
    return secrets_of(context, given, {"prompt.txt": b"hush", **{f"env.{n}": v.encode() for n, v in env.items()}})


@pytest.mark.parametrize(
    "name", ["ANTHROPIC_API_KEY", "GITHUB_TOKEN", "DB_PASSWORD", "aws_secret_access_key", "PGPASS", "SENTRY_DSN"]
)
def test_what_is_called_a_secret_is_one(name: str) -> None:
    assert found({"env": {name: "x"}}) == ["x"]
    assert found(content={name: "inherited"}) == ["inherited"]


def test_what_an_agent_is_given_and_looks_like_one_is_one() -> None:
    assert found({"env": {"LICENSE": "AbC123def456GHI789"}}) == ["AbC123def456GHI789"]
    assert found(content={"SOMETHING": "AbC123def456GHI789"}) == []


@pytest.mark.parametrize("value", ["production", "/paperclip/work/1", UUID, "http://host:80/a1b2c3d4e5f6", "1", ""])
def test_what_people_read_is_none(value: str) -> None:
    assert found({"env": {"PLACE": value}}) == []


def test_a_password_in_an_address_is_one() -> None:
    assert found(content={"HTTPS_PROXY": "http://u:hush-hush@proxy:3128"}) == ["hush-hush"]


def test_tokens_of_the_run_and_of_its_tool_servers() -> None:
    servers = {"x": {"command": "x", "env": {"A": "of-env"}}, "y": {"url": "http://y", "headers": {"B": "of-headers"}}}
    runtime = {"servers": [{"name": "z", "url": "http://z", "token": "of-runtime"}]}
    secrets = found({"mcpServers": servers}, runtimeMcp=runtime, authToken="of-run")
    assert secrets == ["of-env", "of-headers", "of-runtime", "of-run"]
