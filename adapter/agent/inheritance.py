"""What an agent's pod inherits from the pod that the adapter itself runs in. Pure.

The adapter that was here before copied the whole environment of the control plane into every agent's container,
database URL and signing keys included (PEN-1305). So there is a list of what may pass, and on top of it a list of what
may not, whatever the first one says. What is shown of either are names, never values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TypeVar

from adapter.agent.checks import env_name
from adapter.agent.config import AgentConfig
from adapter.agent.selfpod import EnvFrom, SecretVolume, SelfPod, Variable

__all__ = ["ALLOWED", "DENIED", "HOST_ONLY", "Inherited", "SelfPod", "inherited", "is_host_only", "why_denied"]

ALLOWED: tuple[str, ...] = (
    *("ANTHROPIC_*", "CLAUDE_CODE_*"),
    *("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("CLOUD_ML_REGION", "GOOGLE_CLOUD_*", "VERTEX_*"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "TZ", "LANG", "LC_*"),
    "PAPERCLIP_*",
)
"""Keys and settings of the model's providers, proxies, certificates, locale, and what the control plane says of itself.
`inheritEnv` replaces this list."""

HOST_ONLY: tuple[str, ...] = (
    *("TMPDIR", "TEMP", "TMP", "PAPERCLIP_TMPDIR", "PAPERCLIP_*SCRATCH_DIR"),
    *("GH_CONFIG_DIR", "PAPERCLIP_GITHUB_HOST_HOME", "PAPERCLIP_RUNNER_NETWORK_ROOTS"),
)
"""Paths of the control plane's host, which it puts into an agent's environment all the same (paperclip 2026.916.1)."""

DENIED: tuple[str, ...] = (
    *("*DATABASE*", "PG*", "POSTGRES_*", "BETTER_AUTH_*", "*JWT_SECRET*", "*MASTER_KEY*", "PAPERCLIP_AGENT_JWT_*"),
    *("PAPERCLIP_*SECRET*", "PAPERCLIP_*PASSWORD*", "PAPERCLIP_*TOKEN*", "PAPERCLIP_*_KEY", "PAPERCLIP_*_KEY_*"),
    *("PAPERCLIP_HOME", "PAPERCLIP_CONFIG", "PAPERCLIP_CONFIG_*"),
    *("KUBERNETES_*", "CLAUDE_K8S_*", "HOSTNAME", "PATH", "HOME", "PWD", "OLDPWD", "SHLVL", "_"),
    *HOST_ONLY,
)
"""Secrets and paths of the control plane itself, and what belongs to one pod alone. `inheritEnvDeny` adds to it."""

ByName = TypeVar("ByName", EnvFrom, SecretVolume)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inherited:
    """What passes. `refused` says of each name that does not why; it holds no values."""

    literals: Mapping[str, str] = field(default_factory=dict, repr=False)
    value_from: tuple[Variable, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    secret_volumes: tuple[SecretVolume, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def inherited(self_pod: SelfPod | None, config: AgentConfig) -> Inherited:
    """What of our own pod an agent with this configuration gets; without such a pod, nothing."""
    if self_pod is None:
        return Inherited()
    judged = [(variable, _why_not(variable, self_pod, config)) for variable in self_pod.env]
    passed = [variable for variable, why in judged if why is None]
    env_from, without = _by_name(self_pod.env_from, config.inherit_env_from, "inheritEnvFrom", self_pod, config)
    volumes, unmounted = _by_name(
        self_pod.secret_volumes, config.inherit_secret_volumes, "inheritSecretVolumes", self_pod, config
    )
    return Inherited(
        literals={variable.name: variable.value for variable in passed if not variable.source},
        value_from=tuple(variable for variable in passed if variable.source),
        env_from=env_from,
        secret_volumes=volumes,
        refused={variable.name: why for variable, why in judged if why} | without | unmounted,
    )


def why_denied(name: str, config: AgentConfig) -> str | None:
    """Why no variable of this name is inherited; None if one would be. What is denied is denied, allowed or not."""
    if pattern := _matching(name, DENIED):
        return f"is never inherited ({pattern})"
    if pattern := _matching(name, config.inherit_env_deny):
        return f"is excluded by inheritEnvDeny ({pattern})"
    allowed = ALLOWED if config.inherit_env is None else config.inherit_env
    return None if _matching(name, allowed) else "is on no list of what is inherited: name it in inheritEnv, or in env"


def is_host_only(name: str) -> bool:
    """Whether a variable of this name means something on the control plane's host alone."""
    return _matching(name, HOST_ONLY) is not None


def _matching(name: str, patterns: Iterable[str]) -> str | None:
    return next((pattern for pattern in patterns if fnmatchcase(name, pattern)), None)


def _why_not(variable: Variable, self_pod: SelfPod, config: AgentConfig) -> str | None:
    if why := why_denied(variable.name, config):
        return why
    try:
        env_name(variable.name)
    except ValueError as error:
        return str(error)
    if variable.source is None:
        return None if variable.value else "is empty"
    return _why_not_referred(variable.source, self_pod, config)


def _why_not_referred(source: Mapping[str, object], self_pod: SelfPod, config: AgentConfig) -> str | None:
    kind = next(iter(source), "nothing")
    if kind not in ("secretKeyRef", "configMapKeyRef"):
        return f"says something of the adapter's own pod ({kind}), and would say something else in the agent's"
    return None if self_pod.serves(config.namespace) else _elsewhere(self_pod)


def _elsewhere(self_pod: SelfPod) -> str:
    return f"exists in namespace {self_pod.namespace}, and the agent's pod is in another"


def _by_name(
    offered: tuple[ByName, ...], wanted: tuple[str, ...], field: str, self_pod: SelfPod, config: AgentConfig
) -> tuple[tuple[ByName, ...], dict[str, str]]:
    """What is passed on only if the configuration names it, since its variables are not known here."""
    chosen = tuple(one for one in offered if one.name in wanted)
    refused = {one.name: f"is passed on only if {field} names it" for one in offered if one.name not in wanted}
    known = {one.name for one in offered}
    refused |= {name: f"is named by {field}, but our own pod has no such thing" for name in wanted if name not in known}
    if self_pod.serves(config.namespace):
        return chosen, refused
    return (), refused | {one.name: _elsewhere(self_pod) for one in chosen}
