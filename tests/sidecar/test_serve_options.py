"""The options of `claude-k8s serve`, and what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from adapter.cli import serve as command
from adapter.sidecar.keeper import Settings
from adapter.sidecar.pushing import PlaneChoice
from adapter.sidecar.server import Serving


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Serving]:
    """What would be served."""
    seen: list[Serving] = []

    async def serve(serving: Serving, connect: Any, started: Any) -> None:
        seen.append(serving)
        started("http://127.0.0.1:1 (instance x, replica y)")

    monkeypatch.setattr("adapter.sidecar.server.serve", serve)
    monkeypatch.setattr("adapter.sidecar.logs.log_to_stderr", lambda form: None)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return seen


def serving(told: list[Serving], *arguments: str, **env: str) -> Serving:
    result = CliRunner().invoke(command.serve, arguments, env=env, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.stdout == "claude-k8s serve: http://127.0.0.1:1 (instance x, replica y)\n"
    return told[-1]


def test_without_options_it_serves_this_machine(told: list[Serving], tmp_path: Path) -> None:
    assert serving(told) == Serving(
        state=tmp_path / "claude-k8s" / "serve" / "default", settings=Settings(keep=64 << 20)
    )
    assert serving(told, "--instance", "staging").state.name == "staging"


def test_every_option_arrives(told: list[Serving], tmp_path: Path) -> None:
    file = tmp_path / "token"
    given = serving(
        told,
        *("--host", "::1", "--port", "0", "--token-file", str(file), "--state", str(tmp_path / "s"), "--max-runs", "7"),
        *("--plane", "http://plane:1", "--plane-token-file", str(file), "--unattended", "5m", "--journal-bytes", "1Gi"),
        *("--also-namespace", "one", "--also-namespace", "two"),
    )
    assert given == Serving(
        state=tmp_path / "s",
        host="::1",
        port=0,
        token_file=file,
        plane=PlaneChoice("http://plane:1", file),
        settings=Settings(namespaces=("one", "two"), keep=1 << 30, unattended=300),
        max_runs=7,
    )


def test_a_service_of_the_same_name_does_not_set_its_port(told: list[Serving]) -> None:
    """A kubelet sets CLAUDE_K8S_PORT=tcp://... in every pod beside a Service that is named claude-k8s."""
    assert serving(told, CLAUDE_K8S_PORT="tcp://10.96.0.7:8642").port == 8642
    assert serving(told, CLAUDE_K8S_PORT="9000").port == 9000


@pytest.mark.parametrize(("text", "size"), [("5", 5), ("2Ki", 2048), ("3Mi", 3 << 20), ("0", 0)])
def test_sizes(told: list[Serving], text: str, size: int) -> None:
    assert serving(told, "--journal-bytes", text).settings.keep == size
