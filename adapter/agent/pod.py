"""The pod of an agent's run: its containers, its volumes, and where it may be placed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapter.agent import docker, stderr
from adapter.agent.config import AgentConfig
from adapter.agent.environment import Environment
from adapter.agent.layout import IN
from adapter.agent.manifest import AGENT, USER, confined, literal, pod_spec
from adapter.agent.parcel import READABLE, Parcel
from adapter.agent.passed import Passed
from adapter.agent.selfpod import SelfPod
from adapter.agent.workspace import Workspace
from adapter.errors import InvalidRequest

PROMPT, WORKSPACE = "prompt", "workspace"
"""Names of volumes."""

IO_VOLUME: dict[str, Any] = {"name": stderr.MOUNT["name"], "emptyDir": {"sizeLimit": "8Mi"}}
"""It holds FIFOs, which take nothing: the limit is for whoever takes it for a disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that the pod of a run is made of. `secret` is the name of the run's Secret."""

    config: AgentConfig
    self_pod: SelfPod | None
    workspace: Workspace
    environment: Environment
    parcel: Parcel
    passed: Passed
    arguments: tuple[str, ...]
    secret: str

    @property
    def image(self) -> str:
        """The agent's image. Raises `InvalidRequest` where nobody names one."""
        image = self.config.image or (self.self_pod.image if self.self_pod else "")
        if not image:
            raise InvalidRequest("config.image is not set, and there is no pod of our own to take it from: name one")
        return image


def pod(plan: Plan) -> dict[str, Any]:
    """The pod's specification."""
    config = plan.config
    spec = pod_spec([_agent(plan)], grace=config.grace_sec)
    spec["automountServiceAccountToken"] = config.automount_service_account_token
    spec["initContainers"] = [stderr.sidecar(plan.image, config.image_pull_policy)]
    spec["volumes"] = [*_volumes(plan), *plan.passed.volumes]
    if config.enable_docker:
        spec["initContainers"].append(docker.sidecar(config, _workspace_mount(plan.workspace)))
        spec["volumes"] += docker.VOLUMES
    if not plan.workspace.persistent:
        # On a shared claim it would be a chown of all that is there, before each run: it stalled for minutes.
        spec["securityContext"] |= {"fsGroup": USER, "fsGroupChangePolicy": "OnRootMismatch"}
    return spec | {name: value for name, value in _placement(config, plan.self_pod).items() if value}


def _agent(plan: Plan) -> dict[str, Any]:
    config = plan.config
    container = {
        "name": AGENT,
        "image": plan.image,
        "imagePullPolicy": config.image_pull_policy,
        "command": [literal(part) for part in ("sh", "-c", stderr.RUN, AGENT, *config.command, *plan.arguments)],
        "workingDir": plan.workspace.cwd,
        "env": plan.environment.entries(plan.secret),
        "resources": config.resources.model_dump(by_alias=True),
        "volumeMounts": _mounts(plan),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": confined() | {"readOnlyRootFilesystem": False},
    }
    sources = [dict(one.entry) for one in plan.environment.inherited.env_from]
    return container | ({"envFrom": sources} if sources else {})


def _mounts(plan: Plan) -> list[Mapping[str, Any]]:
    return [
        {"name": PROMPT, "mountPath": IN, "readOnly": True},
        {**stderr.MOUNT},
        _workspace_mount(plan.workspace),
        *plan.passed.mounts,
        *([{**docker.SOCKET}] if plan.config.enable_docker else []),
    ]


def _volumes(plan: Plan) -> list[dict[str, Any]]:
    secret = {"secretName": plan.secret, "defaultMode": READABLE, "items": [dict(item) for item in plan.parcel.items]}
    claim = plan.workspace.claim
    disk = {"persistentVolumeClaim": {"claimName": claim.name}} if claim else {"emptyDir": {}}
    return [{"name": PROMPT, "secret": secret}, {**IO_VOLUME}, {"name": WORKSPACE, **disk}]


def _workspace_mount(workspace: Workspace) -> dict[str, Any]:
    inner = workspace.claim.sub_path if workspace.claim else ""
    return {"name": WORKSPACE, "mountPath": workspace.mount} | ({"subPath": inner} if inner else {})


def _placement(config: AgentConfig, self_pod: SelfPod | None) -> Mapping[str, Any]:
    """Who the pod is and where it may run, by the configuration, else as our own pod. What is empty is not said."""
    own = self_pod if config.inherit_scheduling else None
    selector, tolerations = config.node_selector, config.tolerations
    pull = dict.fromkeys((*config.image_pull_secrets, *_own_pull_secrets(config, self_pod)))
    return {
        "serviceAccountName": config.service_account_name,
        "imagePullSecrets": [{"name": name} for name in pull],
        "dnsConfig": dict(self_pod.dns_config or {}) if self_pod else {},
        "nodeSelector": dict(selector if selector is not None else own.node_selector if own else {}),
        "tolerations": [one.manifest() for one in tolerations]
        if tolerations is not None
        else [dict(one) for one in (own.tolerations if own else ())],
        "priorityClassName": config.priority_class_name,
        "runtimeClassName": config.runtime_class_name,
    }


def _own_pull_secrets(config: AgentConfig, self_pod: SelfPod | None) -> tuple[str, ...]:
    return self_pod.pull_secrets if self_pod and self_pod.serves(config.namespace) else ()
