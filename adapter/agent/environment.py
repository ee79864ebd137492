"""The environment of an agent's container, variable by variable. Pure.

Later wins: what is inherited, what the run's context says, what the agent's configuration says, and what is ours. All
but the last comes from elsewhere and may be secret, so it travels in the run's Secret and is referred to by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.agent.checks import env_name, env_value
from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.inheritance import Inherited, is_host_only
from adapter.agent.manifest import literal
from adapter.agent.workspace import Workspace
from adapter.errors import InvalidRequest

API_URL, API_KEY, HOME = "PAPERCLIP_API_URL", "PAPERCLIP_API_KEY", "HOME"

KEY = "env."
"""How a variable's key in the Secret begins."""

_WAKE: Mapping[str, tuple[str, ...]] = {
    "PAPERCLIP_TASK_ID": ("taskId", "issueId"),
    "PAPERCLIP_WAKE_REASON": ("wakeReason",),
    "PAPERCLIP_WAKE_COMMENT_ID": ("wakeCommentId", "commentId"),
    "PAPERCLIP_APPROVAL_ID": ("approvalId",),
    "PAPERCLIP_APPROVAL_STATUS": ("approvalStatus",),
    "PAPERCLIP_RUNTIME_PRIMARY_URL": ("paperclipRuntimePrimaryUrl",),
}
_WORKSPACE: Mapping[str, str] = {
    "PAPERCLIP_WORKSPACE_SOURCE": "source",
    "PAPERCLIP_WORKSPACE_STRATEGY": "strategy",
    "PAPERCLIP_WORKSPACE_ID": "workspaceId",
    "PAPERCLIP_WORKSPACE_REPO_URL": "repoUrl",
    "PAPERCLIP_WORKSPACE_REPO_REF": "repoRef",
    "PAPERCLIP_WORKSPACE_BRANCH": "branchName",
}
_PATHS: Mapping[str, str] = {"PAPERCLIP_WORKSPACE_WORKTREE_PATH": "worktreePath", "AGENT_HOME": "agentHome"}
_DOCUMENTS: Mapping[str, str] = {
    "PAPERCLIP_WAKE_PAYLOAD_JSON": "paperclipWake",
    "PAPERCLIP_RUNTIME_SERVICE_INTENTS_JSON": "paperclipRuntimeServiceIntents",
    "PAPERCLIP_RUNTIME_SERVICES_JSON": "paperclipRuntimeServices",
}
"""Names as an agent of paperclip 2026.916.1 expects them (adapter-claude-local), and where in the context they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the container gets: `secrets` by reference to the run's Secret, `literals` as they are, the rest as it was.

    `notes` say by name what was left out.
    """

    secrets: Mapping[str, str] = field(repr=False)
    literals: Mapping[str, str]
    inherited: Inherited
    notes: tuple[str, ...] = ()

    def entries(self, secret: str) -> list[dict[str, Any]]:
        """The container's `env`, with the Secret of that name."""
        references = [
            {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": KEY + name}}} for name in self.secrets
        ]
        taken = self.secrets.keys() | self.literals.keys()
        passed = [
            {"name": variable.name, "valueFrom": variable.source}
            for variable in self.inherited.value_from
            if variable.name not in taken
        ]
        ours = [{"name": name, "value": literal(value)} for name, value in self.literals.items()]
        return [*references, *passed, *ours]

    def content(self) -> dict[str, bytes]:
        """What the Secret must hold for it."""
        return {KEY + name: value.encode() for name, value in self.secrets.items()}


def environment(
    context: RunContext,
    config: AgentConfig,
    inherited: Inherited,
    workspace: Workspace,
    *,
    api_url: str = "",
    ours: Mapping[str, str] | None = None,
) -> Environment:
    """The environment of a run. `api_url` is where a pod finds the control plane, if our own pod does not know.

    Raises `InvalidRequest` for a variable that no process can be given, by its name.
    """
    literals = {HOME: workspace.mount, **(ours or {})}
    run = _of_run(context, workspace, "" if _is_inherited(API_URL, inherited) else api_url)
    dropped = dict(_dropped(context, config, literals))
    configured = {name: value for name, value in config.env.items() if name not in dropped}
    secrets = {**inherited.literals, **run, **configured}
    for name, value in secrets.items():
        _check(name, value)
    notes = [f"env: {name} is left out: it {why}" for name, why in dropped.items()]
    return Environment(
        secrets={name: value for name, value in secrets.items() if name not in literals},
        literals=literals,
        inherited=inherited,
        notes=(*notes, *_pathless(context, workspace)),
    )


def _is_inherited(name: str, inherited: Inherited) -> bool:
    return name in inherited.literals or any(variable.name == name for variable in inherited.value_from)


def _of_run(context: RunContext, workspace: Workspace, api_url: str) -> dict[str, str]:
    """What the context says, without what it does not say."""
    wake, place = context.context, context.workspace
    token = context.auth_token.get_secret_value() if context.auth_token else ""
    found = {
        "PAPERCLIP_AGENT_ID": context.agent.id,
        "PAPERCLIP_COMPANY_ID": context.agent.company_id,
        API_URL: api_url,
        API_KEY: token,
        "PAPERCLIP_RUN_ID": context.run_id,
        **{name: next(filter(None, (_text(wake.get(key)) for key in keys)), "") for name, keys in _WAKE.items()},
        "PAPERCLIP_ISSUE_WORK_MODE": _work_mode(wake),
        "PAPERCLIP_LINKED_ISSUE_IDS": ",".join(filter(None, map(_text, _list(wake.get("issueIds"))))),
        "PAPERCLIP_WORKSPACE_CWD": workspace.cwd if _text(place.get("cwd")) else "",
        **{name: _text(place.get(key)) for name, key in _WORKSPACE.items()},
        **{name: workspace.path(place.get(key)) or "" for name, key in _PATHS.items()},
        "PAPERCLIP_WORKSPACES_JSON": _json(_workspaces(context, workspace)),
        **{name: _json(wake.get(key)) for name, key in _DOCUMENTS.items()},
    }
    return {name: value for name, value in found.items() if value}


def _work_mode(wake: Mapping[str, Any]) -> str:
    issue = _object(wake.get("paperclipIssue"))
    woken = _object(_object(wake.get("paperclipWake")).get("issue"))
    return _text(issue.get("workMode")) or _text(woken.get("workMode"))


def _workspaces(context: RunContext, workspace: Workspace) -> list[dict[str, Any]]:
    """The workspaces that the control plane knows, each with its directory only where the pod has it."""
    current = _text(context.workspace.get("cwd"))
    known = [dict(_object(each)) for each in _list(context.context.get("paperclipWorkspaces"))]
    for each in known:
        given = _text(each.pop("cwd", None))
        if here := workspace.cwd if given and given == current else workspace.path(given):
            each["cwd"] = here
    return [each for each in known if each]


def _dropped(context: RunContext, config: AgentConfig, literals: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The variables of the configuration that do not reach the pod, and why."""
    for name in config.env:
        if is_host_only(name):
            yield name, "means something on the control plane's host alone"
        elif name in literals:
            yield name, f"is always {literals[name]} here"
        elif name == API_KEY and context.auth_token:
            yield name, "is the run's own token"


def _pathless(context: RunContext, workspace: Workspace) -> Iterator[str]:
    for name, key in _PATHS.items():
        if _text(context.workspace.get(key)) and not workspace.path(context.workspace[key]):
            yield f"{name} is not set: the path, of the control plane's host, is not in the pod"


def _check(name: str, value: str) -> None:
    try:
        env_value(env_name(name), value)
    except ValueError as error:
        raise InvalidRequest(f"env[{name[:80]!a}] {error}") from None


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _json(value: object) -> str:
    """Compact JSON, as the control plane writes it; nothing for what is empty, or is no document."""
    if not isinstance(value, list | Mapping) or not value:
        return ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
