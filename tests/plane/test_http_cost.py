"""What a request costs besides itself: found by `python -m tests.bench --only service`, where beats came late."""

from __future__ import annotations

import importlib.util
import socket
from typing import Any

import anyio
import httpx
import pytest

from adapter.plane import http_wire
from adapter.plane.http_address import Token, base_of
from adapter.plane.http_limits import PlaneLimits
from adapter.plane.http_status import PlaneError
from adapter.serving import listening


async def test_what_waits_for_a_connection_waits_outside_of_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """In httpcore's own queue each made all others slower: 200 beats, all of them seconds late."""
    inside = most = 0

    async def send(client: httpx.AsyncClient, request: httpx.Request, **how: Any) -> httpx.Response:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await anyio.sleep(0.01)
        inside -= 1
        raise httpx.ConnectError("nobody there")

    monkeypatch.setattr(httpx.AsyncClient, "send", send)
    wire = http_wire.Wire(base_of("http://127.0.0.1:1"), Token(None, None), PlaneLimits())

    async def beat(number: int) -> None:
        with pytest.raises(PlaneError, match="nobody there"):
            await wire.sign("beat", f"run-{number}", b"{}")

    async with anyio.create_task_group() as group:
        for number in range(5 * http_wire.CONNECTIONS):
            group.start_soon(beat, number)
    assert most == http_wire.CONNECTIONS
    await wire.aclose()


def test_the_library_finds_what_it_asks_for_at_each_request() -> None:
    """httpcore imports sniffio each time; a failed import is not remembered, and looks at the whole path again."""
    assert importlib.util.find_spec("sniffio")


def test_an_answer_does_not_wait_for_the_client_to_say_that_it_has_its_beginning() -> None:
    """On plain asyncio each answer of the service and of the plane took 40 ms more."""
    with (
        listening("127.0.0.1", 0) as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
