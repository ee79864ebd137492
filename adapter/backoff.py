"""Delays between tries: growing, with jitter, and short again after a success."""

from __future__ import annotations

import random

import anyio

LONGEST = 60.0
"""Seconds of a Retry-After that are waited for at most: a proxy's hour is not ours."""


class Backoff:
    """Waits between `first` and `most` seconds, growing threefold with full jitter (AWS's "decorrelated jitter")."""

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self._last = first

    def reset(self) -> None:
        """The last try succeeded: begin again with the shortest delay."""
        self._last = self._first

    def next(self) -> float:
        """The next delay, in seconds."""
        self._last = min(self._most, random.uniform(self._first, self._last * 3))  # noqa: S311 - jitter, no secret
        return self._last

    async def wait(self, at_least: float = 0.0) -> None:
        """Sleeps for the next delay, or for `at_least` (a Retry-After), within reason, if that is longer."""
        await anyio.sleep(max(self.next(), min(at_least, LONGEST)))
