"""From a request to the Job that carries it out: suspended, without retries, within restricted Pod Security."""

from __future__ import annotations

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
    metadata = {"labels": labels, "annotations": annotations}
    spec: dict[str, Any] = {
        "suspend": True,
        "backoffLimit": 0,
        "template": {"metadata": {"labels": labels}, "spec": _pod(request)},
    }
    if request.timeout is not None:
        spec["activeDeadlineSeconds"] = request.timeout
    # With `retain: 0` we delete the Job ourselves, after the report: a TTL of 0 would race the drain. Where we let go
    # of the run and nobody comes back to it, this one does.
    spec["ttlSecondsAfterFinished"] = request.retain or ABANDONED
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name, **metadata}, "spec": spec}


def _pod(request: RunRequest) -> dict[str, Any]:
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": request.grace,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(request)],
    }
    if request.service_account:
        pod["serviceAccountName"] = request.service_account
    if request.node_selector:
        pod["nodeSelector"] = dict(request.node_selector)
    return pod


def _container(request: RunRequest) -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": AGENT,
        "image": request.image,
        "imagePullPolicy": "IfNotPresent",
        "command": [_literal(part) for part in request.command],
        "env": [{"name": name, "value": _literal(value)} for name, value in request.env.items()],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    if request.working_dir:
        container["workingDir"] = request.working_dir
    bounds = {name: value for name, value in (("cpu", request.cpu), ("memory", request.memory)) if value}
    if bounds:
        container["resources"] = {"limits": bounds, "requests": bounds}
    return container


def _literal(text: str) -> str:
    """The text as the kubelet must be given it: it expands `$(NAME)`, and takes `$$` for `$`."""
    return text.replace("$", "$$")
