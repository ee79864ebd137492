"""A fresh cluster for each test, and a client that adds nothing to the wire."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import pytest

from adapter.local import LocalCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = "/api/v1/namespaces/default/pods"
SECRETS = "/api/v1/namespaces/default/secrets"
MERGE = "application/merge-patch+json"

Object = dict[str, Any]


class Answer:
    """One answer, read to its end."""

    def __init__(self, response: aiohttp.ClientResponse, body: bytes) -> None:
        self.status, self.headers, self.body = response.status, response.headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])


class Watching:
    """A watch, read event by event."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def next(self) -> Any:
        """The next event; None at a clean end."""
        line = await self.response.content.readline()
        return json.loads(line) if line else None

    async def take(self, count: int) -> list[tuple[str, str]]:
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]

    def close(self) -> None:
        self.response.close()


class Wire:
    """Speaks HTTP to the cluster."""

    def __init__(self, cluster: LocalCluster, session: aiohttp.ClientSession) -> None:
        self.cluster, self.session = cluster, session
        self._open: list[aiohttp.ClientResponse] = []

    async def ask(self, method: str, path: str, body: Any = None, **how: Any) -> Answer:
        async with self.session.request(method, path, json=body, **how) as response:
            return Answer(response, await response.read())

    async def get(self, path: str, **query: str) -> Answer:
        return await self.ask("GET", path, params=query)

    async def create(self, path: str, body: Object, **query: str) -> Any:
        answer = await self.ask("POST", path, body, params=query)
        assert answer.status == 201, answer.body
        return answer.json

    async def patch(self, path: str, body: Any, content_type: str = MERGE) -> Answer:
        return await self.ask("PATCH", path, body, headers={"Content-Type": content_type})

    async def delete(self, path: str, **options: Any) -> Answer:
        return await self.ask("DELETE", path, options or None)

    async def open(self, path: str, **query: str) -> aiohttp.ClientResponse:
        response = await self.session.get(path, params=query)
        self._open.append(response)
        return response

    async def watch(self, path: str, **query: str) -> Watching:
        return Watching(await self.open(path, watch="1", **query))

    def close(self) -> None:
        for response in self._open:
            response.close()

    # Jobs

    async def run(self, *command: str, name: str = "a", container: Object | None = None, **spec: Any) -> Any:
        return await self.create(JOBS, job(name, *command, container=container, **spec))

    async def pod(self, name: str = "a") -> str:
        """The name of a Job's only pod, once it is there."""
        found = await self.cluster.until(lambda _: self.pods_of(name))
        return str(found[-1]["metadata"]["name"])

    def pods_of(self, name: str) -> list[Object]:
        pods = self.cluster.list("pods")
        return [pod for pod in pods if pod["metadata"]["labels"]["job-name"] == name]

    async def running(self, name: str = "a") -> str:
        """The name of a Job's pod, once its processes run and a log is there."""
        pod = await self.pod(name)
        await self.cluster.until(lambda _: self.state(pod).get("running"))
        return pod

    def state(self, pod: str, container: str = "main") -> Any:
        statuses = self.status(pod).get("containerStatuses", []) + self.status(pod).get("initContainerStatuses", [])
        return next((one["state"] for one in statuses if one["name"] == container), {})

    def status(self, pod: str) -> Any:
        return (self.cluster.get("pods", pod) or {}).get("status", {})

    def condition(self, type_: str, name: str = "a") -> Any:
        status = (self.cluster.get("jobs", name) or {}).get("status", {})
        true = [one for one in status.get("conditions", ()) if one["status"] == "True"]
        return next((one for one in true if one["type"] == type_), None)

    async def until(self, type_: str, name: str = "a") -> Any:
        return await self.cluster.until(lambda _: self.condition(type_, name))

    async def log(self, pod: str, **query: str) -> Answer:
        return await self.get(f"{PODS}/{pod}/log", **query)

    async def follow(self, pod: str, **query: str) -> aiohttp.ClientResponse:
        return await self.open(f"{PODS}/{pod}/log", follow="true", **query)


def job(name: str, *command: str, container: Object | None = None, pod: Object | None = None, **spec: Any) -> Object:
    """A Job with one container `main` that runs a command."""
    main = {"name": "main", "image": "busybox", "command": list(command)} | (container or {})
    inner = {"restartPolicy": "Never", "containers": [main]} | (pod or {})
    template = {"spec": inner}
    return {"metadata": {"name": name}, "spec": {"backoffLimit": 0, **spec, "template": template}}


def sh(script: str) -> tuple[str, str, str]:
    return "sh", "-c", script


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Every test ends without a process of its own."""
    yield
    children = psutil.Process(os.getpid()).children(recursive=True)
    assert [child.cmdline() for child in children] == []


@pytest.fixture
async def cluster(tmp_path: Any) -> AsyncIterator[LocalCluster]:
    """A cluster, and proof that nothing of it goes on afterwards."""
    before = asyncio.all_tasks()
    async with LocalCluster(tmp_path) as running:
        yield running
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert not left
    assert not running.open_streams()


@pytest.fixture
async def wire(cluster: LocalCluster) -> AsyncIterator[Wire]:
    """A client with the cluster's token."""
    headers = {"Authorization": f"Bearer {cluster.token}"}
    async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
        client = Wire(cluster, session)
        yield client
        client.close()


def failure(code: int, reason: str, message: str, **details: Any) -> Object:
    head = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
    body = head | {"message": message, "reason": reason}
    return body | ({"details": details} if details else {}) | {"code": code}


def secret(name: str, **labels: str) -> Object:
    return {"metadata": {"name": name, "labels": labels}}
