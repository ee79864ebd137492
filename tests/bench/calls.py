"""Requests to the API server for one run: without the shared watches, and without what an adapter asks once."""

from __future__ import annotations

from typing import Any

from adapter import Adapter, RunRequest
from tests.bench.figures import Figure
from tests.bench.places import Place, embedded

MOST = 12
SHORT = ("true",)
LONG = ("sh", "-c", "for n in 1 2 3 4 5 6 7 8 9 10 11 12; do echo $n; sleep 1; done")


async def measure(*, full: bool) -> list[Figure]:
    async with embedded() as place, place.adapter() as adapter:
        await _run(adapter, "first", SHORT)
        short = await _requests(place, adapter, "short", SHORT)
        long = await _requests(place, adapter, "long", LONG)
    return [_figure("short", short), _figure("12 s", long)]


def _figure(which: str, requests: list[dict[str, Any]]) -> Figure:
    words = ", ".join(f"{request['method']} {_what(request['path'])}" for request in requests)
    return Figure(what=f"requests of one run ({which})", value=len(requests), aim=MOST, note=words)


def _what(path: str) -> str:
    """The resource of a path, with what is asked of it."""
    parts = path.partition("/namespaces/")[2].split("/")
    return "/".join([*parts[1:2], *parts[3:]]) or path.rpartition("/")[2]


async def _requests(place: Place, adapter: Adapter, name: str, command: tuple[str, ...]) -> list[dict[str, Any]]:
    assert place.server is not None
    before = len((await place.server.ask())["requests"])
    await _run(adapter, name, command)
    return [r for r in (await place.server.ask())["requests"][before:] if not _shared(r)]


def _shared(request: dict[str, Any]) -> bool:
    """Whether it is of the feed: a watch of the instance's objects, or their list."""
    return "claude-k8s/instance" in request["query"].get("labelSelector", "")


async def _run(adapter: Adapter, name: str, command: tuple[str, ...]) -> None:
    result = await adapter.run(RunRequest(run_id=f"calls-{name}", command=command))
    assert result.ok, result.message
