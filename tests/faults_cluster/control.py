"""The components of the cluster, stopped and started by the script that `CLAUDE_K8S_CLUSTER_CONTROL` names."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import suppress

import anyio

from adapter.cluster.connection import ApiError, Unreachable
from tests.contract.conftest import Object, Place
from tests.faults_cluster.polling import until

SCRIPT = os.environ.get("CLAUDE_K8S_CLUSTER_CONTROL", "")
WITHOUT = (
    "set CLAUDE_K8S_CLUSTER_CONTROL to a script that stops and starts the parts of the cluster"
    " (stop NAME [SIGNAL], start NAME, restart NAME)"
)
BESIDE = "stops parts of the cluster: not beside other tests (run without pytest-xdist)"
COMPONENTS = ("etcd", "apiserver", "containerd", "kcm", "scheduler", "spare", "kubelet")
"""In the order in which they are started. `spare` keeps a second node alive, and ends where it finds no API server."""


class Control:
    """Stops and starts components of the cluster of `place`."""

    def __init__(self, place: Place) -> None:
        self._place, self._etcd_was_away = place, False

    async def stop(self, name: str, signal: str = "TERM") -> None:
        self._etcd_was_away |= name == "etcd"
        await _script("stop", name, signal)

    async def start(self, name: str) -> None:
        """Starts what does not run; an API server until it answers, which one that was just killed may not at once."""
        await _script("start", name)
        if name == "apiserver":
            await until(self._answers, 120)

    async def restart(self, name: str) -> None:
        """Kills a component and starts it again."""
        await self.stop(name, "KILL")
        await self.start(name)

    async def mend(self) -> None:
        """Starts what does not run, and waits until all is well: writes are taken, and every node is heard of.

        A node that was not heard of for some time, while etcd was away, lost the pods of the next test; and a kubelet
        that an API server had refused heard of the next test's pod after a minute. An API server has a connection to
        etcd for each kind of object, and tries each again after up to two minutes: etcd was back, and no Job could be
        read for longer than a launch waits.
        """
        if self._etcd_was_away:
            for name in ("apiserver", "spare"):
                await self.stop(name, "KILL")
            self._etcd_was_away = False
        for name in COMPONENTS:
            await self.start(name)
        await until(self._well, 180)
        await self.restart("kubelet")
        await self.heard()
        await until(self._well, 180)

    async def heard(self) -> None:
        """Waits until the API server has heard of every node again. A node that it does not hear of loses its pods.

        Controllers that it has refused ask it again after up to a minute only (client-go's back-off), and see neither
        Jobs nor nodes until then: begun anew, they ask at once.
        """
        for name in ("kcm", "scheduler"):
            await self.restart(name)
        await self.start("spare")
        before = await self._leases()

        async def renewed() -> bool:
            now = await self._leases()
            return bool(now) and all(now[name] != before.get(name) for name in now)

        await until(renewed, 60)

    async def _answers(self) -> bool:
        """Whether the API server answers. One that ended again, since its port was not free yet, is started again."""
        with suppress(ApiError, Unreachable):
            await self._place.connection.call("GET", "/version", deadline=2)
            return True
        await anyio.sleep(1)
        await _script("start", "apiserver")
        return False

    async def _leases(self) -> dict[str, str]:
        """When each node was last heard of; nothing where nobody can say it."""
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        try:
            leases = (await self._place.connection.call("GET", path, deadline=10))["items"]
        except (ApiError, Unreachable):
            return {}
        return {lease["metadata"]["name"]: lease["spec"]["renewTime"] for lease in leases}

    async def _well(self) -> bool:
        try:
            nodes = (await self._place.connection.call("GET", "/api/v1/nodes", deadline=10))["items"]
            label = {"metadata": {"labels": {"claude-k8s-test": f"well-{time.monotonic_ns()}"}}}
            path = f"/api/v1/namespaces/{self._place.namespace}"
            await self._place.ask("PATCH", path, label, content_type="application/merge-patch+json")
        except ApiError as error:
            return error.status == 404
        except Unreachable:
            return False
        return all(_is_well(node) for node in nodes)


def _is_well(node: Object) -> bool:
    ready = [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"]
    return ready == ["True"] and not any(t["effect"] == "NoExecute" for t in node["spec"].get("taints", ()))


async def _script(*words: str) -> None:
    process = await asyncio.create_subprocess_exec("bash", SCRIPT, *words, stdin=asyncio.subprocess.DEVNULL)
    assert await process.wait() == 0, f"{SCRIPT} {' '.join(words)} failed"
