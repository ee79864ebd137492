"""The process of the service, as it is started, asked and stopped: on the embedded cluster, over its socket."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapter.cli import FAILED, _status
from adapter.local import LocalCluster
from tests.sidecar.books import command_document


@dataclass
class Process:
    """A service of its own process."""

    process: asyncio.subprocess.Process
    first: str
    client: httpx.AsyncClient

    @property
    def replica(self) -> str:
        return self.first.rpartition("replica ")[2].rstrip(")\n")

    async def stop(self, number: int = signal.SIGTERM) -> tuple[int, list[dict[str, Any]]]:
        """Its exit code, and its log."""
        self.process.send_signal(number)
        assert self.process.stderr is not None
        async with asyncio.timeout(20):
            said = await self.process.stderr.read()
            return await self.process.wait(), [json.loads(line) for line in said.splitlines() if line.startswith(b"{")]


@asynccontextmanager
async def started(cluster: LocalCluster, state: Path, *options: str, **env: str) -> AsyncIterator[Process]:
    given = ["--kubeconfig", str(cluster.kubeconfig), "--state", str(state), "--port", "0", *options]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-m", "adapter.cli", "serve", *given),
        env={**os.environ, **env, "no_proxy": "127.0.0.1"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        first = (await asyncio.wait_for(process.stdout.readline(), 30)).decode()
        assert first.startswith("claude-k8s serve: http://"), first
        async with httpx.AsyncClient(base_url=first.split()[2], trust_env=False, timeout=20) as client:
            yield Process(process, first, client)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def lines(client: httpx.AsyncClient, run_id: str) -> list[dict[str, Any]]:
    async with client.stream("GET", f"/v1/runs/{run_id}/events") as response:
        return [json.loads(line) async for line in response.aiter_lines()]


async def test_a_run_goes_on_through_a_stop_and_a_start(cluster: LocalCluster, tmp_path: Path) -> None:
    """Law 7: SIGTERM lets go at once, says of what, and whoever reads is told; the next start comes back to it."""
    async with started(cluster, tmp_path / "state") as service:
        assert "(instance default, replica r-" in service.first
        sent = command_document("r", "sh", "-c", "echo one; while [ ! -e go ]; do sleep 0.05; done; echo two")
        assert (await service.client.post("/v1/runs", json=sent)).status_code == 201
        told: list[dict[str, Any]] = []
        async with service.client.stream("GET", "/v1/runs/r/events") as response:
            async for text in response.aiter_lines():
                told.append(json.loads(text))
                if told[-1]["type"] == "log":
                    service.process.send_signal(signal.SIGTERM)
        assert told[-1]["type"] == "bye"
        code, said = await service.stop(signal.SIGCONT)
        assert code == 0
        assert [line["let_go"] for line in said if line["event"] == "serve.stopped"] == [["r"]]
        assert all(line["run_id"] == "r" for line in said if "kind" in line)
    assert cluster.list("jobs")[0]["spec"]["suspend"] is False
    pod = cluster.list("pods")[0]
    async with started(cluster, tmp_path / "state") as again:
        assert again.replica == service.replica
        run = await again.client.get("/v1/runs/r")
        assert (run.status_code, run.json()["mine"]) == (200, True)
        await again.client.post("/v1/runs/r/cancel")
        rest = await lines(again.client, "r")
        assert "".join(line["text"] for line in rest if line["type"] == "log") == "one\n"
        assert rest[-1]["result"]["outcome"] == "cancelled"
        assert rest[-1]["result"]["pod"] == pod["metadata"]["name"]
        report = (await again.client.get("/v1/preflight")).json()
        assert report["adapterType"] == "claude_k8s"
        assert any(check["code"].startswith("k8s_") and check["level"] == "info" for check in report["checks"])
        assert (await again.client.get("/readyz")).status_code == 200
        assert (await again.stop(signal.SIGINT))[0] == 0


async def test_a_token_opens_the_service_and_nothing_else_does(cluster: LocalCluster, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    options = ("--host", "0.0.0.0", "--token-file", str(token), "--log-format", "text")
    async with started(cluster, tmp_path / "state", *options) as service:
        port = service.first.split()[2].rpartition(":")[2]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            assert (await client.get("/v1/runs")).status_code == 401
            assert (await client.get("/v1/runs", headers={"authorization": "Bearer s3cret"})).status_code == 200
        assert (await service.stop())[0] == 0


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("CLAUDE_K8S_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr("adapter.sidecar.logs.log_to_stderr", lambda form: None)


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert _status(["serve", *arguments]) == FAILED
    said = capsys.readouterr().err
    assert said.startswith("claude-k8s: ")
    assert said.count("\n") == 1
    return said


@pytest.mark.usefixtures("nothing_set")
def test_it_is_not_open_to_the_network_without_a_token(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for host in ("0.0.0.0", "::", "10.1.2.3", "example.com"):
        said = complaint(capsys, "--host", host)
        assert f"--host {host}" in said
        assert "--token-file" in said
    assert not (tmp_path / "state").exists(), "nothing was begun"


@pytest.mark.usefixtures("nothing_set")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--token-file", "/nowhere/token"), "/nowhere/token"),
        (("--port", "65536"), "--port"),
        (("--journal-bytes", "much"), "--journal-bytes"),
        (("--max-runs", "0"), "--max-runs"),
        (("--unattended", "soon"), "--unattended"),
        (("--log-format", "xml"), "--log-format"),
        (("--kubeconfig", "/nowhere/kubeconfig"), "/nowhere/kubeconfig"),
    ],
)
def test_what_cannot_be_is_one_line_that_names_it(
    capsys: pytest.CaptureFixture[str], options: tuple[str, ...], words: str
) -> None:
    assert words in complaint(capsys, *options)


@pytest.mark.usefixtures("nothing_set")
def test_a_port_that_is_taken_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"--port {port}: Address already in use" in complaint(capsys, "--port", port)
    monkeypatch.setenv("CLAUDE_K8S_TOKEN", "two words")
    assert "CLAUDE_K8S_TOKEN" in complaint(capsys)
