"""A service as its clients see it, over real HTTP: what it answers is written down by the test."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Object = dict[str, Any]

STAY, CUT = {"type": "stay"}, {"type": "cut"}
"""Instead of a line: the stream stays open until its reader goes; the connection breaks."""


def view(run_id: str, **fields: Any) -> Object:
    """A run as the service shows it."""
    names = ("outcome", "cancel", "waits", "phase", "pod", "agent", "agentKey", "task", "session", "supervisor")
    return {
        "runId": run_id,
        "state": "running",
        **dict.fromkeys(names),
        "job": f"ck-{run_id}",
        "jobUid": "5f0c",
        "namespace": "default",
        "createdAt": "2026-11-22T21:15:39Z",
        "result": None,
        "execution": None,
        **fields,
    }


def log(text: str, offset: int, cursor: str = "", **fields: Any) -> Object:
    return {"cursor": cursor or f"e.1.{offset}.0", "type": "log", "stream": "stdout", "offset": offset} | {
        "text": text,
        "continued": False,
        "stamp": "",
        **fields,
    }


def result(run_id: str = "r", **fields: Any) -> Object:
    told = {"run_id": run_id, "outcome": "succeeded", "code": "ok", "message": "claude: terminated (exit 0, Completed)"}
    return {"cursor": "e.9.0.0", "type": "result", "result": {**told, "exit_code": 0, **fields}, "execution": None}


@dataclass
class Service:
    """`streams` are the answers to `/events`, one after the other; `cancels` the statuses of those to a cancel."""

    url: str = ""
    token: str = ""
    views: list[Object] = field(default_factory=list)
    streams: list[list[Object]] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    asked: list[tuple[str, str, Object]] = field(default_factory=list)
    refusal: tuple[int, Object | str] | None = None
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def afters(self) -> list[str]:
        """From where on the events were asked for, each time."""
        return [query.get("after", "") for _, path, query in self.asked if path.endswith("/events")]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json() if request.can_read_body else {}
        self.asked.append((request.method, request.raw_path.partition("?")[0], {**request.query, **body}))
        if self.refusal:
            return _reply(*self.refusal)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return _error(401, "unauthorized", "no token, or not this service's")
        if request.path == "/v1/runs":
            return _reply(200, {"runs": self.views})
        run_id, _, what = request.match_info["rest"].partition("/")
        found = next((one for one in self.views if one["runId"] == run_id), None)
        if found is None:
            return _error(404, "not_found", f"no run {run_id!r}")
        if what == "events":
            return await self._events(request)
        if what == "cancel":
            status = self.cancels.pop(0) if self.cancels else 202
            return (
                _reply(202, {}) if status == 202 else _error(status, "not_taken", "the API server has not taken it yet")
            )
        return _reply(200, found)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for line in self.streams.pop(0):
            if line is STAY:
                await self.left.wait()
            elif line is CUT:
                assert request.transport
                request.transport.abort()
            else:
                await response.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        return response


def _reply(status: int, body: Object | str) -> web.Response:
    text = body if isinstance(body, str) else json.dumps(body)
    return web.Response(status=status, text=text, content_type="application/json")


def _error(status: int, code: str, message: str) -> web.Response:
    return _reply(status, {"error": {"code": code, "message": message}})


@asynccontextmanager
async def serving(**fields: Any) -> AsyncIterator[Service]:
    """A service on a port of its own."""
    service, app = Service(**fields), web.Application()
    app.router.add_route("*", "/v1/runs", service.answer)
    app.router.add_route("*", "/v1/runs/{rest:.*}", service.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        service.left.set()
        await runner.cleanup()
