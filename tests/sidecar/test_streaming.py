"""Events over real sockets: both forms, resuming, slow readers, readers that go, and the service that goes."""

from __future__ import annotations

import asyncio
import json
import socket
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from adapter.plane import Beat
from adapter.sidecar.journal import Journal
from adapter.sidecar.streaming import NDJSON, SSE, media_of
from tests.sidecar.serving import Service, chunk, served

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("accept", "media"),
    [
        (None, NDJSON),
        ("", NDJSON),
        ("*/*", NDJSON),
        ("application/*", NDJSON),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", NDJSON),
        ("application/json", NDJSON),
        (NDJSON, NDJSON),
        (SSE, SSE),
        ("Text/Event-Stream", SSE),
        ("text/*", SSE),
        (f"{SSE}, */*;q=0.1", SSE),
        (f"{SSE};q=0.5, {NDJSON}", NDJSON),
        (f"{SSE}, {NDJSON};q=0.9", SSE),
        (f"{NDJSON}, {SSE}", NDJSON),
        (f"{SSE}, {NDJSON}", SSE),
        (f"*/*, {SSE}", SSE),
        (f"{SSE};q=0", NDJSON),
        (f"{SSE};q=0, text/*;q=1", NDJSON),
        (f"{SSE};q=nonsense", SSE),
        (f"{SSE};version=1;q=0.2, {NDJSON};q=0.1", SSE),
    ],
)
def test_the_form_is_what_is_accepted(accept: str | None, media: str) -> None:
    assert media_of(accept) == media


def events_of(text: str) -> list[dict[str, str]]:
    """Server-sent events, as an event source takes them apart."""
    return [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.split("\n\n") if block]


