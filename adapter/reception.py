"""A run from its acceptance until there is a supervisor for it: it beats, and it can be let go of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
import structlog

from adapter.backoff import Backoff
from adapter.limits import Limits
from adapter.mouth import Heart
from adapter.plane import Beat, Plane
from adapter.run import RunResult

T = TypeVar("T")


class LetGo(Exception):
    """The adapter let go of the run while it was prepared."""


class Reception:
    """What is done before a run is supervised, or instead of it, while the keepalive is beating."""

    def __init__(self, run_id: str, plane: Plane, limits: Limits) -> None:
        self._run_id, self._limits = run_id, limits
        self._heart = Heart(plane, limits, structlog.get_logger("adapter").bind(run_id=run_id))
        self._scope = anyio.CancelScope()
        self.gone = False

    def let_go(self) -> None:
        """Ends what is under way with `LetGo`, and whatever would come after it."""
        self.gone = True
        self._scope.cancel()

    async def beating(self, work: Callable[[], Awaitable[T]]) -> T:
        """The work's answer. Raises what it raises, and `LetGo`."""
        outcome: list[T | Exception] = []

        async def do() -> None:
            try:
                outcome.append(await work())
            except Exception as error:  # noqa: BLE001 - it is raised below, as itself: a group would wrap it
                outcome.append(error)

        async with anyio.create_task_group() as group:
            self._scope = group.cancel_scope
            if self.gone:
                group.cancel_scope.cancel()
            beating = group.start_soon(self._heart.run, self._beat)
            await group.start_soon(do).wait()
            beating.cancel()
        if not outcome:
            raise LetGo
        if isinstance(outcome[0], Exception):
            raise outcome[0]
        return outcome[0]

    async def report(self, result: RunResult) -> None:
        """Offers the result of a run that never became a Job until it is accepted, beating all the while."""
        await self.beating(lambda: self._offer(result))

    async def _offer(self, result: RunResult) -> None:
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        with anyio.move_on_after(self._limits.report):
            while not await self._heart.report(result):
                await backoff.wait()

    def _beat(self) -> Beat:
        return Beat(run_id=self._run_id, phase="prepare", observed_ago=None)
