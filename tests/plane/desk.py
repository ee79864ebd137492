"""A control plane in memory, behind respx: it keeps the protocol, and can be told to break it."""

from __future__ import annotations

import base64
import json
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from zlib import crc32

import anyio
import httpx
import respx

from adapter.errors import Code
from adapter.plane import Beat, Event, LogChunk, Plane, Stream
from adapter.plane.http import HttpPlane, PlaneLimits
from adapter.plane.http_mark import Mark
from adapter.plane.http_run import Allowed, Execution, always
from adapter.run import LogSummary, Outcome, RunResult

URL = "http://127.0.0.1:9/plane"
DOWN = httpx.Response(503)
NO_ANSWER = httpx.ReadTimeout("no answer")

FAST = PlaneLimits(
    call=2,
    slow=4,
    append=2,
    gather=0.001,
    flush=0.2,
    patience=0.2,
    farewell=0.2,
    confirm=0.01,
    grace=0.02,
    retry_first=0.001,
    retry_most=0.004,
)
"""The proportions of the real limits, small."""

RESULT = RunResult(
    run_id="r", outcome=Outcome.SUCCEEDED, code=Code.OK, message="fine", log=LogSummary(), stderr=LogSummary()
)
BEAT = Beat(run_id="r", phase="watch", observed_ago=0.5)

Step = httpx.Response | Exception | Callable[[], Awaitable[httpx.Response | None]]
"""What a request meets instead of the control plane: an answer, an error, or something that is awaited first."""


class Desk:
    """`asked` is every request, by kind; `instead` what the next ones of a kind meet, `always` what all of them do."""

    def __init__(self, run_id: str = "r") -> None:
        self.run_id = run_id
        self.known, self.state = True, "running"
        self.cancel: str | None = None
        self.interval: float | None = None
        self.logs: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
        self.ends: dict[str, dict[str, Any]] = {s: {"offset": 0, "cursor": ""} for s in self.logs}
        self.appends: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.report: dict[str, Any] | None = None
        self.asked: list[tuple[str, httpx.Request]] = []
        self.instead: defaultdict[str, deque[Step]] = defaultdict(deque)
        self.always: dict[str, Step] = {}
        self._news = anyio.Event()

    @property
    def text(self) -> bytes:
        return bytes(self.logs["stdout"])

    def kinds(self, kind: str) -> list[httpx.Request]:
        return [request for asked, request in self.asked if asked == kind]

    def words(self) -> list[str]:
        return [str(event["message"]) for event in self.events]

    async def until(self, holds: Callable[[], object], seconds: float = 60) -> None:
        """Waits until something holds; looked at after each request."""
        with anyio.fail_after(seconds):
            while not holds():
                await self._news.wait()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        tail = request.url.raw_path.decode().rsplit("/v1/runs/", 1)[1].partition("/")[2]
        kind = tail or "status"
        self.asked.append((kind, request))
        self._tell()
        try:
            return await self._met(kind) or self._answer(kind, json.loads(request.content or b"{}"))
        finally:
            self._tell()

    async def _met(self, kind: str) -> httpx.Response | None:
        step = self.instead[kind].popleft() if self.instead[kind] else self.always.get(kind, self.always.get("all"))
        if isinstance(step, Exception):
            raise step
        if step is None or isinstance(step, httpx.Response):
            return step and httpx.Response(step.status_code, headers=step.headers, content=step.content)
        return await step()

    def status(self, code: int = 200, error: str = "") -> httpx.Response:
        body = {
            "runId": self.run_id,
            "state": self.state,
            "terminal": self.state != "running",
            "cancel": self.cancel,
            "interval": self.interval,
            "log": self.ends,
        }
        return httpx.Response(code, json=body | ({"error": {"code": error, "message": error}} if error else {}))

    def _answer(self, kind: str, body: dict[str, Any]) -> httpx.Response:
        if not self.known:
            return unknown()
        if kind == "log":
            return self._append(body)
        if kind == "events":
            self.events += body["events"]
        if kind == "result":
            return self._end(body)
        return self.status()

    def _append(self, body: dict[str, Any]) -> httpx.Response:
        stream, data = body["stream"], base64.b64decode(body["data"])
        if body["offset"] != self.ends[stream]["offset"] + body.get("gap", 0):
            return self.status(409, "misfit")
        self.appends.append(body)
        self.logs[stream] += data
        self.ends[stream] = {"offset": body["offset"] + len(data), "cursor": body["cursor"]}
        return self.status()

    def _end(self, body: dict[str, Any]) -> httpx.Response:
        if self.report is None and self.state != "running":
            return self.status(409, "terminal")
        if any(self.ends[stream]["offset"] < whole["size"] for stream, whole in body["log"].items()):
            return self.status(409, "log_incomplete")
        if self.report is None:
            for stream, whole in body["log"].items():
                assert whole["crc32"] in (None, crc32(self.logs[stream])), "the checksum does not fit"
            self.report, self.state = body, body["result"]["outcome"]
        return self.status()

    def _tell(self) -> None:
        self._news.set()
        self._news = anyio.Event()


def unknown() -> httpx.Response:
    return httpx.Response(404, json={"error": {"code": "unknown_run", "message": "there is no such run"}})


@contextmanager
def behind(*desks: Desk) -> Iterator[respx.MockRouter]:
    """Requests go to the desks."""
    with respx.mock(assert_all_called=False) as router:
        for desk in desks:
            path = f"{URL}/v1/runs/{desk.run_id}"
            router.route(url__regex=rf"^{path}(/\w+)?$").mock(side_effect=desk)
        yield router


@asynccontextmanager
async def told(
    desk: Desk,
    limits: PlaneLimits = FAST,
    *,
    execution: Execution | None = None,
    allowed: Allowed = always,
    **how: Any,
) -> AsyncIterator[Plane]:
    """The plane of the desk's run."""
    with behind(desk):
        plane = HttpPlane(URL, limits=limits, **how)
        try:
            async with plane.run(desk.run_id, execution=execution, allowed=allowed) as run:
                yield run
        finally:
            await plane.aclose()


def chunk(data: bytes, offset: int = 0, cursor: object = None, *, stream: Stream = "stdout", **how: Any) -> LogChunk:
    """Log; its cursor tells its end."""
    cursor = f"c{offset + len(data)}" if cursor is None else cursor
    return LogChunk(offset=offset, data=data, cursor=cursor, stamp="2026-01-01T00:00:00.0Z", stream=stream, **how)


def chunks(*texts: bytes, offset: int = 0) -> list[LogChunk]:
    """Log, one piece behind the other."""
    made = []
    for text in texts:
        made.append(chunk(text, offset))
        offset += len(text)
    return made


def event(message: str, kind: str = "pod", **data: Any) -> Event:
    return Event(kind=kind, message=message, at=anyio.current_time(), data=data)


def have(desk: Desk, text: bytes, *, cursor: object = None) -> None:
    """The plane's log is this, by another supervisor."""
    desk.logs["stdout"] = bytearray(text)
    mark = Mark(f"c{len(text)}", crc32(text)) if cursor is None else cursor
    desk.ends["stdout"] = {"offset": len(text), "cursor": str(mark)}


async def give(plane: Plane, given: Iterable[LogChunk]) -> None:
    for one in given:
        await plane.log(one)


async def arrives(desk: Desk, text: bytes) -> None:
    await desk.until(lambda: len(desk.text) >= len(text))
    assert desk.text == text
