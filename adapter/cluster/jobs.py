"""Jobs as small frozen views, their names and marks, and the calls that change them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapter.cluster.connection import MERGE_PATCH, ApiError, Connection
from adapter.cluster.pods import Pod, grace_of

MANAGED_BY = "claude-k8s-adapter"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
INSTANCE_LABEL = "claude-k8s/instance"
RUN_LABEL = "claude-k8s/run"
AGENT_LABEL = "claude-k8s/agent"
"""Label of a Job, its pods and its lock: the agent that the Job wants for itself alone."""
TASK_LABEL, SESSION_LABEL = "paperclip.io/task-id", "paperclip.io/session-id"
RUN_ID = "claude-k8s/run-id"
"""Annotation: the run id as it was given (a label could not hold every one)."""
REQUEST = "claude-k8s/request"
"""Annotation: the request's hash. The same name with another hash is a conflict."""
CANCEL = "claude-k8s/cancel"
"""Annotation: the run is to be cancelled; its value says why. Durable: a crash does not forget it."""
ADOPTER = "claude-k8s/adopted-by"
"""Annotation: the run id of a later run that took this Job over."""
SUPERVISOR = "claude-k8s/supervisor"
"""Annotation: the replica of the service that looks after this Job. Only who finds it dead may write another name."""
TERM = "claude-k8s/term"
"""Annotation: a new word each time that a replica takes the Job up: what another has read of it is out of date then."""
WAITS = "claude-k8s/waits"
"""Annotation: what a suspended Job waits for. Written again and again while somebody waits with it."""
LET_RUN = "claude-k8s/let-run"
"""Annotation: written by the very call that lets a Job run. A suspended Job that has it was stopped: it never runs
again, or an agent whose Job somebody suspended while nobody looked after it would do its work twice."""
STOPPED = "claude-k8s/stopped"
"""Annotation: why we have stopped a Job that got nowhere, as code and text: who comes back to it tells the same."""
RESULT = "claude-k8s/result"
"""Annotation: the result that was accepted, as JSON."""

RESULT_BYTES = 64 * 1024
"""A result on a Job is not longer: all annotations together may have 256 KiB."""


def slug(text: str, most: int) -> str:
    """The text as a DNS label of at most `most` characters; may be empty."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:most].strip("-")


def job_name(instance: str, run_id: str) -> str:
    """The Job's name: a function of instance and run id, so that creating a run twice creates it once."""
    digest = hashlib.sha256(f"{instance}\0{run_id}".encode()).hexdigest()[:10]
    return "-".join(part for part in ("ck", slug(run_id, 36), digest) if part)


