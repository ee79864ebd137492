"""A control plane of real sockets that misbehaves below HTTP: nothing of it gets through, and nothing stays open."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
import pytest

from adapter.plane.http import HttpPlane, PlaneError
from tests.plane.desk import BEAT, FAST, chunk, event

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served(talk: Talk) -> AsyncIterator[str]:
    """A server's URL. In the end every connection must have been closed by the client."""
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        talks.add(task)
        try:
            await talk(reader, writer)
            await closed(reader)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        if talks:
            _, pending = await asyncio.wait(talks, timeout=10)
            assert not pending, "a connection is still open"
    finally:
        server.close()
        await server.wait_closed()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def closed(reader: asyncio.StreamReader) -> None:
    while await reader.read(65536):
        pass


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes the request, and says nothing."""


def saying(*parts: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.writelines(parts)
        await writer.drain()

    return talk


async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
        await writer.drain()


async def test_leaving_in_the_middle_of_a_request_leaves_no_task_and_no_connection() -> None:
    reached = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reached.set()

    async with served(talk) as url:
        plane = HttpPlane(url, limits=replace(FAST, farewell=0.01))
        async with plane.run("r") as run:
            await run.log(chunk(b"line\n"))
            await asyncio.wait_for(reached.wait(), 10)
        await plane.aclose()


async def test_a_cancelled_context_leaves_no_task_and_no_connection() -> None:
    reached = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        reached.set()

    async def hold(plane: HttpPlane) -> None:
        async with plane.run("r") as run:
            await run.event(event("news"))
            await asyncio.Event().wait()

    async with served(talk) as url:
        plane = HttpPlane(url, limits=FAST)
        task = asyncio.create_task(hold(plane))
        await asyncio.wait_for(reached.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await plane.aclose()


async def test_an_error_in_the_context_comes_out_as_itself() -> None:
    async with served(silence) as url:
        plane = HttpPlane(url, limits=FAST)
        with pytest.raises(KeyError):
            async with plane.run("r"):
                raise KeyError("ours")
        await plane.aclose()


@pytest.mark.parametrize(
    ("talk", "says"),
    [
        (silence, "no answer within"),
        (saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), "no answer within"),
        (saying(b"SSH-2.0-OpenSSH_9.6\r\n\r\n"), "RemoteProtocolError"),
        (saying(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000 + b"\r\n\r\n"), "RemoteProtocolError"),
        (
            saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n", gzip.compress(bytes(10**7))),
            "compressed",
        ),
        (endless, "more than 1048576 bytes"),
    ],
)
async def test_what_is_below_http_is_a_failure_like_any_other(talk: Talk, says: str) -> None:
    async with served(talk) as url:
        plane = HttpPlane(url, limits=replace(FAST, call=0.3 if says.startswith("no answer") else 20))
        async with plane.run("r") as run:
            with pytest.raises(PlaneError, match=says):
                await run.position("stdout")
        await plane.aclose()


async def test_nobody_there_is_a_failure_like_any_other() -> None:
    async with served(silence) as url:
        pass
    plane = HttpPlane(url, limits=FAST)
    async with plane.run("r") as run:
        with pytest.raises(PlaneError, match="ConnectError"):
            await run.position("stdout")
        assert await run.beat(BEAT) is not None
    await plane.aclose()


async def test_beats_have_connections_of_their_own() -> None:
    """Were there one pool, a hundred stuck appends would hold every beat back."""
    beats = anyio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/beat" in await reader.readuntil(b"\r\n\r\n"):
            body = b'{"runId":"beats","state":"running","terminal":false}'
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            beats.set()

    async with served(talk) as url:
        plane = HttpPlane(url, limits=replace(FAST, call=20, append=20, farewell=0))
        async with plane.run("beats") as heart, anyio.create_task_group() as group:
            for number in range(100):
                group.start_soon(stuck, plane, f"stuck-{number}")
            await anyio.wait_all_tasks_blocked()
            assert await heart.beat(BEAT) == FAST.interval
            assert beats.is_set()
            group.cancel_scope.cancel()
        await plane.aclose()


async def stuck(plane: HttpPlane, run_id: str) -> None:
    async with plane.run(run_id) as run:
        await run.log(chunk(b"line\n"))
        await anyio.sleep_forever()
