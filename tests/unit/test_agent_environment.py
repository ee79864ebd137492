"""The agent's environment: the order of its sources, what an agent expects of it, and what never reaches a pod."""

from __future__ import annotations

import json
from typing import Any

import pytest

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.environment import Environment, environment
from adapter.agent.inheritance import Inherited, inherited
from adapter.agent.selfpod import SelfPod
from adapter.agent.workspace import workspace
from adapter.errors import InvalidRequest
from adapter.run import MAX_ENV_BYTES

SECRET = "ck-run"
CLAIMED = {"workspaceVolumeClaim": "work"}
KEY = {"secretKeyRef": {"name": "provider-keys", "key": "anthropic"}}


def own(*env: dict[str, Any]) -> SelfPod:
    container = {"name": "paperclip", "image": "p", "env": list(env)}
    return SelfPod.of({"metadata": {"name": "p-0", "namespace": "agents"}, "spec": {"containers": [container]}})


def made(
    config: dict[str, Any] | None = None,
    *env: dict[str, Any],
    ours: dict[str, str] | None = None,
    api_url: str = "http://plane",
    **context: Any,
) -> Environment:
    given = {"runId": "run-1", "agent": {"id": "agent-1", "companyId": "co"}, "authToken": "token"}
    parsed, settings = RunContext.parse(given | context), AgentConfig.parse(config or {})
    pod = own(*env)
    place = workspace(parsed, settings, pod)
    return environment(parsed, settings, inherited(pod, settings), place, api_url=api_url, ours=ours)


def test_a_run_that_says_nothing_has_what_every_run_has() -> None:
    assert made().secrets == {
        "PAPERCLIP_AGENT_ID": "agent-1",
        "PAPERCLIP_COMPANY_ID": "co",
        "PAPERCLIP_API_URL": "http://plane",
        "PAPERCLIP_API_KEY": "token",
        "PAPERCLIP_RUN_ID": "run-1",
    }
    assert made().literals == {"HOME": "/paperclip"}


def test_the_agents_home_is_where_its_volume_is() -> None:
    assert made({"workspaceMountPath": "/work"}).literals == {"HOME": "/work"}


WAKE: dict[str, Any] = {
    "taskId": " T-1 ",
    "issueId": "I-1",
    "wakeReason": "issue_assigned",
    "wakeCommentId": "c-1",
    "commentId": "c-2",
    "approvalId": "ap-1",
    "approvalStatus": "approved",
    "issueIds": ["I-1", " ", 3, "I-2"],
    "paperclipIssue": {"workMode": "planning"},
    "paperclipWake": {"reason": "é", "issue": {"workMode": "standard"}},
    "paperclipRuntimeServices": [{"name": "db"}],
    "paperclipRuntimeServiceIntents": [{"name": "db", "want": True}],
    "paperclipRuntimePrimaryUrl": "http://app",
    "paperclipWorkspace": {
        "cwd": "/paperclip/tasks/1",
        "source": "task",
        "strategy": "git_worktree",
        "workspaceId": "w-1",
        "repoUrl": "https://git/x",
        "repoRef": "main",
        "branchName": "b-1",
        "worktreePath": "/paperclip/trees/1",
        "agentHome": "/paperclip/agents/1",
    },
    "paperclipWorkspaces": [
        {"workspaceId": "w-1", "cwd": "/paperclip/tasks/1"},
        {"workspaceId": "w-2", "cwd": "/home/me/x"},
        {"cwd": "/home/me/y"},
        "x",
    ],
}
TOLD = {
    "PAPERCLIP_TASK_ID": "T-1",
    "PAPERCLIP_WAKE_REASON": "issue_assigned",
    "PAPERCLIP_WAKE_COMMENT_ID": "c-1",
    "PAPERCLIP_APPROVAL_ID": "ap-1",
    "PAPERCLIP_APPROVAL_STATUS": "approved",
    "PAPERCLIP_LINKED_ISSUE_IDS": "I-1,I-2",
    "PAPERCLIP_ISSUE_WORK_MODE": "planning",
    "PAPERCLIP_WAKE_PAYLOAD_JSON": '{"reason":"é","issue":{"workMode":"standard"}}',
    "PAPERCLIP_RUNTIME_SERVICES_JSON": '[{"name":"db"}]',
    "PAPERCLIP_RUNTIME_SERVICE_INTENTS_JSON": '[{"name":"db","want":true}]',
    "PAPERCLIP_RUNTIME_PRIMARY_URL": "http://app",
    "PAPERCLIP_WORKSPACE_CWD": "/paperclip/tasks/1",
    "PAPERCLIP_WORKSPACE_SOURCE": "task",
    "PAPERCLIP_WORKSPACE_STRATEGY": "git_worktree",
    "PAPERCLIP_WORKSPACE_ID": "w-1",
    "PAPERCLIP_WORKSPACE_REPO_URL": "https://git/x",
    "PAPERCLIP_WORKSPACE_REPO_REF": "main",
    "PAPERCLIP_WORKSPACE_BRANCH": "b-1",
    "PAPERCLIP_WORKSPACE_WORKTREE_PATH": "/paperclip/trees/1",
    "AGENT_HOME": "/paperclip/agents/1",
    "PAPERCLIP_WORKSPACES_JSON": '[{"workspaceId":"w-1","cwd":"/paperclip/tasks/1"},{"workspaceId":"w-2"}]',
}


