"""A pod's status, composed from what the kubelet knows of its containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import times

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .containers import Container
    from .store import Object

NOT_READY = ("ContainersNotReady", "containers with unready status: [{names}]")
ADDRESS = "127.0.0.1"


def compose(
    old: Object,
    containers: Sequence[Container],
    inits: Sequence[Container],
    *,
    phase: str,
    policy: str,
    initialized: bool,
    node_ready: bool,
    extra: Object,
) -> Object:
    """The whole status; conditions keep the time of their last change."""
    ready = all(container.running for container in [*containers, *_sidecars(inits)]) and phase == "Running"
    over = phase if phase in ("Succeeded", "Failed") else end_of(inits, containers, policy)
    started = any("waiting" not in container.state for container in [*containers, *inits])
    conditions = [
        _condition("PodReadyToStartContainers", started and phase not in ("Succeeded", "Failed")),
        _condition("Initialized", initialized, *_because(inits, initialized, over)),
        _ready("Ready", ready and node_ready, containers, over),
        _ready("ContainersReady", ready, containers, over),
    ]
    status = old | {"phase": phase, "conditions": merge_conditions(old.get("conditions") or [], conditions)}
    status |= {"hostIP": ADDRESS, "hostIPs": [{"ip": ADDRESS}], "qosClass": "BestEffort"}
    status |= {"podIP": ADDRESS, "podIPs": [{"ip": ADDRESS}]} if started else {}
    status |= {"startTime": old.get("startTime") or times.now()}
    status["containerStatuses"] = [container.status(ready=True) for container in containers]
    if inits:
        status["initContainerStatuses"] = [container.status(ready=True) for container in inits]
    return status | extra


def _sidecars(inits: Sequence[Container]) -> list[Container]:
    return [container for container in inits if container.is_sidecar]


def end_of(inits: Sequence[Container], containers: Sequence[Container], policy: str) -> str | None:
    """`Succeeded` or `Failed` once every container has ended and none will be started again."""
    codes = [one.terminated["exitCode"] if one.terminated else None for one in containers]
    failed_init = any(one.terminated and one.terminated["exitCode"] for one in inits if not one.is_sidecar)
    if policy != "Never" and (policy == "Always" or failed_init or any(codes)):
        return None
    if failed_init:
        return "Failed"
    if None in codes or any(one.running for one in _sidecars(inits)):
        return None
    return "Failed" if any(codes) else "Succeeded"


def _because(inits: Sequence[Container], initialized: bool, over: str | None) -> tuple[str, ...]:
    if initialized:
        return ("PodCompleted",) if over == "Succeeded" else ()
    names = " ".join(container.name for container in inits)
    return "ContainersNotInitialized", f"containers with incomplete status: [{names}]"


def _ready(type_: str, ready: bool, containers: Sequence[Container], over: str | None) -> dict[str, Any]:
    if ready:
        return _condition(type_, True)
    if over is not None:
        return _condition(type_, False, "PodCompleted" if over == "Succeeded" else "PodFailed")
    names = " ".join(container.name for container in containers if not container.running)
    return _condition(type_, False, NOT_READY[0], NOT_READY[1].format(names=names))


def _condition(type_: str, true: bool, reason: str = "", message: str = "") -> dict[str, Any]:
    condition: dict[str, Any] = {"type": type_, "status": "True" if true else "False", "lastProbeTime": None}
    condition |= {"reason": reason} if reason else {}
    return condition | ({"message": message} if message else {})


def merge_conditions(old: Sequence[Object], new: Sequence[Object]) -> list[Object]:
    """New ones first, as the kubelet does; those it does not know are kept."""
    before = {condition["type"]: condition for condition in old}
    merged = []
    for condition in new:
        previous = before.pop(condition["type"], None)
        same = previous is not None and previous["status"] == condition["status"]
        changed = previous["lastTransitionTime"] if previous and same else times.now()
        merged.append(condition | {"lastTransitionTime": changed})
    return merged + list(before.values())


def true_condition(type_: str, reason: str, message: str) -> dict[str, Any]:
    return _condition(type_, True, reason, message)
