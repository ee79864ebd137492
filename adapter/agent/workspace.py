"""Where in its pod an agent works, and whether what it leaves there outlives the pod. Pure.

Paths that a control plane names are those of its own host. They mean the same in the pod only on a volume that both
have mounted at the same place.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapter.agent import checks
from adapter.agent.config import AgentConfig
from adapter.agent.context import RunContext
from adapter.agent.problems import shown
from adapter.agent.selfpod import Claim, SelfPod

NOT_PERSISTENT = (
    "no volume outlives the pod, so this session cannot be resumed: set workspaceVolumeClaim to a claim that all runs"
    " of the agent share"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """The mount point, which is the agent's home too, the claim that is mounted there, and the working directory.

    Without a claim there is an empty volume, gone with the pod.
    """

    mount: str
    claim: Claim | None
    cwd: str
    notes: tuple[str, ...] = ()

    @property
    def persistent(self) -> bool:
        """Whether the agent's home, with its sessions, outlives the pod."""
        return self.claim is not None

    def path(self, given: object) -> str | None:
        """A path of the control plane's host, if it is one in the pod too."""
        return _shared(given, self.mount) if self.persistent else None


def claim_of(config: AgentConfig, self_pod: SelfPod | None) -> Claim | None:
    """The claim an agent works on: the one its configuration names, else the one our own pod has at the same place."""
    own = self_pod.claim_at(config.workspace_mount_path) if self_pod else None
    if config.workspace_volume_claim:
        wanted = Claim(config.workspace_volume_claim)
        return own if own and own.name == wanted.name else wanted
    return own if self_pod and self_pod.serves(config.namespace) else None


def workspace(context: RunContext, config: AgentConfig, self_pod: SelfPod | None) -> Workspace:
    """The workspace of a run: the directory the control plane names, else the configured one, else the mount point."""
    mount, claim = config.workspace_mount_path, claim_of(config, self_pod)
    notes: tuple[str, ...] = () if claim else (NOT_PERSISTENT,)
    named = _named(context, config)
    if named and claim and (cwd := _shared(named, mount)):
        return Workspace(mount=mount, claim=claim, cwd=cwd, notes=notes)
    cwd = config.cwd or mount
    if not claim and _below(cwd, mount) and cwd != mount:
        # The container runtime would make it, for root alone.
        notes += (f"the working directory is {mount}: {shown(cwd)} does not exist on an empty volume",)
        cwd = mount
    if named:
        notes += (f"the working directory is {cwd}: {shown(named)}, of the control plane's host, is not in the pod",)
    return Workspace(mount=mount, claim=claim, cwd=cwd, notes=notes)


def _named(context: RunContext, config: AgentConfig) -> str:
    """The directory the control plane names. A configured one is preferred to the agent's home, its last resort."""
    found = context.workspace.get("cwd")
    last_resort = context.workspace.get("source") == "agent_home" and config.cwd
    return found.strip() if isinstance(found, str) and not last_resort else ""


def _shared(given: object, mount: str) -> str | None:
    if not isinstance(given, str):
        return None
    try:
        path = checks.path(given.strip())
    except ValueError:
        return None
    return path if _below(path, mount) else None


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(f"{directory}/")
