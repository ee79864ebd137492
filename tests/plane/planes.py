"""A reference plane in this process, and one as a process of its own."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from adapter.plane import Stream
from adapter.plane.reference import create_app
from adapter.plane.reference_runs import ReferencePlane
from adapter.plane.store import Store
from tests.plane.hands import Hands

DONE: dict[str, Any] = {"run_id": "run", "outcome": "succeeded", "code": "ok", "message": "it exited with 0"}
"""A result."""


class Speaker:
    """Somebody who speaks to a plane about one run."""

    def __init__(self, client: httpx.AsyncClient, run_id: str) -> None:
        self.client, self.path = client, f"/v1/runs/{quote(run_id, safe='')}"

    async def register(self) -> httpx.Response:
        return await self.client.put(self.path)

    async def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = (await self.client.get(self.path)).raise_for_status().json()
        return answer

    async def beat(self) -> httpx.Response:
        return await self.post("beat", {"phase": "running", "observedAgo": 0.5, "supervisor": "me"})

    async def append(self, offset: int, data: bytes, stream: Stream = "stdout", **more: Any) -> httpx.Response:
        cursor = f"up to {offset + len(data)}"
        body = {"stream": stream, "offset": offset, "data": base64.b64encode(data).decode(), "cursor": cursor}
        return await self.post("log", body | more)

    async def log(self, stream: Stream = "stdout") -> bytes:
        return (await self.client.get(f"{self.path}/log/{stream}")).raise_for_status().content

    async def events(self, after: int = 0) -> list[dict[str, Any]]:
        answer = await self.client.get(f"{self.path}/events", params={"after": after})
        events: list[dict[str, Any]] = answer.raise_for_status().json()["events"]
        return events

    async def report(self, result: dict[str, Any], **log: tuple[int, int | None]) -> httpx.Response:
        sums = {stream: {"size": size, "crc32": crc} for stream, (size, crc) in log.items()}
        return await self.post("result", {"result": result, "execution": None, "log": sums})

    async def post(self, what: str, body: Any) -> httpx.Response:
        return await self.client.post(f"{self.path}/{what}", json=body)


@asynccontextmanager
async def plane_at(path: Path, hands: Hands, *, interval: float | None = None) -> AsyncIterator[ReferencePlane]:
    """A plane whose reaper looks when the test says so."""
    store = await Store.open(path, clock=hands, now=hands)
    yield ReferencePlane(store, reaper=300, interval=interval)
    await store.close()


@asynccontextmanager
async def client_of(plane: ReferencePlane) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(create_app(plane)), base_url="http://plane") as client:
        yield client


class Command:
    """`claude-k8s plane`, as a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process, self.url, self.said = process, "", ""

    async def end(self, number: int) -> int:
        """Sends it a signal; its exit code."""
        self.process.send_signal(number)
        self.said += (await self.process.communicate())[1].decode()
        code = self.process.returncode
        assert code is not None
        return code


@asynccontextmanager
async def command(*options: str, **environment: str) -> AsyncIterator[Command]:
    """The command, once it has said its URL, or has ended without."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "adapter.cli", "plane", *options),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={name: text for name, text in os.environ.items() if not name.startswith("CLAUDE_K8S_")} | environment,
    )
    running = Command(process)
    try:
        assert process.stdout is not None
        running.url = (await process.stdout.readline()).decode().strip()
        yield running
    finally:
        if process.returncode is None:
            await running.end(signal.SIGKILL)


def complaint(answer: httpx.Response, status: int) -> tuple[str, str | None]:
    """The code of an error, and the field that it names."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["message"]
    return error["code"], error.get("field")
