"""The client of a control plane that is told of runs over HTTP: beats, log, events and results are pushed to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import structlog

from adapter.loopback import is_loopback
from adapter.plane import Plane
from adapter.plane.http_address import Token, base_of
from adapter.plane.http_limits import PlaneLimits
from adapter.plane.http_run import Allowed, Execution, HttpRun, always
from adapter.plane.http_status import PlaneError
from adapter.plane.http_wire import Observe, Wire

__all__ = ["HttpPlane", "PlaneError", "PlaneLimits"]

log = structlog.get_logger("adapter.plane")


class HttpPlane:
    """One control plane, for any number of runs. `aclose` closes its connections, once the runs are over.

    `url` is what `/v1/runs` follows; the protocol is in `docs/plane-protocol.md`. `token` is a bearer token,
    `token_file` a file with one, which is read again each time it changes. `supervisor` is told with each beat.
    `observe` is called with every request's kind, its end (the HTTP status, or a word) and its seconds.

    Raises `InvalidRequest`, which names the field, for a URL or a token that could never be used.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        token_file: Path | None = None,
        limits: PlaneLimits | None = None,
        supervisor: str = "",
        observe: Observe | None = None,
    ) -> None:
        self._limits, self._supervisor = limits or PlaneLimits(), supervisor
        base, secret = base_of(url), Token(token, token_file)
        if secret and base.scheme == "http" and not is_loopback(base.host):
            log.warning(
                "plane.token_in_the_clear", plane=str(base), hint="whoever is on the way can read it: use https"
            )
        self._wire = Wire(base, secret, self._limits, observe)
        self.url = str(base)

    def __repr__(self) -> str:
        return f"HttpPlane({self.url!r})"

    async def aclose(self) -> None:
        """Closes every connection."""
        await self._wire.aclose()

    @asynccontextmanager
    async def run(
        self, run_id: str, *, execution: Execution | None = None, allowed: Allowed = always
    ) -> AsyncIterator[Plane]:
        """The plane of one run, for as long as the context lasts; what was not sent by its end, never will be.

        `execution` makes of a result what the control plane stores besides it. `allowed` is awaited before anything but
        a beat is sent: it returns as soon as the run is this process's to tell of.
        """
        failed: Exception | None = None
        async with anyio.create_task_group() as group:
            run = HttpRun(
                self._wire, run_id, self._limits, supervisor=self._supervisor, execution=execution, allowed=allowed
            )
            tasks = [group.start_soon(task) for task in (run.send, run.confirm)]
            try:
                yield run
                await run.farewell()
            except Exception as error:  # noqa: BLE001 - raised below, as itself: the group would wrap it
                failed = error
            finally:
                for task in tasks:  # not the group's scope: it would swallow a cancellation of the host's (anyio #1214)
                    task.cancel()
        if failed:
            raise failed
