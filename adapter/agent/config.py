"""The agent's configuration, defined once: this model is the validation, the JSON Schema, the UI's and the docs'.

`schema.py` reads the three documents out of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from adapter.agent import fields, raw
from adapter.agent.fields import Resources, Toleration
from adapter.agent.problems import explain
from adapter.errors import InvalidRequest

__all__ = ["AgentConfig", "Resources", "Toleration"]

PROMPT = "You are agent {{agent.id}} ({{agent.name}}). Continue your Paperclip work."

PLATFORM, AGENT, JOB, POD, SCHEDULING, WORKSPACE, INHERITED, DOCKER = (
    "Control plane",
    "Agent",
    "Job",
    "Pod",
    "Scheduling",
    "Workspace",
    "Inherited from the adapter's pod",
    "Docker",
)


def _platform(default: Any, label: str, hint: str, **more: Any) -> Any:
    """A field that the control plane's own form has: it is not in ours, where it was doubled once."""
    return Field(default, title=label, description=hint, json_schema_extra={"x-group": PLATFORM}, **more)


def _ours(group: str, control: str, default: Any, label: str, hint: str, **more: Any) -> Any:
    """A field of our own, and the kind of control that shows it."""
    return Field(
        default, title=label, description=hint, json_schema_extra={"x-group": group, "x-control": control}, **more
    )