def test_all_that_an_agent_expects_of_its_context() -> None:
    found = made(CLAIMED, context=WAKE)

    assert {name: found.secrets.get(name) for name in TOLD} == TOLD
    assert found.secrets.keys() - TOLD.keys() == made().secrets.keys()
    assert found.notes == ()


def test_paths_of_the_control_planes_host_do_not_reach_a_pod_that_does_not_have_them() -> None:
    found = made(context=WAKE)

    assert found.secrets["PAPERCLIP_WORKSPACE_CWD"] == "/paperclip"
    assert found.secrets.keys().isdisjoint({"AGENT_HOME", "PAPERCLIP_WORKSPACE_WORKTREE_PATH"})
    current, other = json.loads(found.secrets["PAPERCLIP_WORKSPACES_JSON"])
    assert (current["cwd"], "cwd" in other) == ("/paperclip", False)
    assert {note.split()[0] for note in found.notes} == {"AGENT_HOME", "PAPERCLIP_WORKSPACE_WORKTREE_PATH"}


@pytest.mark.parametrize(
    ("context", "name", "value"),
    [
        ({"issueId": "I-1"}, "PAPERCLIP_TASK_ID", "I-1"),
        ({"commentId": "c-2"}, "PAPERCLIP_WAKE_COMMENT_ID", "c-2"),
        ({"paperclipWake": {"issue": {"workMode": "standard"}}}, "PAPERCLIP_ISSUE_WORK_MODE", "standard"),
        ({"paperclipWake": {}}, "PAPERCLIP_WAKE_PAYLOAD_JSON", None),
        ({"paperclipWake": "text"}, "PAPERCLIP_WAKE_PAYLOAD_JSON", None),
        ({"paperclipWake": {"issue": 3}, "paperclipIssue": []}, "PAPERCLIP_ISSUE_WORK_MODE", None),
        ({"wakeReason": "  "}, "PAPERCLIP_WAKE_REASON", None),
        ({"wakeReason": 7}, "PAPERCLIP_WAKE_REASON", None),
        ({"issueIds": "I-1"}, "PAPERCLIP_LINKED_ISSUE_IDS", None),
        ({"paperclipWorkspaces": {"cwd": "/x"}}, "PAPERCLIP_WORKSPACES_JSON", None),
    ],
)
def test_what_the_context_does_not_say_is_not_set(context: dict[str, Any], name: str, value: str | None) -> None:
    assert made(context=context).secrets.get(name) == value


def test_later_wins() -> None:
    def literal(name: str, value: str) -> dict[str, str]:
        return {"name": name, "value": value}

    inherits = [literal("PAPERCLIP_RUN_ID", "old"), literal("LANG", "C"), literal("TZ", "UTC"), literal("LC_ALL", "C")]
    found = made({"env": {"TZ": "CET", "PAPERCLIP_TASK_ID": "mine", "HOME": "/x"}}, *inherits, context={"taskId": "T"})

    assert found.secrets["PAPERCLIP_RUN_ID"] == "run-1"
    assert (found.secrets["LANG"], found.secrets["TZ"]) == ("C", "CET")
    assert found.secrets["PAPERCLIP_TASK_ID"] == "mine"
    assert found.literals["HOME"] == "/paperclip"
    assert "HOME" not in found.secrets


@pytest.mark.parametrize("entry", [{"value": "http://own"}, {"valueFrom": KEY}])
def test_the_own_pod_knows_best_where_the_control_plane_is(entry: dict[str, Any]) -> None:
    found = made({}, {"name": "PAPERCLIP_API_URL", **entry})

    assert found.secrets.get("PAPERCLIP_API_URL") == entry.get("value")
    assert [e for e in found.entries(SECRET) if e["name"] == "PAPERCLIP_API_URL"] == [
        {"name": "PAPERCLIP_API_URL"}
        | ({"valueFrom": KEY} if "valueFrom" in entry else {"valueFrom": reference("PAPERCLIP_API_URL")})
    ]


