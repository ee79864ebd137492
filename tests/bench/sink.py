"""A program: a control plane that keeps nothing but counts, so that it never is what one waits for.

Asked, it says how late the beats of quiet runs were since it was asked last, and how much log has come meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections import defaultdict
from typing import Any
from urllib.parse import unquote

import uvicorn

from tests.bench.programs import asked, quiet, say

QUIET = "quiet"
"""How the ids of the runs begin whose beats are counted: such as say nothing else."""


class Sink:
    """The control plane's end of the protocol, in little: where each log ends, and when each run was heard.

    `interval` is how many seconds between two signs of life it asks for.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._ends: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._signs: dict[str, list[float]] = defaultdict(list)
        self._bytes = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        _, _, _, run, *kind = scope["raw_path"].decode().split("/")
        run_id, body = unquote(run), await _body(receive)
        if body is None:
            return
        fits = self._take(run_id, kind[0], body) if kind else True
        await _answer(send, 200 if fits else 409, self._status(run_id) | ({} if fits else _MISFIT))

    def _take(self, run_id: str, kind: str, body: bytes) -> bool:
        if run_id.startswith(QUIET):
            self._signs[run_id].append(time.monotonic())
        if kind != "log":
            return True
        chunk = json.loads(body)
        end = self._ends[run_id].get(chunk["stream"], {"offset": 0})["offset"]
        size = len(chunk["data"]) // 4 * 3 - chunk["data"][-2:].count("=")
        if chunk["offset"] != end + chunk.get("gap", 0):
            return False
        self._ends[run_id][chunk["stream"]] = {"offset": chunk["offset"] + size, "cursor": chunk["cursor"]}
        self._bytes += size
        return True

    def _status(self, run_id: str) -> dict[str, Any]:
        status = {"runId": run_id, "state": "running", "terminal": False, "cancel": None, "interval": self._interval}
        return status | {"log": self._ends[run_id]}

    def told(self) -> dict[str, Any]:
        """What there was to hear since the last time. A beat that should have come by now counts as well."""
        now = time.monotonic()
        pairs = [pair for times in self._signs.values() for pair in zip(times, [*times[1:], now], strict=True)]
        late = [max(0.0, after - before - self._interval) for before, after in pairs]
        told = {"worst": max(late, default=0.0), "beats": len(late), "runs": len(self._signs), "bytes": self._bytes}
        self._bytes, self._signs = 0, defaultdict(list, {run: [times[-1]] for run, times in self._signs.items()})
        return told


_MISFIT = {"error": {"code": "misfit", "message": "it does not begin where the log ends"}}


async def _body(receive: Any) -> bytes | None:
    """The whole body; None if the client has gone before that."""
    parts = []
    while (message := await receive()).get("more_body"):
        parts.append(message["body"])
    return b"".join([*parts, message["body"]]) if message["type"] == "http.request" else None


async def _answer(send: Any, status: int, body: dict[str, Any]) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(body).encode()})


async def main(interval: float) -> None:
    sink = Sink(interval)
    server = uvicorn.Server(uvicorn.Config(sink, lifespan="off", log_config=None, access_log=False))
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    serving = asyncio.create_task(server.serve([listener]))
    say(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    while await asked():
        say(**sink.told())
    server.should_exit = server.force_exit = True
    await serving


if __name__ == "__main__":
    quiet()
    asyncio.run(main(float(sys.argv[1])))
