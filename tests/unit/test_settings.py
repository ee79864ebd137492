"""Flag over environment over file; what is wrong is one line and exit 125."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from adapter.cli import FAILED, _status
from adapter.cli.settings import Duration
from adapter.errors import Code
from adapter.run import Outcome, RunRequest, RunResult


class Session:
    """Stands for the one that would run: keeps the request and the choice of a cluster."""

    last: Session | None = None
    result: RunResult | None = RunResult(run_id="r", outcome=Outcome.SUCCEEDED, code=Code.OK, message="fine")

    def __init__(self, run_id: str, choice: Any, output: Any, start: Any, again: str) -> None:
        self.run_id, self.choice, self.output, self.again, self._start = run_id, choice, output, again, start
        self.request = RunRequest(run_id="none", command=("none",))
        Session.last = self

    async def run(self, request: RunRequest | None = None, plane: Any = None) -> RunResult | None:
        """The session's own, and, called by what it starts, an adapter's."""
        if request is None:
            await self._start(self, plane)
        self.request = request or self.request
        return self.result


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr("adapter.cli.run.Session", Session)
    monkeypatch.setattr("adapter.cli.run.log_to_stderr", lambda *, verbose: None)
    Session.last = None


def configure(tmp_path: Path, text: str) -> None:
    (tmp_path / "claude-k8s").mkdir()
    (tmp_path / "claude-k8s" / "config.toml").write_text(text)


def request(*arguments: str) -> RunRequest:
    assert _status(["run", *arguments, "--", "true", "--flag"]) == 0
    assert Session.last
    return Session.last.request


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _status(list(arguments)) == FAILED
    assert Session.last is None
    said = capsys.readouterr().err
    assert said.startswith("claude-k8s: ")
    assert said.count("\n") == 1
    return said


def test_the_command_is_what_follows_the_dashes() -> None:
    assert request().command == ("true", "--flag")


def test_a_setting_has_its_default() -> None:
    assert (request().image, request().grace, request().retain) == ("busybox:1.36", 30, 0)


def test_the_file_wins_over_the_default(tmp_path: Path) -> None:
    configure(tmp_path, 'image = "from-file"\nservice-account = "agent"\nlocal = true')

    assert (request().image, request().service_account) == ("from-file", "agent")
    assert Session.last
    assert Session.last.choice.local


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(tmp_path, 'image = "from-file"')
    monkeypatch.setenv("CLAUDE_K8S_IMAGE", "from-environment")

    assert request().image == "from-environment"


def test_the_flag_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDE_K8S_IMAGE", "from-environment")

    assert request("--image", "from-flag").image == "from-flag"


def test_a_file_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.toml").write_text('timeout = "2m"')
    monkeypatch.setenv("CLAUDE_K8S_CONFIG", str(tmp_path / "mine.toml"))

    assert request().timeout == 120


def test_an_unknown_setting_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(tmp_path, 'imgae = "x"')

    assert "config.toml: unknown setting 'imgae'" in complaint(capsys, "run", "--", "true")


def test_a_broken_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(tmp_path, "image = ")

    assert "config.toml: " in complaint(capsys, "run", "--", "true")


def test_a_file_that_is_named_must_be_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere.toml" in complaint(capsys, "--config", str(tmp_path / "nowhere.toml"), "run", "--", "true")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "command is empty"),
        (["run", "--", ""], "command is empty"),
        (["run", "--timeout", "soon", "--", "true"], "'soon' is no duration"),
        (["run", "--timeout", "0", "--", "true"], "timeout is less than 1 second"),
        (["run", "--env", "UNSET_HERE", "--", "true"], "'UNSET_HERE' is not set here"),
        (["run", "--env", "1=x", "--", "true"], "is not a valid environment variable name"),
        (["run", "--image", "", "--", "true"], "image is empty"),
        (["run", "--no-such-flag", "--", "true"], "--no-such-flag"),
        (["fly"], "fly"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in complaint(capsys, *arguments)


def test_a_secret_is_in_no_complaint(capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, "run", "--env", "TOKEN=" + "hunter2" * 150_000, "--", "true")

    assert "TOKEN" in said
    assert "hunter2" not in said


def test_variables_are_given_or_taken_from_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HERE", "here")

    made = request("-e", "GIVEN=a=b", "-e", "EMPTY=", "-e", "FROM_HERE")
    assert dict(made.env) == {"GIVEN": "a=b", "EMPTY": "", "FROM_HERE": "here"}


def test_a_job_that_is_to_be_kept_is_kept_an_hour() -> None:
    assert request("--keep").retain == 3600


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("2h", 7200), (" 7 ", 7), (8, 8)])
def test_a_duration(text: object, seconds: int) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "s", "-1", "1.5", "1d", "5 m", "٣", "²"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no duration"):
        Duration().convert(text, None, None)


@pytest.mark.parametrize("line", ["json = true", "service_account = 'a'", "service-account = 'a'", "keep = true"])
def test_a_line_of_the_file_has_the_name_of_its_option(tmp_path: Path, line: str) -> None:
    configure(tmp_path, line)

    assert request().command[0] == "true"


def test_an_argument_is_no_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(tmp_path, 'command = ["rm"]')

    assert "unknown setting 'command'" in complaint(capsys, "run", "--", "true")
