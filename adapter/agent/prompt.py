"""What the agent is told: the prompt's sections, in their order, and how long each is. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.template import render
from adapter.agent.wake import says_what_to_do, wake_text
from adapter.errors import InvalidRequest

OPTIONAL: Mapping[str, Any] = {
    **dict.fromkeys(("taskId", "taskKey", "issueId", "projectId", "companyName", "source", "retryOfRunId"), ""),
    **dict.fromkeys(("wakeReason", "wakeSource", "wakeCommentId", "commentId", "approvalId", "approvalStatus"), ""),
    **dict.fromkeys(("paperclipTaskMarkdown", "paperclipSessionHandoffMarkdown"), ""),
    "issueIds": [],
    "paperclipWorkspace": dict.fromkeys(
        ("cwd", "source", "strategy", "workspaceId", "repoUrl", "repoRef", "branchName", "worktreePath", "agentHome"),
        "",
    ),
    "paperclipWake": {
        **dict.fromkeys(("reason", "latestCommentId"), ""),
        "issue": dict.fromkeys(("id", "identifier", "title", "description", "status", "priority", "workMode"), ""),
    },
}
"""What the wake of some runs has and that of others has not. A template may use it all the same: a template that says
which task it is must not fail the run that has none."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A prompt, and the length of it and of its sections in characters, by the names the control plane has for them."""

    text: str = field(repr=False)
    metrics: Mapping[str, int]


def assemble(context: RunContext, config: AgentConfig, *, resuming: bool) -> Prompt:
    """The prompt of a run: its sections that are not empty, joined by blank lines.

    `resuming` says that a session is gone on with: then the bootstrap is left out, and, where the wake says what to
    do, the heartbeat too. Without `resumeLastSession` no run counts as resuming. Raises `InvalidRequest` for an unknown
    variable in a template, and where nothing at all would be said.
    """
    resuming = resuming and config.resume_last_session
    sections = _sections(context, config, resuming)
    text = "\n\n".join(section for section in sections.values() if section)
    if not text:
        raise InvalidRequest(
            "promptTemplate makes no text of this run, whose context says nothing either: give it some"
        )
    lengths = {f"{name}Chars": len(said) for name, said in sections.items()}
    return Prompt(text, {"promptChars": len(text), **lengths})


def _sections(context: RunContext, config: AgentConfig, resuming: bool) -> dict[str, str]:
    """The sections in their order, by the name of their metric."""
    wake = context.context
    values = variables(context)
    task = _task(wake, resuming)
    heartbeat = "" if resuming and says_what_to_do(wake) else render(config.prompt_template, values)
    bootstrap = "" if resuming else config.bootstrap_prompt_template
    return {
        "bootstrapPrompt": render(bootstrap, values, field="bootstrapPromptTemplate").strip(),
        "wakePrompt": wake_text(wake, resuming=resuming, task_told=bool(task)),
        "taskMarkdown": task,
        "sessionHandoff": _markdown(wake, "paperclipSessionHandoffMarkdown"),
        "heartbeatPrompt": heartbeat.strip(),
    }


def variables(context: RunContext) -> dict[str, Any]:
    """What a template can use. Neither the agent's configuration nor the run's token is among it."""
    agent = context.agent
    row = {name: value for name, value in (agent.model_extra or {}).items() if not isinstance(value, Mapping | list)}
    known = {"id": agent.id, "name": agent.name, "companyId": agent.company_id, "adapterType": agent.adapter_type}
    wake = _filled(OPTIONAL, context.context)
    return {
        "agentId": agent.id,
        "companyId": agent.company_id,
        "runId": context.run_id,
        "agent": row | known,
        "company": {"id": agent.company_id, "name": wake["companyName"]},
        "run": {"id": context.run_id, "source": wake["wakeSource"] or "on_demand"},
        "context": wake,
    }


def _filled(expected: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    filled = dict(given)
    for name, default in expected.items():
        found = given.get(name)
        if isinstance(default, Mapping):
            filled[name] = _filled(default, found) if isinstance(found, Mapping) else default
        elif found is None:
            filled[name] = default
    return filled


def _task(wake: Mapping[str, Any], resuming: bool) -> str:
    """The task in the control plane's words; a resumed session is given the short form, where there is one."""
    compact = _markdown(wake, "paperclipTaskMarkdownCompact") if resuming else ""
    return compact or _markdown(wake, "paperclipTaskMarkdown")


def _markdown(wake: Mapping[str, Any], name: str) -> str:
    found = wake.get(name)
    return found.strip() if isinstance(found, str) else ""
