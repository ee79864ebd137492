"""The judge: a reference plane in a process of its own, which the service's runs are pushed to."""

from __future__ import annotations

import signal
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import httpx

from tests.service.processes import LOOK, Process, free_port, until


class Judge:
    """The plane, and what it knows. `silence` is for how many seconds a run that was not over has told it nothing."""

    def __init__(self, directory: Path, reaper: float, interval: float) -> None:
        port = str(free_port())
        given = (
            "--port",
            port,
            "--reaper",
            str(reaper),
            "--interval",
            str(interval),
            "--db",
            str(directory / "plane.db"),
        )
        self._process = Process(directory / "plane.log", "plane", *given)
        self._client = httpx.AsyncClient(timeout=30, trust_env=False)
        self.url = f"http://127.0.0.1:{port}"
        self.silence = 0.0

    async def start(self) -> None:
        """Starts it, or starts it again, at the same address."""
        await self._process.start()
        assert await self._process.up() == self.url

    async def kill(self) -> None:
        """`kill -9`."""
        await self._process.kill()

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send(number)

    async def aclose(self) -> None:
        await self._client.aclose()
        await self._process.discard()

    async def register(self, run_id: str) -> None:
        """The run is running from now on, as far as the plane knows."""
        await self._ask("PUT", self._path(run_id))

    async def cancel(self, run_id: str) -> None:
        """Asks for the run's end, as soon as somebody answers."""

        async def asked() -> bool:
            with suppress(httpx.TransportError):
                return bool(await self._ask("POST", f"{self._path(run_id)}/cancel", json={"reason": "by its plane"}))
            return False

        await until(asked)

    async def runs(self) -> dict[str, dict[str, Any]]:
        """All that is known of all runs."""
        runs = (await self._ask("GET", f"{self.url}/v1/runs")).json()["runs"]
        return {run["runId"]: run for run in runs}

    async def log(self, run_id: str, stream: str = "stdout") -> bytes:
        """A run's log, byte for byte."""
        return (await self._ask("GET", f"{self._path(run_id)}/log/{stream}")).content

    async def events(self, run_id: str) -> list[dict[str, Any]]:
        """What happened beside the log."""
        events: list[dict[str, Any]] = []
        while page := (await self._ask("GET", f"{self._path(run_id)}/events?after={_last(events)}")).json()["events"]:
            events += page
        return events

    async def over(self, run_ids: Collection[str]) -> bool:
        """Whether all of them are terminal."""
        runs = await self.runs()
        return all(runs[run_id]["terminal"] for run_id in run_ids)

    async def listen(self) -> None:
        """Notes how long runs are silent, until it is cancelled. Its clock and the plane's are this machine's."""
        while True:
            with suppress(httpx.TransportError):  # it is away, as a test wants it
                runs = [run for run in (await self.runs()).values() if not run["terminal"]]
                self.silence = max([self.silence, *(time.time() - run["updatedAt"] for run in runs)])
            await anyio.sleep(LOOK)

    def _path(self, run_id: str) -> str:
        return f"{self.url}/v1/runs/{quote(run_id, safe='')}"

    async def _ask(self, method: str, url: str, **body: Any) -> httpx.Response:
        return (await self._client.request(method, url, **body)).raise_for_status()


def _last(events: list[dict[str, Any]]) -> int:
    return int(events[-1]["seq"]) if events else 0


@asynccontextmanager
async def judge(directory: Path, *, reaper: float = 60, interval: float = 2) -> AsyncIterator[Judge]:
    """A judge, at work."""
    one = Judge(directory, reaper, interval)
    await one.start()
    try:
        yield one
    finally:
        with anyio.CancelScope(shield=True):
            await one.aclose()
