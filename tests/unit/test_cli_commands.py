"""The list of commands, and the page that describes them."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapter.cli import COMMANDS, _status

PAGE = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_on_the_page(name: str) -> None:
    assert any(f"`{name}" in line for line in PAGE.splitlines() if line.startswith("| `"))


@pytest.mark.parametrize("name", ["ps", "logs", "attach", "cancel", "describe", "config"])
def test_every_command_explains_itself(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert _status([name, "--help"]) == 0
    assert f"Usage: claude-k8s {name} [OPTIONS]" in capfd.readouterr().out
