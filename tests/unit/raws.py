"""Raw Jobs and pods as the API server gives them, and the views of them."""

from __future__ import annotations

from typing import Any

from adapter.case import Case
from adapter.cluster.jobs import CANCEL, Job
from adapter.cluster.pods import Pod
from adapter.limits import Limits

Raw = dict[str, Any]

JOB_UID = "5f0c"
BACKOFF = ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
DEADLINE = ("DeadlineExceeded", "Job was active longer than specified deadline")
STARTED, FINISHED = "2026-11-22T21:15:39Z", "2026-11-22T21:16:02Z"
START_ERROR = 'exec: "/x": stat /x: no such file or directory: unknown'


def running(name: str = "claude") -> Raw:
    return {"name": name, "ready": True, "restartCount": 0, "state": {"running": {"startedAt": STARTED}}}


def waiting(reason: str, message: str | None = None, name: str = "claude") -> Raw:
    detail = {"reason": reason} | ({"message": message} if message else {})
    return {"name": name, "ready": False, "restartCount": 0, "state": {"waiting": detail}}


def terminated(exit_code: int | None, reason: str | None = None, *, name: str = "claude", **more: Any) -> Raw:
    detail = {"exitCode": exit_code, "reason": reason, "startedAt": STARTED, "finishedAt": FINISHED} | more
    given = {key: value for key, value in detail.items() if value is not None}
    return {"name": name, "ready": False, "restartCount": 0, "state": {"terminated": given}}


def condition(kind: str, reason: str = "", message: str = "", status: str = "True") -> Raw:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def raw_pod(
    *containers: Raw,
    phase: str = "Running",
    init: tuple[Raw, ...] = (),
    sidecars: tuple[str, ...] = (),
    node: str | None = "node-1",
    conditions: tuple[Raw, ...] = (),
    deleting: bool = False,
    owner: str = JOB_UID,
    version: str = "10",
    uid: str = "b001",
    grace: int = 30,
    reason: str | None = None,
    message: str | None = None,
) -> Raw:
    meta: Raw = {
        "name": "ck-run-abcde",
        "uid": uid,
        "resourceVersion": version,
        "labels": {"job-name": "ck-run", "batch.kubernetes.io/controller-uid": owner},
    }
    if deleting:
        meta |= {"deletionTimestamp": FINISHED, "deletionGracePeriodSeconds": grace}
    spec: Raw = {"terminationGracePeriodSeconds": grace, "containers": [{"name": "claude"}]}
    if node:
        spec["nodeName"] = node
    if init:
        always = {name: {"restartPolicy": "Always"} for name in sidecars}
        spec["initContainers"] = [{"name": c["name"], **always.get(c["name"], {})} for c in init]
    status: Raw = {"phase": phase}
    parts = (("conditions", conditions), ("initContainerStatuses", init), ("containerStatuses", containers))
    status |= {key: list(value) for key, value in parts if value}
    status |= {key: value for key, value in (("reason", reason), ("message", message)) if value}
    return {"metadata": meta, "spec": spec, "status": status}


def pod(*containers: Raw, **more: Any) -> Pod:
    return Pod.of(raw_pod(*containers, **more))


def unscheduled(message: str = "0/1 nodes are available: 1 Insufficient cpu.") -> Pod:
    scheduled = condition("PodScheduled", "Unschedulable", message, status="False")
    return pod(phase="Pending", node=None, conditions=(scheduled,))


def raw_job(
    *conditions: Raw,
    suspend: bool = False,
    deleting: bool = False,
    cancel: str | None = None,
    version: str = "10",
    uid: str = JOB_UID,
    grace: int = 30,
) -> Raw:
    meta: Raw = {"name": "ck-run", "uid": uid, "resourceVersion": version, "annotations": {}}
    if deleting:
        meta |= {"deletionTimestamp": FINISHED, "finalizers": ["foregroundDeletion"]}
    if cancel is not None:
        meta["annotations"][CANCEL] = cancel
    template = {"spec": {"terminationGracePeriodSeconds": grace}}
    return {
        "metadata": meta,
        "spec": {"suspend": suspend, "template": template},
        "status": {"conditions": list(conditions)} if conditions else {},
    }


def job(*conditions: Raw, **more: Any) -> Job:
    return Job.of(raw_job(*conditions, **more))


def failed(reason: str = BACKOFF[0], message: str = BACKOFF[1], **more: Any) -> Job:
    """As it ends: the pre-condition stays beside the condition."""
    return job(condition("FailureTarget", reason, message), condition("Failed", reason, message), **more)


def failing(reason: str = BACKOFF[0], message: str = BACKOFF[1], **more: Any) -> Job:
    return job(condition("FailureTarget", reason, message), **more)


def complete(**more: Any) -> Job:
    reached = ("CompletionsReached", "Reached expected number of succeeded pods")
    return job(condition("SuccessCriteriaMet", *reached), condition("Complete", *reached), **more)


def case(*seen: Job | Pod, limits: Limits | None = None, grace: int = 30) -> Case:
    """A run whose Job was let run at 0, and what was seen of it, each 1 s after the other."""
    made = Case(job(version="1", grace=grace), limits or Limits())
    made.running(0.0)
    for at, view in enumerate(seen, start=1):
        see(made, view, float(at))
    return made


def see(made: Case, view: Job | Pod, at: float) -> None:
    if isinstance(view, Job):
        made.see_job(view, at)
    else:
        made.see_pod(view, at)
