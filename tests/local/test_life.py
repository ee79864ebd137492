"""The cluster's own life: nothing of it survives it, however it ends, and kubectl takes it for real."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import pytest
import yaml

from adapter.local import Fault, LocalCluster, Timing

from .conftest import PODS, Wire, sh

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from adapter.local.store import Event

KUBECTL = os.environ.get("KUBECTL") or shutil.which("kubectl")
JOB = """\
apiVersion: batch/v1
kind: Job
metadata: {name: a}
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      containers:
      - {name: main, image: busybox, command: [sh, -c, "echo hello; sleep 0.2; echo bye; exit 3"]}
"""


def marked(word: str) -> list[psutil.Process]:
    """Processes with a word on their command line."""
    return [one for one in psutil.process_iter(["cmdline"]) if word in (one.info["cmdline"] or ())]


async def become(truth: Callable[[], bool]) -> None:
    """Processes tell nobody when they begin and end: they are asked."""
    async with asyncio.timeout(10):
        while not truth():  # noqa: ASYNC110 - there is no event to wait for
            await asyncio.sleep(0.01)


async def test_stopping_ends_every_process(tmp_path: Path) -> None:
    async with LocalCluster(tmp_path) as cluster:
        word = f"stop-{os.getpid()}"
        await _run(cluster, word)
        assert len(marked(word)) >= 2
    assert not marked(word)


async def _run(cluster: LocalCluster, word: str) -> None:
    """A Job that has a daemon, which has left its session, and ignores TERM."""
    daemon = f"setsid sh -c 'trap : TERM; while :; do sleep 0.1; done' {word}"
    script = f"{daemon} & trap : TERM; echo up; while :; do sleep 0.1; done"
    async with aiohttp.ClientSession(cluster.url, headers={"Authorization": f"Bearer {cluster.token}"}) as session:
        wire = Wire(cluster, session)
        await wire.run("sh", "-c", script, word)
        assert await (await wire.follow(await wire.running())).content.readline() == b"up\n"
        wire.close()


async def test_enter_and_exit_in_different_tasks(tmp_path: Path) -> None:
    cluster = LocalCluster(tmp_path)
    await asyncio.create_task(cluster.__aenter__())
    await asyncio.create_task(cluster.__aexit__(None, None, None))


async def test_a_directory_of_its_own_is_removed() -> None:
    async with LocalCluster() as cluster:
        assert cluster.kubeconfig.exists()
    assert not cluster.directory.exists()


def test_in_a_thread(tmp_path: Path) -> None:
    ready, stop = threading.Event(), threading.Event()
    seen: list[Any] = []

    async def serve() -> None:
        async with LocalCluster(tmp_path) as cluster:
            async with aiohttp.ClientSession(cluster.url, headers={"Authorization": f"Bearer {cluster.token}"}) as s:
                wire = Wire(cluster, s)
                await wire.run(*sh("echo hi"))
                seen.append(await wire.until("Complete"))
            ready.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(10)
    stop.set()
    thread.join()
    assert seen[0]["status"] == "True"


class Program:
    """`python -m adapter.local` in another process."""

    def __init__(self, directory: Path | None) -> None:
        command = [sys.executable, "-m", "adapter.local", "--timing", "fast"]
        command += ["--directory", str(directory)] if directory else []
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.popen.stdout is not None
        self.kubeconfig = self.popen.stdout.readline().strip()

    def kubectl(self, *arguments: str, stdin: str | None = None, status: int | None = 0) -> str:
        assert KUBECTL is not None
        command = [KUBECTL, "--kubeconfig", self.kubeconfig, *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30, check=False)
        assert status in (None, done.returncode), done.stderr
        return done.stdout

    def end(self, number: int) -> tuple[int, str]:
        self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=10)
        return self.popen.returncode, errors


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    running = Program(tmp_path)
    yield running
    running.end(signal.SIGKILL)


needs_kubectl = pytest.mark.skipif(KUBECTL is None, reason="no kubectl on PATH nor in $KUBECTL")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_the_program_ends_cleanly(tmp_path: Path, number: int) -> None:
    program = await asyncio.to_thread(Program, tmp_path)
    assert program.kubeconfig == str(tmp_path / "kubeconfig")
    status, errors = await asyncio.to_thread(program.end, number)
    assert status == 0
    assert "HERE" in errors


async def test_kill_9_leaves_no_process_and_no_directory() -> None:
    program = await asyncio.to_thread(Program, None)
    word = f"kill-{os.getpid()}"
    config = yaml.safe_load(await asyncio.to_thread(Path(program.kubeconfig).read_text))
    server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
    script = f"setsid sh -c 'trap : TERM; while :; do sleep 0.1; done' {word} & while :; do sleep 0.1; done"
    container = {"name": "main", "image": "x", "command": ["sh", "-c", script, word]}
    spec = {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session:
        body = {"metadata": {"name": "a"}, "spec": spec}
        async with session.post(f"{server}/apis/batch/v1/namespaces/default/jobs", json=body) as response:
            assert response.status == 201
    await become(lambda: len(marked(word)) >= 2)
    await asyncio.to_thread(program.end, signal.SIGKILL)
    await become(lambda: not marked(word) and not Path(program.kubeconfig).parent.exists())


@needs_kubectl
def test_kubectl(program: Program) -> None:
    assert "created" in program.kubectl("apply", "-f", "-", stdin=JOB)
    assert "unchanged" in program.kubectl("apply", "-f", "-", stdin=JOB)
    assert program.kubectl("logs", "-f", "job/a", "--pod-running-timeout=10s") == "hello\nbye\n"
    program.kubectl("wait", "--for=condition=failed", "job/a", "--timeout=10s")
    assert program.kubectl("get", "jobs").split()[:8] == [
        *("NAME", "STATUS", "COMPLETIONS", "DURATION", "AGE"),
        *("a", "Failed", "0/1"),
    ]
    described = program.kubectl("describe", "pods")
    assert "Exit Code:    3" in described
    assert "BackoffLimitExceeded" in program.kubectl("describe", "job", "a")
    assert "labeled" in program.kubectl("label", "job", "a", "x=y")
    program.kubectl("patch", "job", "a", "-p", '{"metadata":{"annotations":{"a":"b"}}}')
    program.kubectl("delete", "job", "a", "--timeout=10s")
    assert program.kubectl("get", "pods", "-o", "name") == ""


@needs_kubectl
def test_kubectl_creates(program: Program) -> None:
    program.kubectl("create", "-f", "-", stdin=JOB.replace("name: a", "generateName: gen-"))
    program.kubectl("create", "secret", "generic", "s", "--from-literal=a=b")
    assert program.kubectl("get", "secret", "s", "-o", "jsonpath={.data.a}") == "Yg=="
    program.kubectl("create", "job", "j", "--image=busybox", "--", "echo", "made by kubectl")
    program.kubectl("wait", "--for=condition=complete", "job/j", "--timeout=10s")
    assert program.kubectl("logs", "job/j") == "made by kubectl\n"
    assert program.kubectl("auth", "can-i", "create", "jobs") == "yes\n"
    program.kubectl("create", "namespace", "n")
    program.kubectl("delete", "namespace", "n", "--timeout=10s")


def test_under_uvloop(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def cut_short() -> None:
        async with LocalCluster(tmp_path) as cluster:
            headers = {"Authorization": f"Bearer {cluster.token}"}
            async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
                wire = Wire(cluster, session)
                await wire.run(*sh("seq 1 1000"))
                await wire.until("Complete")
                cluster.faults.add(Fault.cut(after_bytes=100, path="*/log"))
                following = await wire.follow(await wire.pod())
                with pytest.raises(aiohttp.ClientError):
                    await following.read()

    uvloop.run(cut_short())


async def test_a_pod_deleted_between_its_end_and_its_phase_is_removed(tmp_path: Path) -> None:
    """The kubelet has begun to tell its end when it hears of the deletion."""
    timing = replace(Timing.fast(), phase=0.5)
    async with LocalCluster(tmp_path, timing=timing) as cluster:
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            wire = Wire(cluster, session)
            await wire.run(*sh("echo hello"))
            pod = await wire.pod()
            await cluster.until(lambda _: "terminated" in wire.state(pod))
            assert wire.status(pod)["phase"] not in ("Succeeded", "Failed")
            await wire.delete(f"{PODS}/{pod}")
            await cluster.until(lambda c: c.get("pods", pod) is None)


async def test_no_log_file_is_left_open_by_a_pod_that_ends_while_the_cluster_stops(tmp_path: Path) -> None:
    async with LocalCluster(tmp_path, timing=replace(Timing.fast(), eof=60)) as cluster:
        stopping: list[asyncio.Task[None]] = []

        def stop_at_the_last_word(event: Event) -> None:
            if event.object["metadata"].get("deletionGracePeriodSeconds") == 0 and event.object["kind"] == "Pod":
                stopping.append(asyncio.ensure_future(cluster._node._tasks.stop()))

        cluster._store.listeners.append(stop_at_the_last_word)
        headers = {"Authorization": f"Bearer {cluster.token}"}
        async with aiohttp.ClientSession(cluster.url, headers=headers) as session:
            wire = Wire(cluster, session)
            await wire.run(*sh("while :; do sleep 0.05; done"))
            pod = await wire.running()
            workers = cluster._node.workers
            await wire.delete(f"{PODS}/{pod}")
            await cluster.until(lambda _: stopping)
        await asyncio.gather(*stopping)
        assert [log.closed for worker in workers for one in worker.containers for log in one.logs] == [True]
