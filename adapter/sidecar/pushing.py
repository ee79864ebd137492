"""The control planes that runs are pushed to: one client for each, for as long as a run needs it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from adapter.plane import Plane
from adapter.plane.http import HttpPlane
from adapter.plane.http_address import Token, base_of
from adapter.plane.http_run import Allowed
from adapter.run import RunResult
from adapter.sidecar.documents import Asked


@dataclass(frozen=True, slots=True)
class PlaneChoice:
    """The control plane of every run that does not name one of its own."""

    url: str
    token_file: Path | None = None
    token: str | None = field(default=None, repr=False)


class Pushing:
    """Clients, shared by the runs that name the same control plane and bear the same token.

    Raises `InvalidRequest` for an address or a token that could never be used.
    """

    def __init__(self, choice: PlaneChoice | None, replica: str, observe: Callable[[str, str, float], None]) -> None:
        if choice:  # what could never be used is said before anything is served
            base_of(choice.url)
            Token(choice.token, choice.token_file)
        self._choice, self._replica, self._observe = choice, replica, observe
        self._clients: dict[tuple[Any, ...], tuple[HttpPlane, int]] = {}

    def wanted(self, asked: Asked) -> bool:
        """Whether the run is pushed to anybody."""
        return asked.plane is not None or self._choice is not None

    @asynccontextmanager
    async def to(
        self, asked: Asked, execution: Callable[[RunResult], dict[str, Any] | None], allowed: Allowed
    ) -> AsyncIterator[Plane | None]:
        """The run's plane; None if it is not pushed. Leaving ends it. `allowed` is awaited before all but beats."""
        if not self.wanted(asked):
            yield None
            return
        async with (
            self._client(self._address(asked)) as client,
            client.run(asked.run_id, execution=execution, allowed=allowed) as plane,
        ):
            yield plane

    def _address(self, asked: Asked) -> tuple[str, str | None, Path | None]:
        if asked.plane:
            token = asked.plane.token.get_secret_value() if asked.plane.token else None
            return asked.plane.url, token, None
        assert self._choice is not None  # noqa: S101 - `wanted` has said so
        return self._choice.url, self._choice.token, self._choice.token_file

    @asynccontextmanager
    async def _client(self, address: tuple[str, str | None, Path | None]) -> AsyncIterator[HttpPlane]:
        url, token, file = address
        client, users = self._clients.get(address) or (
            HttpPlane(url, token=token, token_file=file, supervisor=self._replica, observe=self._observe),
            0,
        )
        self._clients[address] = client, users + 1
        try:
            yield client
        finally:
            client, users = self._clients.pop(address)
            if users > 1:
                self._clients[address] = client, users - 1
            else:
                await client.aclose()
