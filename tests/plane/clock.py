"""A loop whose clock jumps to the next timer as soon as nothing else is to be done: hours pass in a moment.

Only for what needs no socket: what comes from outside takes no time at all by this clock.
"""

from __future__ import annotations

import asyncio


class CompressedLoop(asyncio.SelectorEventLoop):
    """A loop of which a test waits for nothing, and in which no deadline depends on how busy the machine is."""

    _now = 1000.0

    def time(self) -> float:
        return self._now

    def _run_once(self) -> None:
        timers = [timer.when() for timer in self._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]
        if timers and not self._ready:  # type: ignore[attr-defined]  # BaseEventLoop's own, both
            self._now = max(self._now, min(timers))
        super()._run_once()  # type: ignore[misc]
