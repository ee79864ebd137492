"""What happened to a run, with the cluster's times: from a Job, its pods and their events. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from adapter.cluster.pods import Container, Pod
from adapter.words import state_of

Raw = Mapping[str, Any]

NEVER = "1970-"
"""How the kubelet writes the times of a container that never started."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened. Times are the cluster's, and most of them in whole seconds."""

    at: datetime
    words: str


def story(job: Raw, pods: Iterable[Raw], events: Iterable[Raw]) -> list[Moment]:
    """Everything that has a time, in order; what happened within a second, in the order in which it is told here."""
    told = [*_of_job(job), *(moment for pod in pods for moment in _of_pod(pod)), *map(_of_event, events)]
    moments = [Moment(at, words) for text, words in told if (at := _time(text))]
    return sorted(moments, key=lambda moment: moment.at.replace(microsecond=0))


def _of_job(raw: Raw) -> Iterator[tuple[str, str]]:
    meta, status = raw["metadata"], raw.get("status") or {}
    yield meta.get("creationTimestamp") or "", f"Job {meta['name']} created"
    yield status.get("startTime") or "", "the Job was let run"
    true = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
    for kind, words in (("Suspended", "suspended"), ("Complete", "complete"), ("Failed", "failed")):
        if found := true.get(kind):
            yield found.get("lastTransitionTime") or "", f"the Job is {words}{_why(found)}"
    if "FailureTarget" in true and "Failed" not in true:
        found = true["FailureTarget"]
        yield found.get("lastTransitionTime") or "", f"the Job is about to fail{_why(found)}"
    yield meta.get("deletionTimestamp") or "", "the Job is being deleted"


def _of_pod(raw: Raw) -> Iterator[tuple[str, str]]:
    pod, meta = Pod.of(raw), raw["metadata"]
    conditions = {c.get("type"): c for c in (raw.get("status") or {}).get("conditions") or ()}
    yield meta.get("creationTimestamp") or "", f"pod {pod.name} created"
    if found := conditions.get("PodScheduled"):
        where = f"scheduled to {pod.node}" if pod.node else f"not scheduled: {pod.unschedulable or 'no reason'}"
        yield found.get("lastTransitionTime") or "", f"pod {pod.name} {where}"
    for container in pod.containers:
        yield from _of_container(container)
    if pod.disruption:
        at = conditions["DisruptionTarget"].get("lastTransitionTime") or ""
        yield at, f"pod {pod.name}: {pod.disruption} ({pod.disruption_message or 'no message'})"
    if pod.deleting:
        yield _told_to_end(meta), f"pod {pod.name} was told to end"


def _of_container(container: Container) -> Iterator[tuple[str, str]]:
    role = "" if container.role == "main" else f" ({container.role})"
    again = f", after {container.restarts} restarts" if container.restarts else ""
    yield container.started_at or "", f"container {container.name}{role} started{again}"
    if container.terminated:
        yield container.finished_at or "", f"container {state_of(container)}"


def _told_to_end(meta: Raw) -> str:
    """A pod's deletionTimestamp is when its grace period ends."""
    at, grace = _time(meta.get("deletionTimestamp") or ""), meta.get("deletionGracePeriodSeconds") or 0
    return (at - timedelta(seconds=int(grace))).isoformat() if at else ""


def _of_event(raw: Raw) -> tuple[str, str]:
    about, count = raw.get("involvedObject") or {}, raw.get("count") or 1
    times = f" ({count} times)" if count > 1 else ""
    at = raw.get("lastTimestamp") or raw.get("eventTime") or raw["metadata"].get("creationTimestamp") or ""
    message = " ".join(str(raw.get("message") or "").split())
    return at, f"warning of {str(about.get('kind')).lower()} {about.get('name')}: {raw.get('reason')}: {message}{times}"


def _why(condition: Raw) -> str:
    said = ": ".join(part for part in (condition.get("reason"), condition.get("message")) if part)
    return f" ({said})" if said else ""


def _time(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text and not text.startswith(NEVER) else None
    except ValueError:
        return None
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)