def reference(name: str) -> dict[str, Any]:
    return {"secretKeyRef": {"name": SECRET, "key": f"env.{name}"}}


def test_a_configured_address_wins_over_all() -> None:
    found = made({"env": {"PAPERCLIP_API_URL": "http://mine"}}, {"name": "PAPERCLIP_API_URL", "value": "http://own"})

    assert found.secrets["PAPERCLIP_API_URL"] == "http://mine"


def test_the_runs_token_is_the_only_one() -> None:
    stale = {"env": {"PAPERCLIP_API_KEY": "stale"}}

    assert made(stale).secrets["PAPERCLIP_API_KEY"] == "token"
    assert made(stale).notes == ("env: PAPERCLIP_API_KEY is left out: it is the run's own token",)
    assert made(stale, authToken=None).secrets["PAPERCLIP_API_KEY"] == "stale"
    assert "PAPERCLIP_API_KEY" not in made(authToken=None).secrets


@pytest.mark.parametrize(
    "name",
    [
        *("TMPDIR", "TEMP", "TMP", "PAPERCLIP_TMPDIR", "PAPERCLIP_SCRATCH_DIR", "PAPERCLIP_RUN_SCRATCH_DIR"),
        *("GH_CONFIG_DIR", "PAPERCLIP_GITHUB_HOST_HOME", "PAPERCLIP_RUNNER_NETWORK_ROOTS", "HOME"),
    ],
)
def test_what_means_something_on_the_host_alone_is_left_out_and_said(name: str) -> None:
    found = made({"env": {name: "/secret/place", "KEPT": "x"}})

    assert name not in found.secrets
    assert found.secrets["KEPT"] == "x"
    (note,) = found.notes
    assert name in note
    assert "/secret/place" not in note


def test_references_of_the_own_pod_stay_references_where_nobody_says_another_value() -> None:
    entries = [{"name": name, "valueFrom": KEY} for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")]
    found = made({"env": {"ANTHROPIC_AUTH_TOKEN": "mine"}}, *entries).entries(SECRET)

    assert [entry for entry in found if entry["name"].startswith("ANTHROPIC_")] == [
        {"name": "ANTHROPIC_AUTH_TOKEN", "valueFrom": reference("ANTHROPIC_AUTH_TOKEN")},
        {"name": "ANTHROPIC_API_KEY", "valueFrom": KEY},
    ]


def test_whatever_comes_from_elsewhere_is_referred_to() -> None:
    found = made({"env": {"A": "a$b"}}, {"name": "LANG", "value": "C"}, ours={"DOCKER_HOST": "unix:///x/$y"})
    entries = {entry["name"]: entry for entry in found.entries(SECRET)}

    assert all(entries[name] == {"name": name, "valueFrom": reference(name)} for name in ("A", "LANG"))
    assert entries["DOCKER_HOST"]["value"] == "unix:///x/$$y"
    assert found.content()["env.A"] == b"a$b"
    assert set(found.content()) == {f"env.{name}" for name in found.secrets}


def test_an_empty_variable_of_the_configuration_hides_an_inherited_one() -> None:
    found = made({"env": {"HTTPS_PROXY": ""}}, {"name": "HTTPS_PROXY", "value": "http://proxy"})

    assert found.secrets["HTTPS_PROXY"] == ""


@pytest.mark.parametrize(
    ("context", "says"),
    [
        ({"wakeReason": "x" * MAX_ENV_BYTES}, "env['PAPERCLIP_WAKE_REASON'] has"),
        ({"paperclipWake": {"a": "x" * MAX_ENV_BYTES}}, "env['PAPERCLIP_WAKE_PAYLOAD_JSON'] has"),
        ({"wakeReason": "hunter2\0"}, "env['PAPERCLIP_WAKE_REASON'] contains a NUL"),
    ],
)
def test_a_variable_no_process_can_be_given_is_named_without_its_value(context: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        made(context=context)

    assert str(raised.value).startswith(says)
    assert "hunter2" not in str(raised.value)


def test_the_longest_name_has_a_key_that_a_secret_can_have() -> None:
    (longest,) = (key for key in made({"env": {"N" * 249: "x"}}).content() if "NN" in key)

    assert len(longest) == 253
    with pytest.raises(InvalidRequest, match="is longer than 249 characters"):
        made({"env": {"N" * 250: "x"}})


def test_no_value_is_in_a_repr() -> None:
    assert "hunter2" not in repr(made({"env": {"A": "hunter2"}}, {"name": "LANG", "value": "hunter2"}))
    assert "hunter2" not in repr(Inherited(literals={"A": "hunter2"}))
