"""Pods as small frozen views of raw JSON. Decoding one with the library's models costs 25 times as much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Raw = Mapping[str, Any]
State = Literal["waiting", "running", "terminated", "none"]
Role = Literal["main", "init", "sidecar"]

AGENT = "claude"
"""The name of the container that does the run's work."""
STDERR = "stderr"
"""The name of the sidecar that relays what an agent says on stderr: stdout carries the transcript alone."""


@dataclass(frozen=True, slots=True)
class Container:
    """A container's state, as its pod's status says it. `exit_code` may be missing although it terminated."""

    name: str
    role: Role
    state: State
    reason: str | None = None
    message: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    started_at: str | None = None
    finished_at: str | None = None
    restarts: int = 0

    @property
    def terminated(self) -> bool:
        return self.state == "terminated"

    @classmethod
    def of(cls, raw: Raw, role: Role) -> Container:
        """The view of one entry of `containerStatuses` or `initContainerStatuses`."""
        state: State = "none"
        detail: Raw = {}
        for name in ("terminated", "running", "waiting"):
            if (raw.get("state") or {}).get(name) is not None:
                state, detail = name, raw["state"][name]
                break
        return cls(
            name=str(raw.get("name") or "?"),
            role=role,
            state=state,
            reason=detail.get("reason") or None,
            message=detail.get("message") or None,
            exit_code=detail.get("exitCode"),
            signal=detail.get("signal"),
            started_at=detail.get("startedAt"),
            finished_at=detail.get("finishedAt"),
            restarts=int(raw.get("restartCount") or 0),
        )


@dataclass(frozen=True, slots=True)
class Pod:
    """What the adapter wants to know of a pod.

    `deleting` is true from its deletionTimestamp on, `grace` are its seconds; `disruption` is the reason of its
    DisruptionTarget condition, `unschedulable` the scheduler's words.
    """

    name: str
    uid: str
    version: str
    owner: str | None
    phase: str
    node: str | None
    reason: str | None
    message: str | None
    deleting: bool
    grace: int
    disruption: str | None
    disruption_message: str | None
    unschedulable: str | None
    containers: tuple[Container, ...]

    @property
    def agent(self) -> Container | None:
        """The container that does the run's work, once the kubelet reports it."""
        return next((c for c in self.containers if c.role == "main" and c.name == AGENT), None)

    @property
    def over(self) -> bool:
        """Whether the whole pod has ended."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def quiet(self) -> bool:
        """Whether the agent's container says nothing any more: it terminated, or never will start."""
        return self.ended(AGENT)

    def container(self, name: str) -> Container | None:
        """A container by its name, an init container or a sidecar as well."""
        return next((c for c in self.containers if c.name == name), None)

    def ended(self, name: str) -> bool:
        """Whether a container says nothing any more: it terminated, or never will start."""
        container = self.container(name)
        return self.over or (container is not None and container.terminated)

    @classmethod
    def of(cls, raw: Raw) -> Pod:
        """The view of a raw pod. Nothing in it is required: an early pod has no status at all."""
        meta, spec, status = (raw.get(part) or {} for part in ("metadata", "spec", "status"))
        conditions = {c.get("type"): c for c in status.get("conditions") or ()}
        disruption = _true(conditions.get("DisruptionTarget"))
        scheduled = conditions.get("PodScheduled") or {}
        unschedulable = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
        return cls(
            name=meta["name"],
            uid=meta.get("uid") or "",
            version=str(meta.get("resourceVersion") or ""),
            owner=(meta.get("labels") or {}).get("batch.kubernetes.io/controller-uid"),
            phase=status.get("phase") or "Pending",
            node=spec.get("nodeName"),
            reason=status.get("reason"),
            message=status.get("message"),
            deleting=bool(meta.get("deletionTimestamp")),
            # A deletion's 0 is a force, or the kubelet's last step: neither says how long a container may still take.
            grace=grace_of(meta.get("deletionGracePeriodSeconds") or None, spec.get("terminationGracePeriodSeconds")),
            disruption=disruption.get("reason"),
            disruption_message=disruption.get("message"),
            unschedulable=(scheduled.get("message") or "no node fits") if unschedulable else None,
            containers=tuple(_containers(spec, status)),
        )


def grace_of(*seconds: int | None) -> int:
    """The first grace period that is given: 0 is one, too."""
    return next((int(s) for s in seconds if s is not None), 30)


def _true(condition: Raw | None) -> Raw:
    return condition if condition and condition.get("status") == "True" else {}


def _containers(spec: Raw, status: Raw) -> Iterator[Container]:
    sidecars = {c.get("name") for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    for raw in status.get("initContainerStatuses") or ():
        yield Container.of(raw, "sidecar" if raw.get("name") in sidecars else "init")
    for raw in status.get("containerStatuses") or ():
        yield Container.of(raw, "main")
