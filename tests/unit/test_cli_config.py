"""`claude-k8s config`: what is set, and where; and nothing secret of it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.cli import FAILED, _status
from adapter.cli.clusters import default_instance
from adapter.cli.config import MASK, masked

CANARY = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in os.environ:
        if name.startswith("CLAUDE_K8S_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def configure(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "claude-k8s" / "config.toml"
    path.parent.mkdir()
    path.write_text(text)
    return path


def said(capfd: pytest.CaptureFixture[str], status: int = 0) -> tuple[dict[str, Any], str]:
    """The settings by name, each its first line, and what was complained of."""
    assert _status(["config", "--json"]) == status
    out, err = capfd.readouterr()
    return json.loads(out), err


def line(told: dict[str, Any], name: str, part: str = "settings") -> tuple[Any, str]:
    return next((one["value"], one["source"]) for one in told[part] if one["name"] == name)


def test_what_is_not_set_has_its_default(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told, err = said(capfd)
    assert (told["file"], told["exists"]) == (str(tmp_path / "claude-k8s" / "config.toml"), False)
    assert line(told, "image") == ("busybox:1.36", "default")
    assert line(told, "namespace") == (None, "default")
    assert line(told, "instance") == (default_instance(), "default")
    assert (told["agent"], told["problems"], err) == ([], [], "")


def test_where_each_comes_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(tmp_path, 'image = "from-file"\ntimeout = "2m"\nservice-token-file = "/run/token"\n')
    monkeypatch.setenv("CLAUDE_K8S_IMAGE", "from-environment")
    told, _ = said(capfd)
    assert told["exists"]
    assert line(told, "image") == ("from-environment", "CLAUDE_K8S_IMAGE")
    assert line(told, "timeout") == (120, "file: timeout")
    assert line(told, "service-token-file") == ("/run/token", "file: service-token-file")


def test_the_commands_of_a_command_have_settings_too(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLAUDE_K8S_URL", "http://127.0.0.1:1")
    told, _ = said(capfd)
    assert next(one for one in told["settings"] if one["name"] == "url") == {
        "name": "url",
        "value": "http://127.0.0.1:1",
        "source": "CLAUDE_K8S_URL",
        "commands": ["paperclip install"],
    }


def test_an_agents_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    configure(tmp_path, f'[agent]\nimage = "claude:1"\ngrace-sec = 5\nmodel = "opus"\nenv = {{KEY = "{CANARY}"}}\n')
    monkeypatch.setenv("CLAUDE_K8S_CWD", "/work")
    told, err = said(capfd)
    assert line(told, "image", "agent") == ("claude:1", "configuration file: agent.image")
    assert line(told, "graceSec", "agent") == (5, "configuration file: agent.grace-sec")
    assert line(told, "cwd", "agent") == ("/work", "CLAUDE_K8S_CWD")
    assert line(told, "env", "agent") == ({"KEY": MASK}, "configuration file: agent.env")
    assert "agent.model has no effect on a call of claude" in err


def test_nothing_secret_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    mcp = f'{{x = {{command = "a", args = ["{CANARY}"], env = {{A = "{CANARY}"}}}}}}'
    table = f'[agent]\nenv = {{KEY = "{CANARY}", API_TOKEN = "{CANARY}"}}\nmcpServers = {mcp}\n'
    configure(tmp_path, f'env = ["TOKEN={CANARY}"]\nservice = "https://me:{CANARY}@host/"\n{table}')
    monkeypatch.setenv("CLAUDE_K8S_TOKEN", CANARY)
    assert _status(["config", "--json"]) == 0
    assert _status(["config"]) == 0
    out, err = capfd.readouterr()
    assert CANARY not in out + err
    assert "https://***@host/" in out
    assert '"KEY": "***"' in out
    assert out.count("CLAUDE_K8S_TOKEN") == 4


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("CLAUDE_K8S_TIMEOUT", "soon", "CLAUDE_K8S_TIMEOUT: 'soon' is no duration"),
        ("CLAUDE_K8S_IMGAE", "x", "CLAUDE_K8S_IMGAE: no setting has this name"),
        ("CLAUDE_K8S_GRACE_SEC", "soon", "CLAUDE_K8S_GRACE_SEC"),
        ("CLAUDE_K8S_AGENT_CONFIG", "/no/such/file", "/no/such/file"),
    ],
)
def test_what_is_not_valid_is_named(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    told, err = said(capfd, status=1)
    assert words in "\n".join(told["problems"])
    assert words in err


@pytest.mark.parametrize(("text", "words"), [("imgae = 1", "unknown setting 'imgae'"), ("image = ", "config.toml: ")])
def test_a_file_that_is_not_valid(tmp_path: Path, text: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    configure(tmp_path, text)
    assert _status(["config"]) == FAILED
    assert words in capfd.readouterr().err


def test_a_file_that_a_setting_names_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """`--result FILE` is opened, and emptied, when it is taken for a command's option."""
    path = tmp_path / "result.json"
    path.write_text("precious")
    monkeypatch.setenv("CLAUDE_K8S_RESULT", str(path))
    told, _ = said(capfd)
    assert line(told, "result") == (str(path), "CLAUDE_K8S_RESULT")
    assert path.read_text() == "precious"


def test_a_page_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CLAUDE_K8S_WORKDIR", "/x\x1b[2J")
    assert _status(["config"]) == 0
    head, empty, columns, *lines = capfd.readouterr().out.splitlines()
    assert (head, empty) == (f"configuration file: {tmp_path}/claude-k8s/config.toml (not there)", "")
    assert columns.split() == ["SETTING", "VALUE", "FROM"]
    assert any(words.startswith("port ") and words.endswith("0             default (local)") for words in lines)
    assert any(words.split() == ["workdir", "/x", "[2J", "CLAUDE_K8S_WORKDIR"] for words in lines)


SECRETS = st.sampled_from(["apiKey", "TOKEN", "client-secret", "Password", "authorization"])
PLACES = st.sampled_from(["env", "headers", "args", "mcpServers"])


@given(SECRETS | PLACES, st.recursive(st.just(CANARY), lambda inner: st.lists(inner) | st.dictionaries(PLACES, inner)))
def test_no_depth_and_no_shape_lets_a_secret_through(name: str, value: Any) -> None:
    assert CANARY not in json.dumps(masked("agent", {"config": {name: value}}))


@pytest.mark.parametrize("name", ["secretRef", "imagePullSecrets", "token-file", "plane_token_file"])
def test_where_a_secret_is_may_be_known(name: str) -> None:
    assert masked(name, "a-name") == "a-name"
