"""A call of `claude` as a run: its id, its Job, its end, and the command around it."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapter.agent.selfpod import Claim, SelfPod, Variable
from adapter.cli import FAILED, _status, dropin
from adapter.cli.dropin_call import Call
from adapter.cli.dropin_output import status, trouble
from adapter.cli.dropin_settings import settings as configured
from adapter.cli.dropin_words import Line
from adapter.errors import Code, InvalidRequest
from adapter.run import LogSummary, Outcome, RunResult
from adapter.work import Work

SHELLS = [
    shell for shell in (["sh"], ["dash"], ["bash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])
]


OWN = SelfPod(name="us", namespace="here", image="ours:1", claims={"/paperclip": Claim("data", "sub")})

PAPERCLIP = {
    "PAPERCLIP_RUN_ID": "their-run",
    "PAPERCLIP_AGENT_ID": "ann",
    "PAPERCLIP_COMPANY_ID": "acme",
    "PAPERCLIP_API_KEY": "canary-of-a-token",
    "PAPERCLIP_API_URL": "http://paperclip:3100",
    "PAPERCLIP_TASK_ID": "T-1",
}


def call(*argv: str, environ: dict[str, str] | None = None, stdin: bytes = b"", **more: Any) -> Call:
    given = configured({"CLAUDE_K8S_IMAGE": "agent:1", **(environ or {})}, {})
    return Call(Line(argv), stdin, given, given.config(), environ or {}, **more)


def work(*argv: str, own: SelfPod | None = None, **more: Any) -> Work:
    return call(*argv, **more)._work("instance", "here", own)


def agent_of(made: Work) -> dict[str, Any]:
    [agent] = made.manifest["spec"]["template"]["spec"]["containers"]
    return dict(agent)


def variables(made: Work) -> dict[str, str]:
    """The environment of the CLI, by value."""
    found = {}
    for entry in agent_of(made)["env"]:
        key = entry.get("valueFrom", {}).get("secretKeyRef", {}).get("key")
        found[entry["name"]] = made.secret[key].decode() if key else entry["value"]
    return found


def test_nothing_of_the_command_line_is_in_the_job() -> None:
    made = work("-p", "canary-prompt", "--settings", '{"token": "canary-of-a-token"}', stdin=b"canary-stdin")
    assert "canary" not in json.dumps(made.manifest)
    assert made.secret["prompt.txt"] == b"canary-stdin"
    assert any(b"canary-prompt" in content for content in made.secret.values())
    assert "canary" not in repr(made)
    assert "canary" not in repr(call("-p", stdin=b"canary"))


def test_a_caller_without_a_control_plane_has_nothing_made_up() -> None:
    environ = {"ANTHROPIC_API_KEY": "key", "DATABASE_URL": "secret", "HOME": "/root", "CLAUDE_K8S_ENV": "MINE=1"}
    assert variables(work("-p", environ=environ)) == {"ANTHROPIC_API_KEY": "key", "MINE": "1", "HOME": "/paperclip"}


def test_a_control_planes_run_goes_on_under_its_own_names() -> None:
    found = variables(work("-p", environ=PAPERCLIP, agent="ann"))
    assert {name: found[name] for name in PAPERCLIP} == PAPERCLIP
    assert found["PAPERCLIP_RUN_ID"] == "their-run", "not the id of this call"


def test_a_configured_variable_wins() -> None:
    environ = {**PAPERCLIP, "CLAUDE_K8S_ENV": "PAPERCLIP_API_URL=http://in-the-cluster"}
    assert variables(work("-p", environ=environ))["PAPERCLIP_API_URL"] == "http://in-the-cluster"


def test_our_own_pod_lends_its_image_and_volume_but_not_its_environment() -> None:
    own = SelfPod(
        name="us", namespace="here", image="ours:1", claims=OWN.claims, env=(Variable("ANTHROPIC_API_KEY", "pods"),)
    )
    given = configured({}, {})
    made = Call(Line(["-p", "--resume", "x"]), b"", given, given.config(), {"LANG": "C"})._work("i", "here", own)
    assert agent_of(made)["image"] == "ours:1"
    assert "ANTHROPIC_API_KEY" not in variables(made)
    assert variables(made)["LANG"] == "C"


def test_a_session_needs_a_volume() -> None:
    with pytest.raises(InvalidRequest, match=r"'--resume' goes on with a session.*CLAUDE_K8S_WORKSPACE_VOLUME_CLAIM"):
        work("-p", "--resume", "x")
    assert work("-p", "-c", environ={"CLAUDE_K8S_WORKSPACE_VOLUME_CLAIM": "data"}).secret


def test_a_missing_image_is_named_by_its_variable() -> None:
    given = configured({}, {})
    with pytest.raises(InvalidRequest, match=r"^CLAUDE_K8S_IMAGE is not set"):
        Call(Line(["-p"]), b"", given, given.config(), {})._work("i", "here", None)


def test_the_id_of_a_call() -> None:
    assert call("-p", given_id="mine").run_id == "mine"
    assert call("-p").run_id != call("-p").run_id
    one, same = (call("-p", "a", environ=PAPERCLIP) for _ in range(2))
    assert one.run_id == same.run_id
    assert one.run_id.startswith("their-run-")
    others = [call("-p", "b", environ=PAPERCLIP), call("-p", "a", environ=PAPERCLIP, stdin=b"x")]
    assert len({one.run_id, *(other.run_id for other in others)}) == 3


@given(
    st.lists(st.text(max_size=3), max_size=3),
    st.binary(max_size=3),
    st.lists(st.text(max_size=3), max_size=3),
    st.binary(),
)
def test_two_calls_are_the_same_if_all_of_them_is(one: list[str], a: bytes, two: list[str], b: bytes) -> None:
    same = call(*one, stdin=a).digest == call(*two, stdin=b).digest
    assert same is ((one, a) == (two, b))


def test_an_agents_calls_wait_for_each_other_but_not_for_a_version() -> None:
    assert work("-p", agent="ann", environ=PAPERCLIP).agent
    assert work("--version", agent="ann", environ=PAPERCLIP).agent is None
    assert work("mcp", "list", agent="ann", environ=PAPERCLIP).agent is None
    assert work("-p").agent is None


def test_the_notes_are_those_that_concern_the_caller() -> None:
    alone = " ".join(work("-p").notes)
    assert "no volume outlives the pod" in alone
    assert "PAPERCLIP" not in alone
    assert "PAPERCLIP_API_URL is not set" in " ".join(work("-p", environ={"PAPERCLIP_RUN_ID": "r"}).notes)


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"given_id": " "}, "CLAUDE_K8S_RUN_ID is empty"),
        ({"agent": "x" * 600}, "CLAUDE_K8S_AGENT_ID"),
        ({"environ": {"PAPERCLIP_API_KEY": "a\0b"}}, "PAPERCLIP_API_KEY contains a NUL"),
    ],
)
def test_what_is_wrong_with_a_call_is_named(more: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidRequest, match=name):
        work("-p", **more)


def ended(outcome: Outcome, code: Code, exit_code: int | None = None, **more: Any) -> RunResult:
    return RunResult(run_id="r", outcome=outcome, code=code, message="why", exit_code=exit_code, **more)


INT, TERM, HUP = 2, 15, 1


@pytest.mark.parametrize(
    ("result", "heard", "expected", "told"),
    [
        (ended(Outcome.SUCCEEDED, Code.OK, 0), None, 0, ""),
        (ended(Outcome.SUCCEEDED, Code.OK, 0), INT, 0, ""),
        (ended(Outcome.FAILED, Code.EXIT_CODE, 3), None, 3, ""),
        (ended(Outcome.FAILED, Code.SIGNALLED, 137), None, 137, ""),
        (ended(Outcome.FAILED, Code.OOM_KILLED, 137, hint="more memory"), None, 137, "[oom_killed]: why (more memory)"),
        (ended(Outcome.FAILED, Code.START_ERROR, 128), None, 125, "failed [start_error]: why"),
        (ended(Outcome.FAILED, Code.IMAGE_PULL), None, 125, "failed [image_pull]: why"),
        (ended(Outcome.FAILED, Code.EVICTED, 0), None, 125, "failed [evicted]: why"),
        (ended(Outcome.FAILED, Code.EVICTED, 143), None, 143, "failed [evicted]: why"),
        (ended(Outcome.TIMED_OUT, Code.DEADLINE, 143), None, 124, "timed out [deadline]: why"),
        (ended(Outcome.DELETED, Code.JOB_DELETED, 143), None, 143, "deleted [job_deleted]: why"),
        (ended(Outcome.UNKNOWN, Code.UNKNOWN), None, 125, "unknown [unknown]: why"),
        (ended(Outcome.CANCELLED, Code.CANCELLED, 143), INT, 130, ""),
        (ended(Outcome.CANCELLED, Code.CANCELLED, 0), TERM, 143, ""),
        (ended(Outcome.CANCELLED, Code.CANCELLED, 0), None, 143, "cancelled [cancelled]: why"),
        (ended(Outcome.DETACHED, Code.DETACHED), TERM, 143, ""),
        (ended(Outcome.DETACHED, Code.DETACHED), HUP, 129, ""),
        (ended(Outcome.DETACHED, Code.DETACHED), None, 125, "detached [detached]: why"),
        (
            ended(Outcome.SUCCEEDED, Code.OK, 0, log=LogSummary(complete=False, notes=("a gap",)), warnings=("w",)),
            None,
            0,
            "a gap; w",
        ),
        (ended(Outcome.CANCELLED, Code.CANCELLED, log=LogSummary(notes=("cut",))), INT, 130, ""),
    ],
)
def test_the_end_of_a_call(result: RunResult, heard: int | None, expected: int, told: str) -> None:
    assert status(result, heard) == expected
    said = trouble(result, heard)
    assert told in said
    assert bool(told) is bool(said)


def test_a_call_that_ended_before_there_was_a_run() -> None:
    assert (status(None, INT), status(None, TERM)) == (130, 143)


class Session:
    """Stands for the one that would run; keeps what it was given."""

    last: Session | None = None
    signal = None

    def __init__(self, run_id: str, choice: Any, output: Any, start: Any, again: str, *, term_cancels: bool) -> None:
        self.run_id, self.choice, self.again, self.term_cancels = run_id, choice, again, term_cancels
        self.call: Call = start.__self__
        Session.last = self

    async def run(self) -> RunResult | None:
        return ended(Outcome.FAILED, Code.EXIT_CODE, 7)

    def how_to_come_back(self) -> str:
        return self.again


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (name for name in os.environ if name.startswith(("CLAUDE_K8S_", "PAPERCLIP_"))):
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setattr("adapter.cli.claude.Session", Session)
    monkeypatch.setattr("adapter.cli.claude.log_to_stderr", lambda *, verbose: None)
    monkeypatch.setattr("adapter.cli.claude.read_stdin", lambda line, *, one_shot: b"hello")
    Session.last = None


def ran(*argv: str) -> Session:
    assert _status(["claude", *argv]) == 7
    assert Session.last
    return Session.last


@pytest.mark.parametrize(
    "argv",
    [
        (),
        ("--help",),
        ("--version",),
        ("-n", "name", "--namespace", "x", "--verbose", "--local", "--run-id", "y"),
        ("--", "--", ""),
        ("", "a\nb", "'\"$HOME`\\", "--no-such-flag", "-xyz"),
    ],
)
def test_every_word_is_passed_on(argv: tuple[str, ...]) -> None:
    session = ran(*argv)
    assert session.call.line.argv == argv
    assert (session.choice.namespace, session.choice.local) == (None, False)


def test_it_is_configured_by_environment_and_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "config" / "claude-k8s").mkdir(parents=True)
    (tmp_path / "config" / "claude-k8s" / "config.toml").write_text(
        'namespace = "of-all"\n[agent]\nimage = "table:1"\nkubeconfig = "/of/the/agent"\nnamespace = "of-the-agent"\n'
    )
    monkeypatch.setenv("CLAUDE_K8S_RUN_ID", "a run")
    monkeypatch.setenv("CLAUDE_K8S_ON_SIGTERM", "cancel")
    monkeypatch.setenv("PAPERCLIP_AGENT_ID", "ann")
    session = ran("-p")
    assert (session.choice.namespace, session.choice.kubeconfig) == ("of-all", "/of/the/agent")
    assert (session.call.config.image, session.call.config.namespace) == ("table:1", "of-the-agent")
    assert (session.call.stdin, session.call.agent, session.term_cancels) == (b"hello", "ann", True)
    assert session.again == "come back with the same call and CLAUDE_K8S_RUN_ID='a run'"


def test_an_empty_agent_is_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAPERCLIP_AGENT_ID", "ann")
    monkeypatch.setenv("CLAUDE_K8S_AGENT_ID", "")
    assert ran("-p").call.agent is None


def complaint(capfd: pytest.CaptureFixture[str], *argv: str) -> str:
    assert _status(["claude", *argv]) == FAILED
    assert Session.last is None
    said = capfd.readouterr()
    assert said.out == ""
    assert said.err.startswith("claude-k8s: ")
    assert said.err.count("\n") == 1
    return said.err


def test_a_terminal_is_refused(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda descriptor: True)
    assert "there is no terminal: use it with -p" in complaint(capfd)
    assert "there is no terminal: use it with -p" in complaint(capfd, "fix it")
    ran("mcp", "list")


def test_a_claude_in_a_claudes_pod_is_refused(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(dropin.INSIDE, "1")
    assert "CLAUDE_K8S_COMMAND" in complaint(capfd, "-p")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("CLAUDE_K8S_ON_SIGTERM", "ignore", "'CLAUDE_K8S_ON_SIGTERM'"),
        ("CLAUDE_K8S_VERBOSE", "maybe", "'CLAUDE_K8S_VERBOSE'"),
        ("CLAUDE_K8S_GRACE_SEC", "soon", "CLAUDE_K8S_GRACE_SEC is not a whole number"),
        ("CLAUDE_K8S_AGENT_CONFIG", "/no/such/file", "/no/such/file: No such file"),
        ("CLAUDE_K8S_CONFIG", "/no/such/file", "/no/such/file"),
    ],
)
def test_a_wrong_variable_is_one_line(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    assert said in complaint(capfd, "-p")


def test_the_help_of_claude_k8s_says_what_it_is(capfd: pytest.CaptureFixture[str]) -> None:
    assert _status(["--help"]) == 0
    said = " ".join(capfd.readouterr().out.split())
    assert "claude Run the claude CLI in a Job" in said
    assert "configured by variables and files alone (docs/drop-in.md)" in said
