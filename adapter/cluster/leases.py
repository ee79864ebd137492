"""Leases as small frozen views, and the calls about them: who of an instance's processes is alive.

Times in a Lease are its holder's, for people to read. No two machines' clocks are ever compared: what counts is
whether a Lease changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from adapter.cluster.connection import MERGE_PATCH, ApiError, Connection, Unreachable
from adapter.cluster.jobs import INSTANCE_LABEL, MANAGED_BY, MANAGED_LABEL, delete_options, job_name, selector


def lease_name(instance: str, replica: str) -> str:
    """The Lease's name: a function of instance and replica, so that a replica that comes back finds its own."""
    return job_name(instance, replica)


@dataclass(frozen=True, slots=True)
class Lease:
    """What the adapter wants to know of a Lease. `renewed` is its holder's time, as it was written."""

    name: str
    uid: str
    version: str
    holder: str | None
    renewed: str | None
    transitions: int

    @property
    def mark(self) -> tuple[str, str | None, str | None]:
        """What is another one after each renewal, and after nothing else: somebody's label is no sign of life."""
        return self.uid, self.holder, self.renewed

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> Lease:
        """The view of a raw Lease."""
        meta, spec = raw["metadata"], raw.get("spec") or {}
        return cls(
            name=meta["name"],
            uid=meta.get("uid") or "",
            version=str(meta.get("resourceVersion") or ""),
            holder=spec.get("holderIdentity"),
            renewed=spec.get("renewTime"),
            transitions=spec.get("leaseTransitions") or 0,
        )


class Leases:
    """The calls about the Leases of one instance, each with a deadline of `call` seconds."""

    def __init__(self, connection: Connection, namespace: str, instance: str, *, call: float) -> None:
        self._connection, self._instance, self._call = connection, instance, call
        self._path = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    async def create(self, name: str, holder: str, duration: int) -> Lease:
        """Creates a Lease, held from now on. A second create of the same name is an `ApiError` 409."""
        labels = {MANAGED_LABEL: MANAGED_BY, INSTANCE_LABEL: self._instance}
        spec = {"holderIdentity": holder, "leaseDurationSeconds": duration, "leaseTransitions": 0}
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": name, "labels": labels},
            "spec": spec | dict.fromkeys(("acquireTime", "renewTime"), _now()),
        }
        return _view(await self._connection.call("POST", self._path, body=body, deadline=self._call))

    async def get(self, name: str) -> Lease | None:
        """The Lease, or None if the API server says that there is none of this name."""
        try:
            return _view(await self._connection.call("GET", f"{self._path}/{name}", deadline=self._call))
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def all(self) -> list[Lease]:
        """The Leases of the instance. Raises `Unreachable` for what is no list of Leases: it would lack everybody."""
        query = [("labelSelector", selector(self._instance))]
        answer = await self._connection.call("GET", self._path, query=query, deadline=self._call)
        if answer.get("kind") != "LeaseList":
            raise Unreachable(f"what answers is no API server: it lists {answer.get('kind')}")
        return [_view(raw) for raw in answer.get("items") or ()]

    async def renew(self, lease: Lease, holder: str) -> Lease:
        """A sign of life, if the Lease is still exactly the one we saw; another holder takes it over by the same.

        An `ApiError` 409 says that it was changed meanwhile, 404 that it is gone.
        """
        now = _now()
        spec: dict[str, Any] = {"renewTime": now}
        if lease.holder != holder:
            spec |= {"holderIdentity": holder, "acquireTime": now, "leaseTransitions": lease.transitions + 1}
        body = {"metadata": {"resourceVersion": lease.version}, "spec": spec}
        path = f"{self._path}/{lease.name}"
        answer = await self._connection.call("PATCH", path, body=body, content_type=MERGE_PATCH, deadline=self._call)
        return _view(answer)

    async def delete(self, lease: Lease) -> None:
        """Deletes exactly the Lease that was seen. One that is gone, or was renewed since, is not ours to delete."""
        body = delete_options(lease.uid, version=lease.version)
        try:
            await self._connection.call("DELETE", f"{self._path}/{lease.name}", body=body, deadline=self._call)
        except ApiError as error:
            if error.status not in (404, 409):
                raise


def _view(raw: dict[str, Any]) -> Lease:
    try:
        return Lease.of(raw)
    except (KeyError, TypeError, AttributeError) as error:
        raise Unreachable(f"what answers is no API server: {error!r}") from error  # a proxy's page, in JSON


def _now() -> str:
    """Exactly six digits of a second: the API server refuses any other number (and isoformat() drops zeros)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
