"""The manifests of docs/deploy on the real cluster: the service and the sidecar as a user gets them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.contract.conftest import Object, Place
from tests.contract.manifests import IMAGE, KUBECTL, Installation, other

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.parametrize("place", ["real"], indirect=True),
    pytest.mark.skipif(not KUBECTL, reason="no kubectl: name one in KUBECTL"),
]
with_image = pytest.mark.skipif(
    not IMAGE, reason="set CLAUDE_K8S_TEST_IMAGE to an image of the Dockerfile the nodes have"
)

WAITING = "echo begun; while [ ! -e /tmp/go ]; do sleep 0.1; done; echo ended; exit 3"
"""A run that goes on until it is told to end."""


async def test_the_api_server_takes_every_document_of_the_service(place: Place, tmp_path: Path) -> None:
    await taken_dry(Installation.base(place, tmp_path))


async def test_the_api_server_takes_every_document_of_the_sidecar(place: Place, tmp_path: Path) -> None:
    installation = Installation.sidecar(place, tmp_path)
    await installation.kubectl("create", "namespace", other(place))
    try:
        await taken_dry(installation)
    finally:
        await installation.kubectl("delete", "namespace", other(place))


async def taken_dry(installation: Installation) -> None:
    told = (await installation.apply("--dry-run=server")).splitlines()
    assert len(told) == len(await installation.documents())
    assert all(line.endswith(" serverside-applied (server dry run)") for line in told), told


@dataclass
class Caller:
    """Somebody who may call the adapter in one pod, and what was said of a run so far."""

    http: httpx.AsyncClient
    lines: list[Object] = field(default_factory=list)

    async def post(self, path: str, body: Object | None = None) -> Object:
        answer = await self.http.post(path, json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    async def read(self, run_id: str, until: Callable[[], bool]) -> None:
        """Reads on where the last reader has ended, whoever that was."""
        after = {"after": self.lines[-1]["cursor"]} if self.lines else {}
        async with self.http.stream("GET", f"/v1/runs/{run_id}/events", params=after) as answer:
            assert answer.status_code == 200, await answer.aread()
            async for line in answer.aiter_lines():
                self.lines.append(json.loads(line))
                if until():
                    return
        raise AssertionError(f"the events ended with {self.lines[-1]}")

    def begun(self) -> bool:
        return "begun\n" in self.log

    def over(self) -> bool:
        return bool(self.lines[-1]["type"] == "result")

    @property
    def log(self) -> str:
        """What the run has said on stdout."""
        return "".join(line["text"] for line in self.lines if line["type"] == "log" and line["stream"] == "stdout")


@asynccontextmanager
async def calling(
    installation: Installation, namespace: str, pod: str, token: str, lines: list[Object] | None = None
) -> AsyncIterator[Caller]:
    """A caller of the adapter in that pod, by way of kubectl: the API server's own proxy keeps bearer tokens back."""
    process = await installation.start("--namespace", namespace, "port-forward", f"pod/{pod}", ":8642")
    assert process.stdout
    try:
        said = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        assert said.startswith("Forwarding from"), said
        url = "http://127.0.0.1:" + said.partition(" -> ")[0].rpartition(":")[2]
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/x-ndjson"}
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=60) as http:
            yield Caller(http, lines or [])
    finally:
        process.terminate()
        await process.communicate()


def request(run_id: str) -> Object:
    fields = {"runId": run_id, "image": "busybox:1.36", "command": ["sh", "-c", WAITING], "retain": 0}
    return {"request": {**fields, "cpu": "50m", "memory": "32Mi"}}


async def let_end(installation: Installation, job: str) -> None:
    """Tells the run of that Job to end."""
    pod = (await installation.place.pod_of(job))["metadata"]["name"]
    where = ("--namespace", installation.place.namespace)
    await installation.kubectl(*where, "exec", pod, "--container", "claude", "--", "touch", "/tmp/go")


@asynccontextmanager
async def deployed(installation: Installation, namespace: str, name: str) -> AsyncIterator[list[str]]:
    """The names of the pods of its Deployment, which all are ready. Afterwards nothing of it is left."""
    await installation.apply()
    try:
        where = ("--namespace", namespace)
        await installation.kubectl(*where, "rollout", "status", f"deployment/{name}", "--timeout=100s")
        query = [("labelSelector", f"app.kubernetes.io/name={name}")]
        pods = await installation.place.ask("GET", f"/api/v1/namespaces/{namespace}/pods", query=query)
        yield [pod["metadata"]["name"] for pod in pods["items"]]
    finally:
        await installation.delete(namespace, name)
    await nothing_is_left(installation.place)


@with_image
@pytest.mark.timeout(300)
async def test_a_run_goes_on_when_its_replica_is_gone(place: Place, tmp_path: Path) -> None:
    installation, token = Installation.base(place, tmp_path), "a-token-of-this-test"
    secret = {"metadata": {"name": "claude-k8s-token"}, "stringData": {"token": token}}
    await place.ask("POST", f"{place.core}/secrets", secret)
    async with deployed(installation, place.namespace, "claude-k8s") as (first, second):
        async with calling(installation, place.namespace, first, token) as caller:
            run = await caller.post("/v1/runs", request("one"))
            await caller.read("one", caller.begun)
        await installation.kubectl("--namespace", place.namespace, "delete", "pod", first)
        async with calling(installation, place.namespace, second, token, caller.lines) as caller:
            await let_end(installation, run["job"])
            await caller.read("one", caller.over)
            await caller.post("/v1/runs/one/ack")
    assert (caller.lines[-1]["result"]["exit_code"], caller.log) == (3, "begun\nended\n")


@with_image
@pytest.mark.timeout(300)
async def test_a_control_plane_calls_the_sidecar_in_its_pod(place: Place, tmp_path: Path) -> None:
    installation, namespace = Installation.sidecar(place, tmp_path), other(place)
    async with deployed(installation, namespace, "control-plane") as [pod]:
        inside = ("--namespace", namespace, "exec", pod, "--container", "control-plane", "--", "sh", "-c")
        token = await installation.kubectl(*inside, 'cat "$CLAUDE_K8S_TOKEN_FILE"')
        async with calling(installation, namespace, pod, token.strip()) as caller:
            run = await caller.post("/v1/runs", request("one"))
            await caller.read("one", caller.begun)
            await let_end(installation, run["job"])
            await caller.read("one", caller.over)
            await caller.post("/v1/runs/one/ack")
    assert (caller.lines[-1]["result"]["exit_code"], caller.log) == (3, "begun\nended\n")


async def nothing_is_left(place: Place) -> None:
    """No Job, pod, Lease or Secret, but for the token that is not of the manifests."""
    await place.empty()
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{place.namespace}/leases"
    assert (await place.ask("GET", leases))["items"] == []
    secrets = (await place.ask("GET", f"{place.core}/secrets"))["items"]
    assert {secret["metadata"]["name"] for secret in secrets} <= {"claude-k8s-token"}
