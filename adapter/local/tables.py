"""What `kubectl get` prints: the server makes the columns."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import times
from .resources import EVENTS, JOBS, NAMESPACES, PODS, Resource

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .store import Object

COLUMNS: dict[Resource, tuple[str, ...]] = {
    JOBS: ("Name", "Status", "Completions", "Duration", "Age"),
    PODS: ("Name", "Ready", "Status", "Restarts", "Age"),
    NAMESPACES: ("Name", "Status", "Age"),
    EVENTS: ("Last Seen", "Type", "Reason", "Object", "Message"),
}


def wanted(accept: str) -> bool:
    """Whether the client would rather have a table."""
    return "as=Table" in accept.split(",")[0]


def table(resource: Resource, objects: Iterable[Object], version: str) -> dict[str, Any]:
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {"resourceVersion": version},
        "columnDefinitions": [_column(name) for name in _columns(resource)],
        "rows": [_row(resource, obj) for obj in objects],
    }


def _columns(resource: Resource) -> tuple[str, ...]:
    return COLUMNS.get(resource, ("Name", "Age"))


def _column(name: str) -> dict[str, Any]:
    kind = {"name": name, "type": "string", "format": "name" if name == "Name" else ""}
    return kind | {"description": "", "priority": 0}


def _row(resource: Resource, obj: Object) -> dict[str, Any]:
    part = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
    cells = {"Name": obj["metadata"]["name"], "Age": _since(obj["metadata"]["creationTimestamp"])}
    cells |= _CELLS[resource](obj) if resource in _CELLS else {}
    return {"cells": [cells[name] for name in _columns(resource)], "object": part}


def _namespace_cells(obj: Object) -> dict[str, str]:
    return {"Status": obj["status"]["phase"]}


def _event_cells(obj: Object) -> dict[str, str]:
    about = obj["involvedObject"]
    cells = {"Last Seen": _since(obj["lastTimestamp"]), "Type": obj["type"], "Reason": obj["reason"]}
    return cells | {"Object": f"{about['kind'].lower()}/{about['name']}", "Message": obj["message"]}


def _job_cells(obj: Object) -> dict[str, str]:
    status = obj.get("status", {})
    true = [cond["type"] for cond in status.get("conditions", ()) if cond["status"] == "True"]
    state = next((name for name in ("Complete", "Failed", "Suspended", "FailureTarget") if name in true), "")
    if obj["metadata"].get("deletionTimestamp"):
        state = state or "Terminating"
    started = status.get("startTime")
    duration = _since(started, status.get("completionTime")) if started else ""
    done = f"{status.get('succeeded', 0)}/{obj['spec'].get('completions', 1)}"
    return {"Status": state or "Running", "Completions": done, "Duration": duration}


def _pod_cells(obj: Object) -> dict[str, str]:
    status = obj.get("status", {})
    containers = status.get("containerStatuses", [])
    ready = sum(container["ready"] for container in containers)
    restarts = sum(container["restartCount"] for container in containers)
    total = len(obj["spec"]["containers"])
    return {"Ready": f"{ready}/{total}", "Status": _pod_state(obj, containers), "Restarts": str(restarts)}


def _pod_state(obj: Object, containers: list[dict[str, Any]]) -> str:
    reason = obj["status"].get("reason") or obj["status"].get("phase", "Unknown")
    for container in containers:
        for kind in ("waiting", "terminated"):
            reason = container["state"].get(kind, {}).get("reason") or reason
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else str(reason)


_CELLS = {JOBS: _job_cells, PODS: _pod_cells, NAMESPACES: _namespace_cells, EVENTS: _event_cells}


def _since(start: str, end: str | None = None) -> str:
    until = times.parse(end) if end else datetime.now(UTC)
    seconds = int((until - times.parse(start)).total_seconds())
    if seconds < 120:
        return f"{seconds}s"
    if seconds < 7200:
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h" if seconds < 172_800 else f"{seconds // 86_400}d"
