"""A loop for each test: in a module that says `COMPRESSED = True` nothing waits, and nothing is late under load."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import pytest

from tests.plane.clock import CompressedLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Function
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    compressed = getattr(item.module, "COMPRESSED", False)
    return {"loop": CompressedLoop if compressed else asyncio.new_event_loop}
