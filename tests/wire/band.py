"""Replicas in one process, on one cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from adapter.cluster.connection import Connection
from adapter.cluster.credentials import Source
from adapter.cluster.leases import lease_name
from adapter.local import LocalCluster
from adapter.membership import Membership, Tenure

QUICK = Tenure(lease=1.5, renew=0.2, give_up=0.9, tidy=2.5)
"""The proportions of the real times, small."""

STEADY = Tenure(lease=30, renew=0.2, give_up=20)
"""Nobody lapses or dies here, however slow the machine."""

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"


def name_of(replica: str) -> str:
    return lease_name("test", replica)


def path_of(replica: str) -> str:
    return f"{LEASES}/{name_of(replica)}"


@dataclass
class Band:
    """Members in one process, each with a connection of its own."""

    cluster: LocalCluster
    connections: list[Connection] = field(default_factory=list)
    lives: dict[Membership, asyncio.Task[None]] = field(default_factory=dict)

    async def make(self, name: str, tenure: Tenure = QUICK, instance: str = "test") -> Membership:
        self.connections.append(await Connection.open(Source(str(self.cluster.kubeconfig)), deadline=5))
        return Membership(self.connections[-1], "default", instance, name, tenure=tenure)

    async def join(self, name: str, tenure: Tenure = QUICK, **how: Any) -> Membership:
        """A member that lives."""
        member = await self.make(name, tenure, **how)
        await member.join()
        self.lives[member] = asyncio.create_task(member.run())
        return member

    def kill(self, member: Membership) -> None:
        """As `kill -9` does: nothing more is said."""
        self.lives[member].cancel()

    async def renewed(self, name: str, times: int = 2) -> None:
        """Waits for renewals to come: when the second is there, the first is known to whoever sent it."""
        for _ in range(times):
            await self.cluster.until(partial(self._is_renewed, name, self._renewal(name)))

    def _is_renewed(self, name: str, before: str | None, _: LocalCluster) -> bool:
        return self._renewal(name) not in (None, before)

    def _renewal(self, name: str) -> str | None:
        return (self.lease(name).get("spec") or {}).get("renewTime")

    def lease(self, name: str) -> dict[str, Any]:
        return self.cluster.get("leases", name_of(name)) or {}

    async def ask(self, method: str, path: str, body: Any = None, **how: Any) -> dict[str, Any]:
        return await self.connections[0].call(method, path, body=body, deadline=5, **how)

    async def close(self) -> None:
        for life in self.lives.values():
            life.cancel()
        await asyncio.gather(*self.lives.values(), return_exceptions=True)
        for connection in self.connections:
            await connection.close()


async def changes(member: Membership, holds: Callable[[], object], seconds: float = 20) -> None:
    """Waits for what `changed` tells of."""
    async with asyncio.timeout(seconds):
        while not holds():
            await member.changed()


async def comes_true(holds: Callable[[], object]) -> None:
    """Waits for what nobody tells of, since it comes by the clock alone."""
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 - as the docstring says
            await asyncio.sleep(0.01)


async def valid(*members: Membership) -> None:
    async with asyncio.timeout(20):
        await asyncio.gather(*(member.until_valid() for member in members))


def regaining(member: Membership) -> list[bool]:
    """What `valid` was each time that `regained` was called, and at the end of it."""
    calls: list[bool] = []

    async def regained() -> None:
        calls.append(member.valid)
        await asyncio.sleep(0)
        calls.append(member.valid)

    member.regained = regained
    return calls


@dataclass
class Regaining:
    """A `regained` that is held up: how often it was called, and whether it may go on."""

    calls: int = 0
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> None:
        self.calls += 1
        self.begun.set()
        await self.go_on.wait()


async def held_up(band: Band, member: Membership) -> Regaining:
    """A member that has lapsed, and whose owner is busy with what came of it."""
    member.regained = regaining = Regaining()
    await band.ask("DELETE", path_of(member.name))
    await asyncio.wait_for(regaining.begun.wait(), 10)
    return regaining