async def test_json_lines_and_events_say_the_same(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        journal = await service.book.add("r")
        await journal.log(chunk("h\u00e9\u2028\r\nb\n".encode()))
        await journal.log(chunk(b"\xff\n", 12, "stderr"))
        await service.book.finish("r")
        lines = await service.lines("r")
        answer = await service.client.get("/v1/runs/r/events", headers={"accept": SSE})
        assert answer.headers["content-type"].startswith(SSE)
        events = events_of(answer.text)
        assert [json.loads(event["data"]) for event in events] == lines
        assert [event["id"] for event in events] == [line["cursor"] for line in lines]
        assert [event["event"] for event in events] == ["log", "missed", "log", "result"]
        assert answer.headers["cache-control"] == "no-store"


async def test_whoever_comes_back_goes_on(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        journal = await service.book.add("r")
        for number in range(4):
            await journal.log(chunk(b"line\n", number * 5))
        await service.book.finish("r")
        first, second, *_ = [line["cursor"] for line in await service.lines("r")]
        assert [line["offset"] for line in await service.lines("r", after=first) if "offset" in line] == [5, 10, 15]
        newer = {"accept": SSE, "last-event-id": second}  # an event source comes back to the address that it was given
        events = await service.client.get("/v1/runs/r/events", params={"after": first}, headers=newer)
        assert [json.loads(event["data"]).get("offset") for event in events_of(events.text)] == [10, 15, None]
        for query, headers in (({"after": "what"}, {}), ({}, {"last-event-id": "what"})):
            answer = await service.client.get("/v1/runs/r/events", params=query, headers=headers)
            assert (answer.status_code, answer.json()["error"]["field"]) == (422, "after")
        assert journal.readers == 0


async def test_headers_come_at_once_and_pings_keep_a_silent_stream_alive(tmp_path: Path) -> None:
    """Trap 1 of the control plane: its own HTTP client gives up on what is silent."""
    async with served(tmp_path, book={"ping": 0.05}) as service:
        await service.book.add("r")
        for accept, said in ((NDJSON, '{"type":"ping"}'), (SSE, "event: ping")):
            async with service.client.stream("GET", "/v1/runs/r/events", headers={"accept": accept}) as response:
                assert response.status_code == 200
                with anyio.fail_after(5):
                    assert await anext(response.aiter_lines()) == said


async def test_a_reader_that_goes_is_gone_at_once(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        journal = await service.book.add("r")
        async with service.client.stream("GET", "/v1/runs/r/events"):
            await service.until(lambda: journal.readers == 1)
            assert "claude_k8s_journal_readers 1.0" in (await service.client.get("/metrics")).text
        await service.until(lambda: journal.readers == 0)
        assert "claude_k8s_journal_readers 0.0" in (await service.client.get("/metrics")).text


async def test_beats_reach_who_reads(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        journal = await service.book.add("r")
        async with service.client.stream("GET", "/v1/runs/r/events", headers={"accept": SSE}) as response:
            await service.until(lambda: journal.readers == 1)
            journal.beat(Beat(run_id="r", phase="watch", observed_ago=0.5))
            with anyio.fail_after(5):
                lines = response.aiter_lines()
                assert [await anext(lines) for _ in range(2)] == [f"id: {journal._epoch}.0.0.0", "event: beat"]


@asynccontextmanager
async def deaf(service: Service, run_id: str) -> AsyncIterator[socket.socket]:
    """A reader that never reads: its socket's buffer is all that it takes."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.setblocking(False)
    url = httpx.URL(service.url)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(reader, (url.host, url.port))
    await loop.sock_sendall(reader, f"GET /v1/runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    try:
        yield reader
    finally:
        reader.close()


class Held:
    """Counts what a journal hands out, to see that it stops."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines = 0
        read = journal.read

        async def counting(after: str | None) -> AsyncIterator[dict[str, Any]]:
            async for line in read(after):
                self.lines += 1
                yield line

        monkeypatch.setattr(journal, "read", counting)

    async def still(self) -> int:
        """How many lines it was when it did not move any more."""
        seen = -1
        while seen != self.lines:
            seen = self.lines
            await anyio.sleep(0.2)
        return seen


@pytest.mark.parametrize("line", [b"x" * 99 + b"\n", b"\xff" * (MIB - 1) + b"\n", "\N{SNOWMAN}".encode() * 300_000])
async def test_a_reader_that_never_reads_holds_the_journal_and_not_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: bytes
) -> None:
    """Whatever the log is made of: short lines in large blocks, one long line of bytes, or of characters."""
    block = line * max(1, 200_000 // len(line))
    async with served(tmp_path, book={"keep": 64 * MIB}) as service:
        journal = await service.book.add("r")
        for number in range(24 * MIB // len(block)):
            await journal.log(chunk(block, number * len(block)))
        held = Held(journal, monkeypatch)
        tracemalloc.start()
        try:
            async with deaf(service, "r"):
                await service.until(lambda: held.lines > 0)
                stopped = await held.still()
                _, peak = tracemalloc.get_traced_memory()
            assert stopped * min(len(block), 64 * 1024) < 8 * MIB, "the socket held nothing back"
            assert peak < 3 * MIB, "the largest entry is held once, and what is made of it piece by piece"
        finally:
            tracemalloc.stop()
        await service.until(lambda: journal.readers == 0)


async def test_a_slow_reader_is_told_what_it_missed(tmp_path: Path) -> None:
    """What was trimmed before it came there is a line of its own; all else it has."""
    size = 64 * 1024
    async with served(tmp_path, book={"keep": 2 * MIB}) as service:
        journal = await service.book.add("r")
        await journal.log(chunk(b"x" * (size - 1) + b"\n"))
        async with service.client.stream("GET", "/v1/runs/r/events") as response:
            lines = response.aiter_lines()
            told = [json.loads(await anext(lines))]
            for number in range(1, 400):
                await journal.log(chunk(b"x" * (size - 1) + b"\n", number * size))
            await service.book.finish("r")
            told += [json.loads(line) async for line in lines]
        got = sum(len(line["text"]) for line in told if line["type"] == "log")
        missed = sum(line["bytes"] for line in told if line["type"] == "missed")
        assert got + missed == 400 * size
        assert missed > 0
        assert told[-1]["type"] == "result"


async def test_a_service_that_goes_says_bye_and_ends_though_somebody_does_not_read(tmp_path: Path) -> None:
    async with served(tmp_path, book={"keep": 64 * MIB}) as service:
        journal = await service.book.add("r")
        async with service.client.stream("GET", "/v1/runs/r/events") as response, anyio.create_task_group() as group:
            await service.until(lambda: journal.readers == 1)
            other = await service.book.add("loud")
            for number in range(16):
                await other.log(chunk(b"x" * (MIB - 1) + b"\n", number * MIB))
            async with deaf(service, "loud"):
                await service.until(lambda: other.readers == 1)
                service.server.should_exit = True
                for each in (journal, other):
                    each.bye("let go")
                lines = [json.loads(line) async for line in response.aiter_lines()]
                assert lines == [{"cursor": f"{journal._epoch}.0.0.0", "type": "bye", "message": "let go"}]
                await service.until(lambda: other.readers == 0)
            group.cancel_scope.cancel()


async def test_a_journal_that_fails_cuts_the_answer_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody may take what came for all that there is."""
    async with served(tmp_path) as service:
        journal = await service.book.add("r")
        await journal.log(chunk(b"one\n"))
        async with service.client.stream("GET", "/v1/runs/r/events") as response:
            lines = response.aiter_lines()
            assert json.loads(await anext(lines))["text"] == "one\n"
            await service.book.store.close()
            journal.bye("")
            journal._bye = None  # it looks again, and finds the store closed
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(lines)
        assert "StoreError: " in capsys.readouterr().out
