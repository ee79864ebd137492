"""The small objects that a Job owns: the lock of its agent, and the Secret that its pod reads.

Both are owned from their creation on, so that they go with the Job whatever becomes of us: 3,395 Secrets were left
behind where an owner was patched on afterwards (BLO-21857).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapter.cluster.connection import ApiError, Connection
from adapter.cluster.jobs import AGENT_LABEL, MANAGED_BY, MANAGED_LABEL, Job, delete_options, slug


def agent_key(*ids: str) -> str:
    """The agent as a label value: readable, and another one for every other agent."""
    digest = hashlib.sha256("\0".join(ids).encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return "-".join(part for part in (slug(ids[-1], 36), digest) if part)


@dataclass(frozen=True, slots=True)
class Lock:
    """The exclusive right to an agent: it belongs to the Job that it names, by UID."""

    name: str
    uid: str
    version: str
    job: str
    job_uid: str
    run_id: str

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Lock:
        """The view of a raw ConfigMap; one that is not ours names no Job."""
        meta, data = raw["metadata"], raw.get("data") or {}
        return cls(
            name=meta["name"],
            uid=meta.get("uid") or "",
            version=str(meta.get("resourceVersion") or ""),
            job=str(data.get("job") or ""),
            job_uid=str(data.get("uid") or ""),
            run_id=str(data.get("run") or ""),
        )


class Belongings:
    """The calls about them, each with a deadline of `call` seconds."""

    def __init__(self, connection: Connection, namespace: str, *, call: float) -> None:
        self._connection, self._call = connection, call
        self._core = f"/api/v1/namespaces/{namespace}"

    async def lock(self, agent: str, job: Job) -> Lock:
        """Takes the agent for the Job. Somebody else has it: an `ApiError` 409, AlreadyExists."""
        meta = _owned(f"ck-agent-{agent}", job, {AGENT_LABEL: agent})
        data = {"job": job.name, "uid": job.uid, "run": job.run_id or ""}
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data, "immutable": True}
        return Lock.of(await self._connection.call("POST", f"{self._core}/configmaps", body=body, deadline=self._call))

    async def locked(self, agent: str) -> Lock | None:
        """Whose the agent is; None if it is free."""
        try:
            path = f"{self._core}/configmaps/ck-agent-{agent}"
            return Lock.of(await self._connection.call("GET", path, deadline=self._call))
        except ApiError as error:
            if error.status == 404 and error.kind != "namespaces":
                return None
            raise

    async def free(self, lock: Lock) -> None:
        """Deletes exactly the lock that was seen. One that is gone, or another by now, is not ours to delete."""
        body = delete_options(lock.uid, version=lock.version)
        try:
            path = f"{self._core}/configmaps/{lock.name}"
            await self._connection.call("DELETE", path, body=body, deadline=self._call)
        except ApiError as error:
            if error.status not in (404, 409):
                raise

    async def keep(self, job: Job, run_id: str, content: Mapping[str, bytes]) -> None:
        """Keeps what another process needs to go on with the run. What is left of an earlier Job of the name goes."""
        meta, data = _owned(_kept_name(job, run_id), job, {}), _encoded(content)
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "immutable": True, "data": data}
        try:
            await self._connection.call("POST", f"{self._core}/secrets", body=body, deadline=self._call)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            if await self.kept(job, run_id) is None:
                await self._remove(_kept_name(job, run_id))
                await self._connection.call("POST", f"{self._core}/secrets", body=body, deadline=self._call)

    async def kept(self, job: Job, run_id: str) -> dict[str, bytes] | None:
        """What was kept of the run's request; None if there is nothing, or if it is another Job's."""
        try:
            path = f"{self._core}/secrets/{_kept_name(job, run_id)}"
            raw = await self._connection.call("GET", path, deadline=self._call)
        except ApiError as error:
            if error.status == 404:
                return None
            raise
        if job.uid not in {owner.get("uid") for owner in raw["metadata"].get("ownerReferences") or ()}:
            return None
        return {key: base64.b64decode(value) for key, value in (raw.get("data") or {}).items()}

    async def give(self, job: Job, content: Mapping[str, bytes]) -> None:
        """Makes the Job's Secret. One that an earlier try has left is replaced: it may hold an older token."""
        data, meta = _encoded(content), _owned(job.name, job, {})
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "immutable": True, "data": data}
        try:
            await self._connection.call("POST", f"{self._core}/secrets", body=body, deadline=self._call)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            await self.take(job)
            await self._connection.call("POST", f"{self._core}/secrets", body=body, deadline=self._call)

    async def take(self, job: Job) -> None:
        """Deletes the Job's Secret."""
        await self._remove(job.name)

    async def forget(self, job: Job, run_id: str) -> None:
        """Deletes what was kept of the run's request: it is over, or another has taken the Job over."""
        await self._remove(_kept_name(job, run_id))

    async def _remove(self, secret: str) -> None:
        try:
            await self._connection.call("DELETE", f"{self._core}/secrets/{secret}", deadline=self._call)
        except ApiError as error:
            if error.status != 404:
                raise


def _kept_name(job: Job, run_id: str) -> str:
    """Of the run, too: where another takes the Job over, both requests are there for a moment."""
    digest = hashlib.sha256(run_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{job.name}-request-{digest}"


def _encoded(content: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode("ascii") for key, value in content.items()}


def _owned(name: str, job: Job, labels: Mapping[str, str]) -> dict[str, Any]:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": job.uid}
    return {"name": name, "labels": {MANAGED_LABEL: MANAGED_BY, **labels}, "ownerReferences": [owner]}
