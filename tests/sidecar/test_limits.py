"""What is too much is refused, as early as it can be known, and the connection lives on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx

from adapter.sidecar.limits import MOST_HEAD
from tests.sidecar.serving import Service, served

JSON = {"content-type": "application/json"}
MOST = 1000


async def raw(service: Service, sent: bytes) -> bytes:
    """Sends bytes, and reads to the end."""
    url = httpx.URL(service.url)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        writer.write(sent)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_body_up_to_the_limit_is_taken_and_a_longer_one_is_not(tmp_path: Path) -> None:
    async with served(tmp_path, most_body=MOST) as service:
        fits = b'{"env": {}}'.ljust(MOST)
        assert (await service.client.post("/v1/models", content=fits, headers=JSON)).status_code == 200
        long = await service.client.post("/v1/models", content=fits + b" ", headers=JSON)
        assert (long.status_code, long.json()["error"]["code"]) == (413, "too_large")
        assert (await service.client.get("/v1/models")).status_code == 200


async def test_a_body_without_a_length_is_counted(tmp_path: Path) -> None:
    async def pieces(count: int) -> AsyncIterator[bytes]:
        yield b'{"env": {}}'
        for _ in range(count):
            yield b" " * 100

    async with served(tmp_path, most_body=MOST) as service:
        good = await service.client.post("/v1/models", content=pieces(5), headers=JSON)
        assert good.status_code == 200
        long = await service.client.post("/v1/models", content=pieces(20), headers=JSON)
        assert (long.status_code, long.json()["error"]["code"]) == (413, "too_large")


async def test_a_long_body_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    """Whoever announces it, and waits to be told to go on, is told the end instead."""
    async with served(tmp_path) as service:
        head = "POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
        told = await raw(service, f"{head}Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n".encode())
        assert told.startswith(b"HTTP/1.1 413 ")
        assert b"100 Continue" not in told


async def test_a_long_head_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as service:
        for head in (b"GET /v1/runs?x=" + b"x" * MOST_HEAD, b"GET / HTTP/1.1\r\nX: " + b"x" * MOST_HEAD):
            assert (await raw(service, head)).startswith(b"HTTP/1.1 400 ")
        assert (await service.client.get("/v1/runs", headers={"x": "x" * (MOST_HEAD // 2)})).status_code == 200
