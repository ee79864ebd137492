"""What this very pod can tell: the adapter's own pod, where the adapter is one of the cluster that it talks to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from anyio import to_thread

from adapter.cluster.connection import ApiError, Connection
from adapter.cluster.credentials import SERVICE_ACCOUNT

_INSIDE = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
"""Names under which the pods of a cluster know its API server."""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The pod that this process runs in, by its names."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class OwnPod:
    """Our own pod as the API server has it (its environment may hold secrets: never shown), or the reason why not.

    `place` is known where we are a pod of the connection's cluster, even if the pod may not be read.
    """

    raw: Mapping[str, Any] | None = field(default=None, repr=False)
    reason: str = ""
    place: Whereabouts | None = None


def where_am_i(environ: Mapping[str, str] | None = None, *, fallback: str = "default") -> Whereabouts | None:
    """The namespace and the name of the pod we are in; None outside of a cluster, or where nothing says the name.

    The namespace is that of `PAPERCLIP_NAMESPACE`, `POD_NAMESPACE`, the service account or `fallback`, the name that
    of `POD_NAME` or `HOSTNAME`. Reads a file.
    """
    known = os.environ if environ is None else environ
    name = known.get("POD_NAME") or known.get("HOSTNAME")
    if not known.get("KUBERNETES_SERVICE_HOST") or not name:
        return None
    namespace = known.get("PAPERCLIP_NAMESPACE") or known.get("POD_NAMESPACE") or _account_namespace() or fallback
    return Whereabouts(namespace, name)


async def own_pod(connection: Connection, *, call: float) -> OwnPod:
    """Our own pod, read once a connection, within `call` seconds.

    An answer that is a clear no is one: with its reason, and asked again the next time. Raises `ApiError` or
    `Unreachable` for any other: an agent must not run without what it inherits because of a moment's trouble.
    """
    if known := _read.get(connection):
        return known
    found = await _ask(connection, call)
    if found.raw is not None:
        _read[connection] = found
    return found


_read: WeakKeyDictionary[Connection, OwnPod] = WeakKeyDictionary()
"""By connection: another kubeconfig may name another cluster, where this pod is unknown, or another one's name."""


async def _ask(connection: Connection, call: float) -> OwnPod:
    if why := _elsewhere(connection.server, os.environ):
        return OwnPod(reason=why)
    place = await to_thread.run_sync(lambda: where_am_i(fallback=connection.namespace))
    if place is None:
        return OwnPod(reason="neither POD_NAME nor HOSTNAME says the name of our pod")
    try:
        path = f"/api/v1/namespaces/{place.namespace}/pods/{place.name}"
        return OwnPod(await connection.call("GET", path, deadline=call), place=place)
    except ApiError as error:
        if error.status not in (403, 404):
            raise
        return OwnPod(reason=_refused(place, error), place=place)


def _elsewhere(server: str, environ: Mapping[str, str]) -> str:
    """Why our own pod cannot be one of the server's cluster; empty if it is."""
    host = environ.get("KUBERNETES_SERVICE_HOST")
    if not host:
        return "we are not in a cluster"
    port = environ.get("KUBERNETES_SERVICE_PORT") or "443"
    at = urlsplit(server)
    named = at.hostname in _INSIDE or (at.hostname or "").startswith("kubernetes.default.svc.")
    if named or (at.hostname, str(at.port or 443)) == (host.strip("[]").lower(), port):
        return ""
    return "we are in a cluster, but not known to be in the one that we talk to"


def _refused(place: Whereabouts, error: ApiError) -> str:
    if error.status == 403:
        return f"our own pod {place} may not be read: {error.message}"
    return f"there is no pod {place}: set POD_NAME and POD_NAMESPACE to our pod's (a host name can be another)"


def _account_namespace() -> str:
    try:
        return (SERVICE_ACCOUNT / "namespace").read_text().strip()
    except OSError:  # no token is mounted
        return ""
