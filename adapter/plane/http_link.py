"""One run's requests to its control plane: what each answer says of the run is heard, and what fails is said once."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any

import anyio
import structlog

from adapter.plane.http_status import NotKnown, PlaneError, Status, TokenRefused
from adapter.plane.http_wire import Wire


class Link:
    """What a run and its control plane say to each other. Every call raises `PlaneError`, and nothing else.

    `heed` is called with where the run stands, whenever an answer says it; `missed` when the control plane does not
    know the run; `refused`, once, when it refuses our token. `accepted_at` is when it last accepted anything.
    """

    def __init__(self, wire: Wire, run_id: str) -> None:
        self.wire, self.run_id = wire, run_id
        self.log: structlog.typing.FilteringBoundLogger = structlog.get_logger("adapter.plane").bind(run_id=run_id)
        self.accepted_at = -inf
        self.heed: Callable[[Status], None]
        self.missed: Callable[[], None]
        self.refused: Callable[[str], None]
        self._failing: dict[str, str] = {}
        self._refused = False

    async def status(self) -> Status:
        """Where the run stands."""
        return await self._heard("status", self.wire.get(self.run_id))

    async def sign(self, kind: str, body: Mapping[str, Any]) -> Status:
        """A beat or a result."""
        return await self._accepted(kind, self.wire.sign(kind, self.run_id, _packed(body)))

    async def send(self, kind: str, body: Mapping[str, Any]) -> Status:
        """Log or events."""
        return await self._accepted(kind, self.wire.send(kind, self.run_id, _packed(body)))

    async def _accepted(self, kind: str, call: Awaitable[Status]) -> Status:
        status = await self._heard(kind, call)
        self.accepted_at = anyio.current_time()
        return status

    async def _heard(self, kind: str, call: Awaitable[Status]) -> Status:
        try:
            status = await call
        except PlaneError as error:
            self._fails(kind, error)
            raise
        if self._failing.pop(kind, None):
            self.log.info("plane.answers_again", kind=kind)
        self._refused = False
        self.heed(status)
        return status

    def _fails(self, kind: str, error: PlaneError) -> None:
        if error.run:
            self.heed(error.run)
        if isinstance(error, NotKnown):
            self.missed()
        if isinstance(error, TokenRefused) and not self._refused:
            self._refused = True
            self.refused(str(error))
        if self._failing.get(kind) != str(error):
            self.log.warning("plane.failed", kind=kind, error=str(error))
        self._failing[kind] = str(error)


def _packed(body: Mapping[str, Any]) -> bytes:
    """A body as JSON. An agent's transcript may hold NaN, which is none: a strict reader would never take that run."""
    try:
        return _dumped(body)
    except ValueError:
        return _dumped(json.loads(json.dumps(body, default=str), parse_constant=lambda _: None))


def _dumped(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), default=str, allow_nan=False).encode()
