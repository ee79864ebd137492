"""A program: many runs at once in one process. It says how late their beats were, and what memory they took."""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from collections import defaultdict

import psutil

from adapter import Adapter, Beat, CallbackPlane, Event, Limits, RunRequest
from tests.bench.programs import quiet, say

BEAT = 5.0
"""Seconds between two beats: six times as many as by default, so that a short benchmark sees enough of them."""

LAUNCHES = 10
"""Runs that are launched at the same time; the others are running, or wait for their turn."""

SLEEP = ("sleep", "3600")


class Crowd:
    """Runs that sleep, and the times of their beats."""

    def __init__(self, adapter: Adapter) -> None:
        self._adapter = adapter
        self._room = asyncio.Semaphore(LAUNCHES)
        self._begun = time.monotonic_ns()
        self.beats: dict[str, list[float]] = defaultdict(list)

    async def grow(self, count: int) -> None:
        """Starts so many runs, and returns when all of them are running."""
        at = len(self.beats)
        await asyncio.gather(*(self._start(f"crowd-{self._begun}-{n}") for n in range(at, at + count)))

    async def _start(self, run_id: str) -> None:
        running = asyncio.Event()

        def event(event: Event) -> None:
            if event.message == "claude: running":
                running.set()

        plane = CallbackPlane(on_beat=self._beat, on_event=event)
        async with self._room:
            request = RunRequest(run_id=run_id, command=SLEEP, grace=1)
            run = asyncio.create_task(self._adapter.run(request, plane))
            await asyncio.wait([run, asyncio.create_task(running.wait())], return_when=asyncio.FIRST_COMPLETED)
            assert running.is_set(), run.result().message

    def _beat(self, beat: Beat) -> None:
        self.beats[beat.run_id].append(time.monotonic())

    def lateness(self) -> list[float]:
        """For each beat, and for those that should have come by now, how late it was; 0 if it was not."""
        now = time.monotonic()
        pairs = [pair for times in self.beats.values() for pair in zip(times, [*times[1:], now], strict=True)]
        return [max(0.0, after - before - BEAT) for before, after in pairs]


async def main(options: argparse.Namespace) -> None:
    limits = Limits(beat=BEAT)
    async with Adapter.connect(kubeconfig=options.kubeconfig, namespace=options.namespace, limits=limits) as adapter:
        crowd = Crowd(adapter)
        await crowd.grow(LAUNCHES)  # imports, and opens the connections that all calls share
        before, began = _resident(), time.monotonic()
        await crowd.grow(options.runs)
        started, cpu = time.monotonic() - began, time.process_time()
        await asyncio.sleep(options.hold)
        busy = (time.process_time() - cpu) / options.hold
        late = crowd.lateness()
        memory = (_resident() - before) / options.runs
    say(worst=max(late), beats=len(late), memory=memory, started=started, busy=busy)


def _resident() -> float:
    """KiB of this process in memory."""
    gc.collect()
    return float(psutil.Process().memory_info().rss / 1024)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("kubeconfig")
    parser.add_argument("namespace")
    parser.add_argument("runs", type=int)
    parser.add_argument("hold", type=float)
    return parser.parse_args()


if __name__ == "__main__":
    quiet()
    asyncio.run(main(_arguments()))
