"""The same tests against the embedded cluster and against the real one of $KUBECONFIG (`make test-cluster`)."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import anyio
import psutil
import pytest

from adapter.cluster.connection import ApiError, Connection
from adapter.cluster.credentials import Source
from adapter.local import LocalCluster, Timing

Object = dict[str, Any]


@dataclass
class Ended:
    """A process that has ended."""

    status: int
    out: str
    err: str

    @property
    def result(self) -> Object:
        """The result of a `--json` run."""
        lines = [json.loads(line) for line in self.out.splitlines()]
        return next(line for line in lines if line["type"] == "result")


@dataclass
class Place:
    """A namespace of a cluster, and the command that is used in it."""

    kubeconfig: str
    namespace: str
    connection: Connection
    real: bool

    @property
    def jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self.namespace}/jobs"

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}"

    async def ask(self, method: str, path: str, body: Object | None = None, **how: Any) -> Object:
        return await self.connection.call(method, path, body=body, deadline=30, **how)

    async def refused(self, method: str, path: str, body: Object | None = None, **how: Any) -> ApiError:
        """A call that must be refused."""
        with pytest.raises(ApiError) as caught:
            await self.ask(method, path, body, **how)
        return caught.value

    async def create(self, name: str, *command: str, **fields: Any) -> Object:
        """A Job of one container, `main`."""
        return await self.ask("POST", self.jobs, job(name, *command, **fields))

    async def pod_of(self, name: str) -> Object:
        query = [("labelSelector", f"job-name={name}")]
        with anyio.fail_after(30):
            while not (items := (await self.ask("GET", f"{self.core}/pods", query=query))["items"]):
                await anyio.sleep(0.05)  # a poll of the outside world, not a synchronisation of ours
        return dict(items[0])

    async def until_pod(self, name: str, holds: Callable[[Object], object]) -> Object:
        with anyio.fail_after(60):
            while not holds(pod := await self.pod_of(name)):
                await anyio.sleep(0.05)
        return pod

    async def log(self, pod: str, **query: str) -> bytes:
        async with self.connection.stream(f"{self.core}/pods/{pod}/log", query=query.items(), headers=30) as response:
            return await response.read()

    async def start(self, *arguments: str, environment: dict[str, str] | None = None) -> asyncio.subprocess.Process:
        """Begins `claude-k8s run` here. Its signals are its own."""
        given = ["run", "--kubeconfig", self.kubeconfig, "-n", self.namespace, *arguments]
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "adapter.cli",
            *given,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": "error", **(environment or {})},
        )

    async def run(self, *arguments: str, environment: dict[str, str] | None = None) -> Ended:
        return await ended(await self.start(*arguments, environment=environment))

    async def empty(self) -> None:
        """Waits until no Job and no pod of ours is left."""
        with anyio.fail_after(60):
            for path in (self.jobs, f"{self.core}/pods"):
                while (await self.ask("GET", path))["items"]:
                    await anyio.sleep(0.1)


async def ended(process: asyncio.subprocess.Process) -> Ended:
    out, err = await asyncio.wait_for(process.communicate(), 120)
    return Ended(process.returncode or 0, out.decode(), err.decode())


def job(name: str, *command: str, grace: int = 5, **spec: Any) -> Object:
    """A Job as anybody would write it."""
    container = {"name": "main", "image": "busybox:1.36", "command": list(command), "imagePullPolicy": "IfNotPresent"}
    pod = {"restartPolicy": "Never", "terminationGracePeriodSeconds": grace, "containers": [container]}
    pod.update(spec.pop("pod", {}))
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": {"spec": pod}, **spec},
    }


def process_of(token: str) -> psutil.Process:
    """The pod's process, found on this machine by a word in its command line."""
    mine = psutil.Process().pid
    for process in psutil.process_iter(["cmdline", "pid"]):
        line = process.info["cmdline"] or []
        if line[:1] == ["sh"] and token in " ".join(line) and process.info["pid"] != mine:
            return process
    pytest.skip("the pods' processes are not on this machine")


@pytest.fixture(params=["embedded", pytest.param("real", marks=pytest.mark.cluster)])
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """An empty namespace of an embedded or of the real cluster."""
    real = request.param == "real"
    opened = _real() if real else _embedded()
    async for place in opened:
        yield place


async def _embedded() -> AsyncIterator[Place]:
    async with LocalCluster(timing=Timing.real()) as cluster:
        connection = await Connection.open(Source(str(cluster.kubeconfig)), deadline=10)
        yield Place(str(cluster.kubeconfig), "default", connection, real=False)
        await connection.close()


async def _real() -> AsyncIterator[Place]:
    kubeconfig = os.environ.get("KUBECONFIG") or pytest.fail("set KUBECONFIG")
    connection = await Connection.open(Source(kubeconfig), deadline=30)
    name = f"claude-k8s-test-{secrets.token_hex(4)}"
    await connection.call("POST", "/api/v1/namespaces", body={"metadata": {"name": name}}, deadline=30)
    place = Place(kubeconfig, name, connection, real=True)
    with anyio.fail_after(30):
        while not await _has_account(place):
            await anyio.sleep(0.1)
    yield place
    body = {"gracePeriodSeconds": 0}
    await connection.call("DELETE", f"/api/v1/namespaces/{name}", body=body, deadline=30)
    await connection.close()


async def _has_account(place: Place) -> bool:
    try:
        await place.ask("GET", f"{place.core}/serviceaccounts/default")
    except ApiError:
        return False
    return True
