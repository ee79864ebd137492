"""A condition without a lock: whoever waits is woken by the next `fire`."""

from __future__ import annotations

import asyncio


class Signal:
    """Level-free broadcast. Look first, then wait: nothing can happen in between on one loop."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    async def wait(self) -> None:
        """Until the next `fire`."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)

    async def wait_for(self, seconds: float) -> None:
        """Until the next `fire`, or until the time is up, whichever comes first."""
        try:
            async with asyncio.timeout(seconds):
                await self.wait()
        except TimeoutError:
            pass

    def fire(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
