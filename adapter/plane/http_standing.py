"""Where a run stands with its control plane: what that wants of it, and whether what it says is to be believed.

An answer that would end a run, or lose its log, is confirmed first: a control plane that is being restored, or a
proxy before it, says such things of runs that are well.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from adapter.backoff import Backoff
from adapter.plane.http_limits import PlaneLimits
from adapter.plane.http_link import Link
from adapter.plane.http_status import NotKnown, PlaneError, Status

QUESTIONS = 3
"""How often a 404 must be the answer before it is believed."""

CANCELLED = "cancelled"
"""The terminal state that is a cancel by itself."""


class Standing:
    """Hears every answer. `run` is its task: it confirms what is doubtful.

    `interval` is how many seconds the control plane may be without a sign of life. `deaf` is why it takes no log now;
    None: it does. `changed` is called when that has changed. `reporting` is to be set once there is a result: what is
    terminal from then on is our own doing.
    """

    def __init__(self, link: Link, limits: PlaneLimits, tell: Callable[..., None], changed: Callable[[], None]) -> None:
        self._link, self._limits, self._tell, self._changed = link, limits, tell, changed
        link.heed, link.missed = self.heed, self.missed
        self._why: str | None = None
        self._cancelled, self._doubtful = anyio.Event(), anyio.Event()
        self._missing = self._terminal = False
        self.interval = limits.interval
        self.deaf: str | None = None
        self.reporting = False

    async def cancellation(self) -> str:
        """Waits until the control plane wants the run cancelled; why."""
        await self._cancelled.wait()
        return self._why or ""

    def heed(self, status: Status) -> None:
        """Where the run stands, as an answer says."""
        if status.cancel is not None:
            self._cancel(status.cancel)
        if status.interval is not None:
            self.interval = min(max(status.interval, self._limits.interval_least), self._limits.interval_most)
        if status.terminal:
            self._terminal = not self.reporting and self._why is None
            self._doubt()
        else:
            self._hear_again()

    def missed(self) -> None:
        """The control plane does not know the run, as an answer says."""
        self._missing = self.deaf is None
        self._doubt()

    async def closed(self) -> None:
        """The run is terminal, and takes no log for that reason, as an answer says. Raises `PlaneError`."""
        if (status := await self._link.status()).terminal:
            self._turn_deaf(f"the run has ended there already: {status.state}")

    async def run(self) -> None:
        """Confirms what is doubtful, until it is cancelled."""
        while True:
            await self._doubtful.wait()
            self._doubtful = anyio.Event()
            if self._missing:
                await self._confirm_missing()
            if self._terminal:
                await self._confirm_end()
            self._missing = self._terminal = False

    async def _confirm_missing(self) -> None:
        for question in range(QUESTIONS):
            if question:
                await anyio.sleep(self._limits.confirm)
            if await self._asked() is not None:
                return
        self._turn_deaf("the control plane does not know the run")

    async def _confirm_end(self) -> None:
        """A cancel is obeyed at once; for any other end there is a while in which it may be taken back."""
        status = await self._asked()
        if status and status.terminal and status.state != CANCELLED:
            text = f"the control plane has ended the run ({status.state}); it goes on for {self._limits.grace:g} s"
            self._link.log.warning("plane.ended", state=status.state, grace=self._limits.grace)
            self._tell("plane", text)
            await anyio.sleep(self._limits.grace)
            status = await self._asked()
        if status and status.terminal and not self.reporting:
            cancelled = status.state == CANCELLED
            verb = "cancelled the run" if cancelled else f"ended the run: {status.state}"
            self._cancel(f"the control plane has {verb}")

    async def _asked(self) -> Status | None:
        """Where the run stands, once there is an answer; None: not known there."""
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        while True:
            try:
                return await self._link.status()
            except NotKnown:
                return None
            except PlaneError as error:
                await backoff.wait(error.retry_after)

    def _cancel(self, why: str) -> None:
        """Only the first one counts."""
        if self._why is None:
            self._why = why
            self._cancelled.set()

    def _turn_deaf(self, why: str) -> None:
        if self.deaf is None:
            self.deaf = why
            hint = "its log is dropped; the run goes on, and its result is offered all the same"
            self._link.log.error("plane.takes_no_log", why=why, hint=hint)
            self._changed()

    def _hear_again(self) -> None:
        if self.deaf is not None:
            self.deaf = None
            self._link.log.warning("plane.takes_log_again")
            self._changed()

    def _doubt(self) -> None:
        if self._missing or self._terminal:
            self._doubtful.set()
