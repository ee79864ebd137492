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
    """`start` begins the run; `again` says how to come back to it. SIGTERM lets go, or cancels like Ctrl-C.

    `signal` is the last signal that has reached the run.
    """

    def __init__(
        self, run_id: str, choice: Choice, output: Output, start: Start, again: str, *, term_cancels: bool = False
    ) -> None:
        self._run_id, self._choice, self._output, self._start, self._again = run_id, choice, output, start, again
        self._plane = CallbackPlane(on_log=output.log, on_event=output.event)
        self._term_cancels = term_cancels
        self.signal: signal.Signals | None = None
        self._interrupted = self._over = False
        self._running: asyncio.Task[RunResult | None] | None = None
        self._let_go: Callable[[], bool] | None = None

    async def run(self) -> RunResult | None:
        """The run's result; None if it was interrupted before there was one."""
        loop = asyncio.get_running_loop()
        on_term = self._interrupt if self._term_cancels else self._detach
        for number, handler in ((signal.SIGINT, self._interrupt), (signal.SIGTERM, on_term), (signal.SIGHUP, on_term)):
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, self._hear, number, handler)
        self._running = asyncio.create_task(self._run())
        try:
            result = await self._running
        except asyncio.CancelledError:
            return None
        await self._output.result(result) if result else None
        if result and result.outcome is Outcome.DETACHED:
            self._output.say(self.how_to_come_back())
        return result

    def _hear(self, number: signal.Signals, handler: Callable[[], None]) -> None:
        if not self._over:
            self.signal = number
            handler()

    async def _run(self) -> RunResult | None:
        # A pipe that is not read for minutes (`| less`) must not be given the same lines twice, and must be given the
        # last ones too: no deadline for it, not even after the run's end.
        async with connected(self._choice, Limits(sink=math.inf, tail=math.inf)) as adapter:
            self._let_go = lambda: adapter.let_go(self._run_id)
            result = await self._start(adapter, self._plane)
            self._over = True
            return result

    def _interrupt(self) -> None:
        """Ctrl-C: cancels the run; a second one lets go of it."""
        if self._interrupted or self._let_go is None:
            self._detach()
            return
        self._interrupted = True
        self._output.say("cancelling the run; Ctrl-C again lets go of it")
        self._plane.cancel("interrupted")

    def _detach(self) -> None:
        """Lets go of the run; where there is none yet, there will be none."""
        if not (self._let_go and self._let_go()) and self._running:
            self._running.cancel()

    def how_to_come_back(self) -> str:
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
    by_its_words = result.outcome is Outcome.FAILED and result.agent is not None and result.exit_code == 0
    return result.exit_code or (1 if by_its_words else 125)