def digest(data: Mapping[str, Any]) -> str:
    """A short hash of plain JSON, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]


def selector(instance: str) -> str:
    """What every Job and pod of the instance matches, and nothing else does."""
    return f"{MANAGED_LABEL}={MANAGED_BY},{INSTANCE_LABEL}={instance}"


def older(version: str, than: str) -> bool:
    """Whether a view is older than another: a GET may overtake the watch. (Kubernetes 1.35 made these comparable.)"""
    return version.isdigit() and than.isdigit() and int(version) < int(than)


def delete_options(uid: str, *, version: str | None = None, policy: str | None = None) -> dict[str, Any]:
    """The body of a DELETE of exactly the object that was seen."""
    preconditions = {"uid": uid} | ({"resourceVersion": version} if version else {})
    body: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": preconditions}
    return body | ({"propagationPolicy": policy} if policy else {})


@dataclass(frozen=True, slots=True)
class Job:
    """What the adapter wants to know of a Job.

    `failing` is the reason of FailureTarget, which comes before the condition that says `failed` (Kubernetes 1.31 and
    later). `agent`, `task` and `session` are label values. `created`, `started` and `finished` are the cluster's times,
    RFC 3339 in whole seconds; good to be shown, never to be compared with ours.
    """

    name: str
    uid: str
    version: str
    deleting: bool
    suspended: bool
    request: str | None
    cancel: str | None
    result: str | None
    complete: bool
    failed: str | None
    failed_message: str | None
    failing: str | None
    grace: int
    let_run: bool = False
    stopped: str | None = None
    instance: str | None = None
    run_id: str | None = None
    adopter: str | None = None
    task: str | None = None
    session: str | None = None
    agent: str | None = None
    supervisor: str | None = None
    waits: str | None = None
    created: str | None = None
    started: str | None = None
    finished: str | None = None

    @property
    def of_run(self) -> str | None:
        """The run whose Job it is now: the one that has taken it over, else the one that made it."""
        return self.adopter or self.run_id

    @property
    def waiting(self) -> bool:
        """Whether it was never let run."""
        return self.suspended and not self.let_run

    @property
    def halted(self) -> bool:
        """Whether it was stopped after it was let run: it never runs again. Its pod may have its grace period yet."""
        return self.suspended and self.let_run

    @property
    def over(self) -> bool:
        """Whether a condition says that the Job has ended."""
        return self.complete or self.failed is not None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Job:
        """The view of a raw Job."""
        meta, spec, status = (raw.get(part) or {} for part in ("metadata", "spec", "status"))
        notes, labels = meta.get("annotations") or {}, meta.get("labels") or {}
        true = {c["type"]: c for c in status.get("conditions") or () if c.get("status") == "True"}
        failed, failing = true.get("Failed"), true.get("FailureTarget")
        template = (spec.get("template") or {}).get("spec") or {}
        return cls(
            name=meta["name"],
            uid=meta.get("uid") or "",
            version=str(meta.get("resourceVersion") or ""),
            deleting=bool(meta.get("deletionTimestamp")),
            suspended=bool(spec.get("suspend")),
            request=notes.get(REQUEST),
            cancel=notes.get(CANCEL),
            result=notes.get(RESULT),
            complete="Complete" in true,
            failed=(failed.get("reason") or "Failed") if failed else None,
            failed_message=failed.get("message") if failed else None,
            failing=(failing.get("reason") or "Failed") if failing else None,
            grace=grace_of(template.get("terminationGracePeriodSeconds")),
            let_run=LET_RUN in notes,
            stopped=notes.get(STOPPED),
            instance=labels.get(INSTANCE_LABEL),
            run_id=notes.get(RUN_ID),
            adopter=notes.get(ADOPTER),
            task=labels.get(TASK_LABEL),
            session=labels.get(SESSION_LABEL),
            agent=labels.get(AGENT_LABEL),
            supervisor=notes.get(SUPERVISOR),
            waits=notes.get(WAITS),
            created=meta.get("creationTimestamp"),
            started=status.get("startTime"),
            finished=status.get("completionTime") or (failed or {}).get("lastTransitionTime"),
        )


class Jobs:
    """The calls that a run makes about its Job, each with a deadline of `call` seconds."""

    def __init__(self, connection: Connection, namespace: str, *, call: float) -> None:
        self._connection = connection
        self._call = call
        self.namespace = namespace
        self._path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._core = f"/api/v1/namespaces/{namespace}"

    async def create(self, manifest: dict[str, Any]) -> Job:
        """Creates the Job. A second create of the same name is an `ApiError` 409."""
        return Job.of(await self._connection.call("POST", self._path, body=manifest, deadline=self._call))

    async def dry_run(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """The Job as the API server would store it. Raises `ApiError` where it would refuse it."""
        query = [("dryRun", "All"), ("fieldValidation", "Strict")]
        path, body = self._path, dict(manifest)
        return await self._connection.call("POST", path, query=query, body=body, deadline=self._call)

    async def get(self, name: str) -> Job | None:
        """The Job, or None if the API server says that there is none of this name."""
        raw = await self.raw(name)
        return Job.of(raw) if raw else None

    async def raw(self, name: str) -> dict[str, Any] | None:
        """The Job as it is, all of it."""
        try:
            return await self._connection.call("GET", f"{self._path}/{name}", deadline=self._call)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def all(self, selector: str) -> list[Job]:
        """The Jobs that match, oldest first."""
        query = [("labelSelector", selector)]
        answer = await self._connection.call("GET", self._path, query=query, deadline=self._call)
        return [Job.of(raw) for raw in _oldest_first(answer)]

    async def pods(self, uid: str) -> list[Pod]:
        """The Job's pods, oldest first: by the Job's UID, since an earlier Job's pod can bear the same job-name."""
        return await self._pods(f"batch.kubernetes.io/controller-uid={uid}")

    async def pods_of_agent(self, agent: str) -> list[Pod]:
        """The pods of all Jobs of an agent, of those that are gone as well, oldest first."""
        return await self._pods(f"{AGENT_LABEL}={agent}")

    async def _pods(self, selector: str) -> list[Pod]:
        query = [("labelSelector", selector)]
        answer = await self._connection.call("GET", f"{self._core}/pods", query=query, deadline=self._call)
        return [Pod.of(raw) for raw in _oldest_first(answer)]

    async def resume(self, job: Job) -> Job:
        """Lets the Job run, if it is still exactly the one we saw."""
        meta = {"resourceVersion": job.version, "annotations": {LET_RUN: "true"}}
        return await self._patch(job, meta, {"suspend": False})

    async def suspend(self, job: Job, why: str | None = None) -> Job:
        """Stops the Job: its pods end. `why` is written on it."""
        return await self._patch(job, {"annotations": {STOPPED: why}} if why else {}, {"suspend": True})

    async def annotate(self, job: Job, key: str, value: str, *, version: bool = False) -> Job:
        """Writes one annotation; with `version`, only if nothing about the Job has changed since we saw it."""
        return await self.mark(job, {key: value}, version=version)

    async def mark(self, job: Job, notes: Mapping[str, str], *, version: bool = False) -> Job:
        """Writes annotations, all or none of them; `version` as with `annotate`."""
        meta: dict[str, Any] = {"resourceVersion": job.version} if version else {}
        return await self._patch(job, {**meta, "annotations": dict(notes)}, None)

    async def delete(self, job: Job, policy: str, *, version: bool = False) -> None:
        """Deletes this very Job (by UID). One that is gone, or replaced, is as good as deleted.

        `policy` is always given: without one the Job's pods would be orphaned and run on. With `version`, only
        if nothing about the Job has changed since we saw it: a 409 is raised then.
        """
        body = delete_options(job.uid, version=job.version if version else None, policy=policy)
        try:
            await self._connection.call("DELETE", f"{self._path}/{job.name}", body=body, deadline=self._call)
        except ApiError as error:
            replaced = error.status == 409 and "UID in the precondition" in error.message
            if error.status != 404 and not replaced:
                raise

    async def end_pod(self, pod: Pod) -> None:
        """Deletes a pod by force, and by UID: it may go on where its node is lost. For operators, not for runs."""
        path, body = f"{self._core}/pods/{pod.name}", delete_options(pod.uid) | {"gracePeriodSeconds": 0}
        try:
            await self._connection.call("DELETE", path, body=body, deadline=self._call)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def warnings(self, uid: str) -> list[tuple[str, str]]:
        """Reason and message of the Warning events about an object, oldest first."""
        query = [("fieldSelector", f"involvedObject.uid={uid},type=Warning"), ("limit", "100")]
        answer = await self._connection.call("GET", f"{self._core}/events", query=query, deadline=self._call)
        events = sorted(
            answer.get("items") or (), key=lambda e: str(e.get("lastTimestamp") or e.get("eventTime") or "")
        )
        return [(str(e.get("reason") or ""), " ".join(str(e.get("message") or "").split())) for e in events]

    async def _patch(self, job: Job, meta: dict[str, Any], spec: dict[str, Any] | None) -> Job:
        body = {"metadata": {"uid": job.uid, **meta}} | ({"spec": spec} if spec else {})
        path = f"{self._path}/{job.name}"
        answer = await self._connection.call("PATCH", path, body=body, content_type=MERGE_PATCH, deadline=self._call)
        return Job.of(answer)


def _oldest_first(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    return sorted(answer.get("items") or (), key=lambda raw: str(raw["metadata"].get("creationTimestamp")))
