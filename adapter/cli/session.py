"""One run of a command: its adapter, its output, and the signals that reach it."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import sys
from collections.abc import Awaitable, Callable

import structlog

from adapter.cli.clusters import Choice, connected, running_local
from adapter.cli.output import Output
from adapter.limits import Limits
from adapter.plane import Plane
from adapter.plane.callbacks import CallbackPlane
from adapter.run import Outcome, RunResult
from adapter.service import Adapter

Start = Callable[[Adapter, Plane], Awaitable[RunResult]]


class Session:
    """`start` begins the run; `again` says how to come back to it. SIGTERM lets go, or cancels like Ctrl-C."""

    def __init__(
        self, run_id: str, choice: Choice, output: Output, start: Start, again: str, *, term_cancels: bool = False
    ) -> None:
        self._run_id, self._choice, self._output, self._start, self._again = run_id, choice, output, start, again
        self._plane = CallbackPlane(on_log=output.log, on_event=output.event)
        self._term_cancels = term_cancels
        self._interrupted = False
        self._running: asyncio.Task[RunResult | None] | None = None
        self._let_go: Callable[[], None] | None = None

    async def run(self) -> RunResult | None:
        """The run's result; None if it was interrupted before there was one."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGINT, self._interrupt)
        loop.add_signal_handler(signal.SIGTERM, self._interrupt if self._term_cancels else self._detach)
        self._running = asyncio.create_task(self._run())
        try:
            result = await self._running
        except asyncio.CancelledError:
            return None
        await self._output.result(result) if result else None
        if result and result.outcome is Outcome.DETACHED:
            self._output.say(self._how_to_come_back())
        return result

    async def _run(self) -> RunResult | None:
        # A pipe that is not read for minutes (`| less`) must not be given the same lines twice: no deadline for it.
        async with connected(self._choice, Limits(sink=math.inf)) as adapter:
            self._let_go = lambda: adapter.let_go(self._run_id)
            return await self._start(adapter, self._plane)

    def _interrupt(self) -> None:
        """Ctrl-C: cancels the run; a second one lets go of it."""
        if self._interrupted or self._let_go is None:
            self._detach()
            return
        self._interrupted = True
        self._output.say("cancelling the run; Ctrl-C again lets go of it")
        self._plane.cancel("interrupted")

    def _detach(self) -> None:
        if self._let_go:
            self._let_go()
        elif self._running:
            self._running.cancel()

    def _how_to_come_back(self) -> str:
        """How to come back. Not the command line itself: a variable on it may be secret."""
        if self._choice.local and running_local() is None:
            return "the embedded cluster ends with this command, and the run with it"
        return f"let go; {self._again}"


def log_to_stderr(*, verbose: bool) -> None:
    """The adapter's own log: on stderr, where it does not disturb what is printed."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.CRITICAL),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def exit_code(result: RunResult | None) -> int:
    """What the process exits with; None: interrupted before there was a run."""
    if result is None or result.outcome in (Outcome.CANCELLED, Outcome.DETACHED):
        return 130
    if result.outcome is Outcome.TIMED_OUT:
        return 124
    if result.outcome is Outcome.SUCCEEDED:
        return 0
    # An agent that ends with 0 can have failed by its own words.
    return result.exit_code or (1 if result.outcome is Outcome.FAILED and result.agent is not None else 125)
