"""Between tries: delays, and how long an answer is waited for. Both grow, and are short again after a success."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

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


class Patience:
    """How long an answer is waited for: `first` seconds; after waiting in vain twice as long, up to `most`.

    A control plane that needed 30 s for each answer was never heard, and its runs had no result. An answer that comes
    within `first` seconds makes it short again: who has only just been started is quick soon.
    """

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self.now = first

    @contextmanager
    def wait(self) -> Iterator[anyio.CancelScope]:
        """Waits for one answer. Raises TimeoutError."""
        began, waited = anyio.current_time(), self.now
        try:
            with anyio.fail_after(waited) as scope:
                yield scope
        except TimeoutError:
            self.now = max(self.now, min(self._most, 2 * waited))
            raise
        if anyio.current_time() - began <= self._first and not scope.cancel_called:
            self.now = self._first
