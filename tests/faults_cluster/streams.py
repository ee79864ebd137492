"""What is open between us and the API server, as the API server and this machine's kernel see it."""

from __future__ import annotations

import re
from contextlib import suppress
from urllib.parse import urlsplit

import psutil

from adapter.cluster.connection import ApiError, Unreachable
from tests.contract.conftest import Place
from tests.faults_cluster.polling import until

_LOGS = re.compile(r'^apiserver_longrunning_requests\{[^}]*subresource="log"[^}]*\} (\d+)', re.MULTILINE)


async def log_streams(place: Place) -> int:
    """How many log requests the API server has under way, by its own metrics; 0 while it does not answer."""
    text = ""
    with suppress(ApiError, Unreachable, OSError, TimeoutError):
        async with place.connection.stream("/metrics", query=[], headers=30) as response:
            text = (await response.read()).decode()
    return sum(map(int, _LOGS.findall(text)))


async def log_streams_left(place: Place, before: int) -> int:
    """How many more than `before` there are; looked at for a moment, since other people have log requests, too."""
    with suppress(TimeoutError):
        await until(lambda: _no_more(place, before), 2)
    return max(0, await log_streams(place) - before)


async def _no_more(place: Place, before: int) -> bool:
    return await log_streams(place) <= before


async def nothing_left(server: str) -> None:
    """Fails if this process still has a connection to a server after a moment."""

    async def none() -> bool:
        return not connections(server)

    with suppress(TimeoutError):
        await until(none, 2)
    assert not connections(server), "a connection to the API server was left"


def connections(server: str) -> list[int]:
    """The local ports of this process's connections to a server."""
    port = urlsplit(server).port or 443
    found = psutil.Process().net_connections(kind="tcp")
    return [one.laddr.port for one in found if one.status == "ESTABLISHED" and one.raddr.port == port]
