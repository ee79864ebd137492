"""A loop for each test: in a module that says `COMPRESSED = True` nothing waits, and nothing is late under load.

And a reference plane, with a client and a run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import httpx
import pytest

from adapter.plane.reference_runs import ReferencePlane
from tests.plane.clock import CompressedLoop
from tests.plane.hands import Hands
from tests.plane.planes import Speaker, client_of, plane_at


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Function
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    compressed = getattr(item.module, "COMPRESSED", False)
    return {"loop": CompressedLoop if compressed else asyncio.new_event_loop}


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
async def plane(tmp_path: Path, hands: Hands) -> AsyncIterator[ReferencePlane]:
    async with plane_at(tmp_path / "plane.db", hands, interval=30) as opened:
        yield opened


@pytest.fixture
async def client(plane: ReferencePlane) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(plane) as opened:
        yield opened


@pytest.fixture
async def run(client: httpx.AsyncClient) -> Speaker:
    speaker = Speaker(client, "run")
    await speaker.register()
    return speaker
