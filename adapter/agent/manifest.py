"""From a request to the Job that carries it out: suspended, without retries, within restricted Pod Security."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from adapter.run import RunRequest

AGENT = "claude"
ABANDONED = 3600
"""Seconds after its end when a Job is deleted that was to be deleted by whoever supervised it."""

USER = 1000
"""The pods' user and group: `runAsNonRoot` refuses an image that names no numeric user of its own."""


def job_manifest(
    request: RunRequest, *, name: str, labels: dict[str, str], annotations: dict[str, str]
) -> dict[str, Any]:
    """The Job for a request. It is created suspended: nothing runs before its UID is known to the plane."""
    pod = pod_spec([_container(request)], grace=request.grace)
    pod["securityContext"]["fsGroup"] = USER
    if request.service_account:
        pod["serviceAccountName"] = request.service_account
    if request.node_selector:
        pod["nodeSelector"] = dict(request.node_selector)
    metadata = {"name": name, "labels": labels, "annotations": annotations}
    return job(pod, metadata, deadline=request.timeout, retain=request.retain)


def job(pod: dict[str, Any], metadata: Mapping[str, Any], *, deadline: int | None, retain: int) -> dict[str, Any]:
    """The Job of a pod, whose labels are the pod's too. `deadline` and `retain` are seconds; None: no deadline."""
    spec: dict[str, Any] = {
        "suspend": True,
        "backoffLimit": 0,
        "template": {"metadata": {"labels": metadata["labels"]}, "spec": pod},
    }
    if deadline is not None:
        spec["activeDeadlineSeconds"] = deadline
    # With `retain: 0` we delete the Job ourselves, after the report: a TTL of 0 would race the drain. Where we let go
    # of the run and nobody comes back to it, this one does.
    spec["ttlSecondsAfterFinished"] = retain or ABANDONED
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": dict(metadata), "spec": spec}


def pod_spec(containers: list[dict[str, Any]], *, grace: int) -> dict[str, Any]:
    """What every pod has: no retries, no token, and an unprivileged user. `grace` is in seconds."""
    return {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
    }


def confined() -> dict[str, Any]:
    """A container's security context, with `pod_spec`'s within restricted Pod Security."""
    return {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def _container(request: RunRequest) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": AGENT,
        "image": request.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [literal(part) for part in request.command],
        "env": [{"name": name, "value": literal(value)} for name, value in request.env.items()],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": confined(),
    }
    if request.working_dir:
        container["workingDir"] = request.working_dir
    bounds = {name: value for name, value in (("cpu", request.cpu), ("memory", request.memory)) if value}
    if bounds:
        container["resources"] = {"limits": bounds, "requests": bounds}
    return container


def literal(text: str) -> str:
    """The text as the kubelet must be given it: it expands `$(NAME)`, and takes `$$` for `$`."""
    return text.replace("$", "$$")
