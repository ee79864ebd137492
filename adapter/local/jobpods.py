"""A Job's pods as its controller sees them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from .jobspec import JOB_TRACKING
from .resources import PODS

if TYPE_CHECKING:
    from .registry import Registry
    from .store import Object


def is_deleted(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def has_ended(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def is_leaving(pod: Object) -> bool:
    """Deleted and still there.

    One that has ended is waited for, too, unless a finalizer holds it: the real controller gets the same
    order from looking only once a second.
    """
    return is_deleted(pod) and not (has_ended(pod) and pod["metadata"].get("finalizers"))


def is_tracked(pod: Object) -> bool:
    return JOB_TRACKING in (pod["metadata"].get("finalizers") or ())


def is_ready(pod: Object) -> bool:
    conditions = pod["status"].get("conditions", ())
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def restarts(pod: Object) -> int:
    status = pod["status"]
    entries = [*status.get("containerStatuses", ()), *status.get("initContainerStatuses", ())]
    return sum(entry["restartCount"] for entry in entries)


def untrack(registry: Registry, pod: Object) -> None:
    """It is counted, or nobody counts any more: it may go."""
    if is_tracked(pod):
        registry.modify(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], _drop_finalizer)


def disown(registry: Registry, pod: Object) -> None:
    """It is not this Job's pod any more."""
    registry.modify(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], _set_free)


def pod_of(job: Object) -> Object:
    """A new pod from the Job's template."""
    template, name = copy.deepcopy(job["spec"]["template"]), job["metadata"]["name"]
    owner: Object = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
    owner |= {"controller": True, "blockOwnerDeletion": True}
    metadata = {"generateName": f"{name}-", **template.get("metadata", {})}
    metadata |= {"ownerReferences": [owner], "finalizers": [JOB_TRACKING]}
    return {"metadata": metadata, "spec": template["spec"], "status": {"phase": "Pending"}}


def _drop_finalizer(pod: Object) -> None:
    left = [name for name in pod["metadata"].get("finalizers", ()) if name != JOB_TRACKING]
    pod["metadata"]["finalizers"] = left
    if not left:
        del pod["metadata"]["finalizers"]


def _set_free(pod: Object) -> None:
    pod["metadata"].pop("ownerReferences", None)
    if is_tracked(pod):
        _drop_finalizer(pod)
