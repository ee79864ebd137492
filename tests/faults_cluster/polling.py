"""The outside world has no events for us: it is asked, again and again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

OFTEN = 0.1
"""Seconds between two questions."""


async def until(holds: Callable[[], Awaitable[Any]], seconds: float = 60) -> Any:
    """Asks until something holds; what it is. Raises TimeoutError."""
    with anyio.fail_after(seconds):
        while not (found := await holds()):  # noqa: ASYNC110 - see above
            await anyio.sleep(OFTEN)
    return found