class AgentConfig(BaseModel):
    """How one agent is run. Frozen; attributes are the wire names in snake_case. Durations are whole seconds."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", hide_input_in_errors=True
    )

    model: fields.Word = _platform("", "Model", "Passed as --model; the CLI's own choice if empty.")
    effort: fields.Word = _platform("", "Effort", "Passed as --effort; the CLI's own choice if empty.")
    command: fields.Arguments = _platform(
        ("claude",), "Command", "The program and its first arguments; text is split as a shell would."
    )
    extra_args: fields.Arguments = _platform((), "Extra arguments", "Appended to the agent's command line, last.")
    env: fields.Env = _platform(
        {}, "Environment", "Variables of the agent; they win over what is inherited.", repr=False
    )
    cwd: fields.Path = _platform(
        "", "Working directory", "Where the agent starts, in the pod, if the run has no workspace."
    )
    instructions_file_path: fields.Text = _platform(
        "", "Instructions file", "A file on the control plane's host, given to a fresh session as a system prompt."
    )
    prompt_template: fields.Text = _platform(PROMPT, "Prompt template", "What the agent is told in each run.")
    bootstrap_prompt_template: fields.Text = _platform(
        "", "First prompt template", "What the agent is told before that when it has no session yet."
    )
    dangerously_skip_permissions: fields.Switch = _platform(
        True, "Skip permissions", "Nobody is there to grant them; without it the agent can do next to nothing."
    )
    timeout_sec: fields.Deadline = _platform(None, "Timeout", "Seconds after which the run is ended; 0: never.")
    grace_sec: fields.Seconds = _platform(60, "Grace", "Seconds that the agent has to end after SIGTERM.")

    max_turns_per_run: fields.Count = _ours(
        AGENT, "number", 1000, "Turns per run", "The agent ends after this many turns; 0: no limit."
    )
    resume_last_session: fields.Switch = _ours(
        AGENT, "toggle", True, "Resume sessions", "Go on with the task's last session instead of starting afresh."
    )
    retry_fresh_session: fields.Switch = _ours(
        AGENT,
        "toggle",
        False,
        "Retry with a fresh session",
        "Run once more, without a session, when the session to be resumed is unknown to the agent.",
    )
    mcp_servers: fields.McpServers = _ours(
        AGENT,
        "textarea",
        {},
        "MCP servers",
        "JSON: servers by name, each with a command or a url, as in .mcp.json.",
        repr=False,
    )

    namespace: fields.Namespace = _ours(
        JOB, "text", "", "Namespace", "Where the agent's Jobs are; the adapter's own if empty."
    )
    kubeconfig: fields.Path = _ours(
        JOB, "text", "", "Kubeconfig", "A file on the adapter's host; the cluster the adapter is in if empty."
    )
    ttl_seconds_after_finished: fields.Seconds = _ours(
        JOB,
        "number",
        3600,
        "Keep for",
        "Seconds after which the cluster deletes a finished Job that nobody deleted before.",
    )
    retain_jobs: fields.Switch = _ours(
        JOB, "toggle", False, "Retain Jobs", "Leave finished Jobs to the cluster, so that they can be looked at."
    )
    reattach_orphaned_jobs: fields.Switch = _ours(
        JOB,
        "toggle",
        True,
        "Come back to running Jobs",
        "Take over the agent's Job on the same task that another adapter process left running.",
    )
    pod_schedule_timeout_sec: fields.Budget = _ours(
        JOB, "number", 120, "Schedule timeout", "Seconds until the pod must have a node."
    )
    pod_start_timeout_sec: fields.Budget = _ours(
        JOB, "number", 600, "Start timeout", "Seconds, after that, until the agent must have started (image pulls)."
    )
    secret_ref: fields.Name = _ours(
        JOB, "text", "paperclip-secrets", "Secret", "The Secret with provider keys that `doctor` looks for."
    )

    image: fields.Image = _ours(
        POD, "text", "", "Image", "The agent's container image; that of the adapter's own pod if empty."
    )
    image_pull_policy: Literal["IfNotPresent", "Always", "Never"] = _ours(
        POD, "select", "IfNotPresent", "Image pull policy", "When the node asks the registry."
    )
    image_pull_secrets: fields.Names = _ours(
        POD, "textarea", (), "Image pull secrets", "Names of Secrets, one a line; those of the own pod are used too."
    )
    service_account_name: fields.Name = _ours(
        POD, "text", "", "Service account", "The pod's account; the namespace's default if empty."
    )
    automount_service_account_token: fields.Switch = _ours(
        POD, "toggle", False, "Mount the account's token", "Lets the agent speak to the API server as that account."
    )
    resources: Resources = Field(
        default_factory=Resources, title="Resources", description="What the agent's container asks for, and its limits."
    )
    labels: fields.Labels = _ours(
        POD, "textarea", {}, "Labels", "For the Job and its pod: key=value, one a line, or a JSON object."
    )

    inherit_scheduling: fields.Switch = _ours(
        SCHEDULING, "toggle", True, "Inherit scheduling", "Node selector and tolerations of the own pod, if unset here."
    )
    node_selector: fields.LabelsOrUnset = _ours(
        SCHEDULING,
        "textarea",
        None,
        "Node selector",
        "key=value, one a line, or a JSON object; {} takes any node and inherits none.",
    )
    tolerations: fields.TolerationsOrUnset = _ours(
        SCHEDULING,
        "textarea",
        None,
        "Tolerations",
        "key=value:Effect, key:Effect or key, one a line, or a JSON list; [] has none and inherits none.",
    )
    priority_class_name: fields.Name = _ours(
        SCHEDULING, "text", "", "Priority class", "The cluster's default if empty."
    )
    runtime_class_name: fields.Name = _ours(
        SCHEDULING, "text", "", "Runtime class", "Such as gvisor; the cluster's default if empty."
    )

    workspace_volume_claim: fields.Name = _ours(
        WORKSPACE,
        "text",
        "",
        "Volume claim",
        "The PersistentVolumeClaim the agent works on; the own pod's at the same place if empty.",
    )
    workspace_mount_path: fields.MountPath = _ours(
        WORKSPACE, "text", "/paperclip", "Mount path", "Where it is mounted; it is the agent's home too."
    )

    inherit_env: fields.PatternsOrUnset = _ours(
        INHERITED,
        "textarea",
        None,
        "Variables",
        "Patterns such as ANTHROPIC_*, one a line, in place of the built-in list; [] inherits none.",
    )
    inherit_env_deny: fields.Patterns = _ours(
        INHERITED, "textarea", (), "Variables never inherited", "Patterns, one a line, beside the built-in list."
    )
    inherit_env_from: fields.Names = _ours(
        INHERITED, "textarea", (), "envFrom sources", "Names of Secrets and ConfigMaps, one a line."
    )
    inherit_secret_volumes: fields.Names = _ours(
        INHERITED, "textarea", (), "Secret volumes", "Names of the Secrets to mount as the own pod does, one a line."
    )

    enable_docker: fields.Switch = _ours(
        DOCKER,
        "toggle",
        False,
        "Docker",
        "A Docker daemon beside the agent. It is privileged: Pod Security refuses it.",
    )
    docker_image: fields.Image = _ours(DOCKER, "text", "docker:28-dind", "Docker image", "The daemon's image.")
    docker_cpu_limit: fields.CpuLimit = _ours(DOCKER, "text", "2", "Docker CPU limit", "Such as 500m or 2.")
    docker_memory_limit: fields.MemoryLimit = _ours(
        DOCKER, "text", "2Gi", "Docker memory limit", "Such as 512Mi or 2Gi."
    )

    _unknown: tuple[str, ...] = PrivateAttr(default=())

    @classmethod
    def parse(cls, given: Mapping[str, Any], *, target: Mapping[str, Any] | None = None) -> AgentConfig:
        """The configuration that a control plane gives, with the environment's `target` laid over it.

        Raises `InvalidRequest`, which names every field that is wrong in one line, and never a value of `env` or
        `mcpServers`.
        """
        known = {field.alias or name for name, field in cls.model_fields.items()}
        document = raw.read(given, target, known)
        try:
            made = cls.model_validate(document.values, by_name=False, by_alias=True)
        except ValidationError as error:
            problems = explain(error, "config", document.origins)
        else:
            made._unknown = document.unknown
            return made
        # Raised outside of the handler: the exception that was handled there holds the input, secrets included.
        raise InvalidRequest(problems)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What was given and has no effect, by its wire name; with a reason where it once had one."""
        return self._unknown

    def to_json(self) -> dict[str, Any]:
        """The configuration as it travels, secrets included; `parse` reads it back."""
        return self.model_dump(mode="json", by_alias=True)

    @field_validator("resources")
    @classmethod
    def _fitted(cls, resources: Resources) -> Resources:
        return resources.fitted()

    @field_validator("command")
    @classmethod
    def _program(cls, command: tuple[str, ...]) -> tuple[str, ...]:
        if not command or not command[0]:
            raise ValueError("is empty: name a program to run")
        return command
