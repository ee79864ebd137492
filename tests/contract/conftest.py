"""The same tests against the embedded cluster and against the real one of $KUBECONFIG (`make test-cluster`)."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import psutil
import pytest
import pytest_asyncio

from adapter.cluster.connection import ApiError, Connection
from adapter.cluster.credentials import Source
from adapter.local import LocalCluster, Timing

if TYPE_CHECKING:
    from tests.contract.agents import Agents

Object = dict[str, Any]

RUNNING = "pod: phase Running, main running"
BURST = 64 * 1024 * 1024
"""Bytes of a log before it is rotated. A kubelet looks each 10 s, so that what comes at once stays in one file."""
LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of a line of a command's output: a chunk of an agent's log is one."""


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
        return await self.command("run", *arguments, environment=environment)

    async def command(
        self, name: str, *arguments: str, environment: dict[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        """Begins any of the commands here, with nobody at the keyboard."""
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "adapter.cli", name),
            *("--kubeconfig", self.kubeconfig, "-n", self.namespace, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONWARNINGS": _warnings(self.real), **(environment or {})},
            limit=LONGEST_LINE,
        )

    async def run(self, *arguments: str, environment: dict[str, str] | None = None) -> Ended:
        return await ended(await self.start(*arguments, environment=environment))

    async def empty(self) -> None:
        """Waits until no Job and no pod of ours is left."""
        with anyio.fail_after(60):
            for path in (self.jobs, f"{self.core}/pods"):
                while (await self.ask("GET", path))["items"]:
                    await anyio.sleep(0.1)


def _warnings(real: bool) -> str:
    """Warnings are errors. But one about a TLS handshake that was cut, raised inside uvloop's closing, breaks that."""
    return "error,ignore::ResourceWarning" if real else "error"


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


def sh(script: str) -> tuple[str, str, str]:
    return "sh", "-c", script


class Stage:
    """A place where many scenes are played at once, and all that was told of its Jobs and pods."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.events: list[Object] = []
        self._news = asyncio.Event()

    async def record(self, path: str, begun: asyncio.Event) -> None:
        """Keeps every event of a raw watch."""
        async with self.place.connection.stream(path, query=[("watch", "1")], headers=30) as response:
            begun.set()
            while line := await response.content.readline():
                self.events.append(json.loads(line))
                self._news.set()
                self._news = asyncio.Event()

    async def until(self, name: str, *steps: str) -> list[str]:
        """The story of a Job, once it has all these steps, each known by its beginning.

        Jobs and pods come on two streams: whoever reads the story to its end names the last step of each.
        """
        with anyio.move_on_after(45):
            while not all(any(told.startswith(step) for told in self.story(name)) for step in steps):
                await self._news.wait()
            return self.story(name)
        raise AssertionError(f"waited for {steps}; the story of {name}: {self.story(name)}")

    def story(self, name: str) -> list[str]:
        """What each event told of a Job and its pods that was not told before, in the order of the store."""
        events = [event for event in self.events if _job_of(event["object"]) == name]
        steps, known = [], dict[str, list[str]]()
        for event in sorted(events, key=lambda event: int(event["object"]["metadata"]["resourceVersion"])):
            seen, uid = event["object"], event["object"]["metadata"]["uid"]
            facts = _facts_of_job(seen) if seen["kind"] == "Job" else _facts_of_pod(seen)
            told = [fact for fact in facts if fact not in known.get(uid, [])]
            told = [event["type"], *told] if event["type"] != "MODIFIED" else told
            known[uid] = facts
            if told:
                steps.append(f"{seen['kind'].lower()}: {', '.join(told)}")
        return steps

    async def ending(self, name: str, *steps: str) -> list[str]:
        """What came after the container was seen running."""
        story = await self.until(name, *steps)
        return story[story.index(RUNNING) + 1 :]

    def last(self, kind: str, name: str) -> Object:
        """A Job or its newest pod, as it was told last."""
        seen = [e["object"] for e in self.events if e["object"]["kind"] == kind and _job_of(e["object"]) == name]
        return dict(seen[-1])

    def pod(self, name: str) -> str:
        """The name of a Job's pod."""
        return str(self.last("Pod", name)["metadata"]["name"])

    def main(self, name: str) -> Object:
        """The status of the container `main` of a Job's pod."""
        statuses = self.last("Pod", name)["status"]["containerStatuses"]
        return next(one for one in statuses if one["name"] == "main")

    async def play(self, name: str, *command: str, until: str = RUNNING, **fields: Any) -> str:
        """Creates a Job and waits for a word of its story; the name of its pod."""
        await self.place.create(name, *command, **fields)
        await self.until(name, until)
        return self.pod(name)

    async def delete(self, name: str, **options: Any) -> Object:
        return await self.place.ask("DELETE", f"{self.place.jobs}/{name}", options or None)

    async def no_log(self, pod: str, **query: str) -> ApiError:
        """A log that must be refused."""
        with pytest.raises(ApiError) as caught:
            await self.place.log(pod, **query)
        return caught.value

    async def collected(self, path: str) -> None:
        """Waits until an object is gone."""
        with anyio.fail_after(30), contextlib.suppress(ApiError):
            while await self.place.ask("GET", path):
                await anyio.sleep(0.05)  # a poll of the outside world

    async def warning(self, name: str, reason: str, word: str = "") -> str:
        """The message of an Event about an object whose name begins so, with a word in it."""
        with anyio.fail_after(60):
            while True:
                for event in (await self.place.ask("GET", f"{self.place.core}/events"))["items"]:
                    about = event["involvedObject"]["name"]
                    if about.startswith(name) and event["reason"] == reason and word in event["message"]:
                        return str(event["message"])
                await anyio.sleep(0.1)  # a poll of the outside world


def _job_of(obj: Object) -> str:
    metadata = obj["metadata"]
    return str(metadata["name"] if obj["kind"] == "Job" else metadata.get("labels", {}).get("job-name"))


def _facts_of_job(job: Object) -> list[str]:
    conditions = job["status"].get("conditions", ())
    return _deletion(job) + [
        f"{one['type']} {one['reason']}" if one["status"] == "True" else f"not {one['type']}" for one in conditions
    ]


def _facts_of_pod(pod: Object) -> list[str]:
    status, facts = pod["status"], _deletion(pod)
    facts += [f"phase {status['phase']}"]
    facts += [f"scheduled {one['status']}" for one in status.get("conditions", ()) if one["type"] == "PodScheduled"]
    facts += [one["reason"] for one in status.get("conditions", ()) if one["type"] == "DisruptionTarget"]
    for one in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        [(state, detail)] = one["state"].items() or [("waiting", {})]
        words = [one["name"], state, detail.get("exitCode"), detail.get("reason")]
        facts.append(" ".join(str(word) for word in words if word is not None))
    if pod["metadata"].get("ownerReferences") is None:
        facts.append("orphaned")
    return facts


def _deletion(obj: Object) -> list[str]:
    metadata = obj["metadata"]
    finalizers = [one for one in metadata.get("finalizers", ()) if one in ("orphan", "foregroundDeletion")]
    grace = metadata.get("deletionGracePeriodSeconds")
    forced = ["at once"] if obj["kind"] == "Pod" and grace == 0 else []
    return (["deleting", *finalizers] if "deletionTimestamp" in metadata else []) + forced


def scene(play: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
    """A test that is played together with all the others of its kind: `stage` begins it, and it is awaited here."""

    @functools.wraps(play)
    async def test(stage: Stage) -> None:
        await stage.tasks[play.__name__]

    return pytest.mark.asyncio(loop_scope="package")(test)


def process_of(token: str) -> psutil.Process:
    """The pod's process, found on this machine by a word in its command line."""
    mine = psutil.Process().pid
    for process in psutil.process_iter(["cmdline", "pid"]):
        line = process.info["cmdline"] or []
        if line[:1] == ["sh"] and token in " ".join(line) and process.info["pid"] != mine:
            return process
    pytest.skip("the pods' processes are not on this machine")


CLUSTERS = ["embedded", pytest.param("real", marks=pytest.mark.cluster)]


@pytest.fixture(params=CLUSTERS)
async def place(request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """An empty namespace of an embedded or of the real cluster."""
    real = request.param == "real"
    opened = _real() if real else embedded()
    async for place in opened:
        yield place


@pytest.fixture
def agents(place: Place, tmp_path: Path) -> Agents:
    """The same place, with the fake `claude`."""
    from tests.contract import agents

    if place.real and not agents.IMAGE:
        pytest.skip("set CLAUDE_K8S_FAKE_IMAGE to an image of tests/fake/Dockerfile that the nodes have")
    return agents.Agents(place, tmp_path)


@pytest_asyncio.fixture(scope="package", loop_scope="package", params=CLUSTERS)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    """One namespace for all scenes that were selected."""
    real = request.param == "real"
    tests = [item for item in request.session.items if isinstance(item, pytest.Function)]
    plays = [item.obj.__wrapped__ for item in tests if _is_scene(item, request.param)]
    async for place in _real() if real else embedded():
        stage = Stage(place)
        watches = {path: asyncio.Event() for path in (place.jobs, f"{place.core}/pods")}
        recorders = [asyncio.create_task(stage.record(path, begun)) for path, begun in watches.items()]
        await asyncio.wait_for(asyncio.gather(*(begun.wait() for begun in watches.values())), 30)
        stage.tasks = {play.__name__: asyncio.create_task(play(stage)) for play in plays}
        yield stage
        tasks = [*stage.tasks.values(), *recorders]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_scene(item: pytest.Function, cluster: str) -> bool:
    return hasattr(item, "callspec") and item.callspec.params.get("stage") == cluster


async def embedded(rotate_bytes: int = BURST) -> AsyncIterator[Place]:
    """An embedded cluster of one's own."""
    async with LocalCluster(timing=Timing.real(), rotate_bytes=rotate_bytes) as cluster:
        connection = await Connection.open(Source(str(cluster.kubeconfig)), deadline=10)
        try:
            yield Place(str(cluster.kubeconfig), "default", connection, real=False)
        finally:
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
