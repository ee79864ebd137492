"""A volume that outlives its pods: a directory of the real cluster's node, and a claim of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from tests.contract.conftest import Place, job

CLAIM = "work"
_NODE = {"name": "node", "hostPath": {"path": "/var/tmp"}}


@asynccontextmanager
async def kept(place: Place) -> AsyncIterator[str]:
    """The name of a claim in the place; an embedded cluster has every claim that is named."""
    if not place.real:
        yield CLAIM
        return
    name = place.namespace  # nobody else has a volume, or a directory, of that name
    await _on_the_node(place, f"mkdir -m 1777 /node/{name}")
    await place.ask("POST", "/api/v1/persistentvolumes", _volume(name, place.namespace))
    await place.ask("POST", f"{place.core}/persistentvolumeclaims", _claim(name))
    yield CLAIM
    await place.ask("DELETE", f"{place.core}/persistentvolumeclaims/{CLAIM}")
    await place.ask("DELETE", f"/api/v1/persistentvolumes/{name}")
    await _on_the_node(place, f"rm -rf /node/{name}")


def _volume(name: str, namespace: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "hostPath": {"path": f"{_NODE['hostPath']['path']}/{name}"},  # type: ignore[index]
            "claimRef": {"name": CLAIM, "namespace": namespace},
        },
    }


def _claim(volume: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "volumeName": volume,
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


async def _on_the_node(place: Place, script: str) -> None:
    """Runs it as the node's root. A volume of a node's directory is not made to belong to a pod's user."""
    body = job("on-the-node", "sh", "-c", script, pod={"volumes": [_NODE]})
    body["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] = [{"name": "node", "mountPath": "/node"}]
    await place.ask("POST", place.jobs, body)
    with anyio.fail_after(60):
        while not (await place.ask("GET", f"{place.jobs}/on-the-node"))["status"].get("succeeded"):
            await anyio.sleep(0.1)  # a poll of the outside world
    await place.ask("DELETE", f"{place.jobs}/on-the-node", {"propagationPolicy": "Background"})
    await place.empty()
