"""From a run's context to the Job that runs Claude Code, and the Secret that it reads. Pure.

Whatever is given, what comes out is a Job that the API server takes, or an `InvalidRequest` that names what is wrong.
Nothing secret is in the Job: prompt, environment, MCP servers and bundle are in the Secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from adapter.agent import docker
from adapter.agent.arguments import arguments
from adapter.agent.bundle import Bundle
from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.environment import API_URL, Environment, environment
from adapter.agent.inheritance import inherited
from adapter.agent.labels import agent_annotations, agent_labels, own_labels, skipped_note
from adapter.agent.manifest import job
from adapter.agent.mcp import mcp_servers
from adapter.agent.parcel import parcel
from adapter.agent.passed import passed
from adapter.agent.pod import Plan, pod
from adapter.agent.prompt import Prompt
from adapter.agent.selfpod import SelfPod
from adapter.agent.workspace import workspace
from adapter.errors import InvalidRequest
from adapter.run import MAX_REQUEST_BYTES

NO_API_URL = f"{API_URL} is not set: the agent will not find the control plane"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentJob:
    """The Job of an agent's run, as it is created: suspended.

    `secret` is the content of a Secret that has the Job's name, is owned by it, and is there before the Job is let run.
    `arguments` are those of the agent's command, `cwd` is its working directory in the pod, `persistent` says whether
    its session outlives the pod, and `notes` are for the operator.
    """

    manifest: Mapping[str, Any]
    secret: Mapping[str, bytes] = field(repr=False)
    arguments: tuple[str, ...]
    prompt: Prompt
    cwd: str
    persistent: bool
    notes: tuple[str, ...] = ()


def claude_job(
    context: RunContext,
    config: AgentConfig,
    *,
    prompt: Prompt,
    bundle: Bundle,
    name: str,
    labels: Mapping[str, str],
    annotations: Mapping[str, str],
    self_pod: SelfPod | None = None,
    session: str | None = None,
    api_url: str = "",
    given: tuple[str, ...] | None = None,
) -> AgentJob:
    """The Job of a run, with this name, and with these labels and annotations beside its own.

    `session` is the one to resume, `self_pod` what may be inherited from, `api_url` where a pod finds the control plane
    if `self_pod` does not say it; `given` is a command line in place of the one that context and configuration make.
    Raises `InvalidRequest`.
    """
    place = workspace(context, config, self_pod)
    ours = {"DOCKER_HOST": docker.HOST} if config.enable_docker else {}
    env = environment(context, config, inherited(self_pod, config), place, api_url=api_url, ours=ours)
    servers = mcp_servers(context, config)
    plan = Plan(
        config=config,
        self_pod=self_pod,
        workspace=place,
        environment=env,
        parcel=parcel(prompt.text, servers, env, bundle),
        passed=passed(env.inherited.secret_volumes, [place.mount]),
        arguments=arguments(config, place, session=session, bundle=bundle, mcp=bool(servers))
        if given is None
        else given,
        secret=name,
    )
    own, skipped = own_labels(config.labels)
    metadata = {
        "name": name,
        "labels": own | agent_labels(context) | dict(labels),
        "annotations": agent_annotations(context) | dict(annotations),
    }
    manifest = job(pod(plan), metadata, deadline=config.timeout_sec, retain=config.ttl_seconds_after_finished)
    _check_size(manifest, bundle)
    return AgentJob(
        manifest=manifest,
        secret=plan.parcel.content,
        arguments=plan.arguments,
        prompt=prompt,
        cwd=place.cwd,
        persistent=place.persistent,
        notes=(*bundle.warnings, *_notes(plan, skipped)),
    )


def _notes(plan: Plan, skipped: tuple[str, ...]) -> tuple[str, ...]:
    return (
        *plan.workspace.notes,
        *plan.environment.notes,
        *plan.passed.notes,
        *([skipped_note(skipped)] if skipped else []),
        *([docker.NOTE] if plan.config.enable_docker else []),
        *([] if _knows_control_plane(plan.environment) else [NO_API_URL]),
    )


def _knows_control_plane(env: Environment) -> bool:
    return bool(env.inherited.env_from) or any(entry["name"] == API_URL for entry in env.entries(""))


def _check_size(manifest: Mapping[str, Any], bundle: Bundle) -> None:
    size = len(json.dumps(manifest))
    if size > MAX_REQUEST_BYTES:
        raise InvalidRequest(
            f"the Job has {size} bytes, more than the {MAX_REQUEST_BYTES} the cluster takes: use shorter extraArgs and"
            f" labels, fewer variables, or skills of fewer files (they have {len(bundle.files)})"
        )
