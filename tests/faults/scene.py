"""One run of the matrix as its mishaps see it: the cluster, the adapter, the agent, the plane and the host's task."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from adapter import Adapter, RunRequest, RunResult
from adapter.local import LocalCluster
from adapter.local.faults import Handle
from tests.faults import agent
from tests.faults.ledger import Ledger

LOOK = 0.01
"""Seconds between two looks at the agent's record."""


@dataclass(frozen=True)
class Part:
    """What an agent will say, and how it will end."""

    seed: int
    lines: int
    pause: float
    code: int
    kind: str
    deaf: bool = False


Strike: TypeAlias = "Callable[[Scene, random.Random], Awaitable[Any]]"


@dataclass(frozen=True)
class Mishap:
    """Something that goes wrong. `outcomes` are those it may bring about; none: it must change nothing;
    `unseen` are those it may have in company, when nobody could see it happen.

    `losing` says that lines may be lost, since the API itself does not have them any more: but never without a word,
    unless it is `silent`, which docs/reliability.md lists among what is not promised. `doubtful`: none are lost, and
    nobody but the node can know it.
    `codes` are those that go with its outcomes, where nothing else was wrong.
    `own` gives fields of the request that the mishap needs; `plain`: the agent's lines must be short.
    """

    name: str
    group: str
    strike: Strike
    early: bool = False
    outcomes: tuple[str, ...] = ()
    codes: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    losing: bool = False
    silent: bool = False
    doubtful: bool = False
    plain: bool = False
    own: dict[str, Any] = field(default_factory=dict)


@dataclass
class Scene:
    """What a mishap can lay its hands on. `struck` names those that have; of those that only arm the wire, `armed` says
    whether they have hit anything."""

    cluster: LocalCluster
    part: Part
    request: RunRequest
    ledger: Ledger = field(default_factory=Ledger)
    struck: list[str] = field(default_factory=list)
    armed: dict[str, list[Handle]] = field(default_factory=dict)
    adapter: Adapter | None = None
    task: asyncio.Task[RunResult] | None = None

    @property
    def happened(self) -> list[str]:
        """The names of those that have happened."""
        return [
            name for name in self.struck if any(one.hits for one in self.armed.get(name, ())) or name not in self.armed
        ]

    @property
    def record(self) -> Path:
        """Of the agent that began last."""
        base = record_of(self.cluster)
        return max((path for path in base.parent.glob("record-*") if path.suffix != ".end"), default=base)

    @property
    def ended(self) -> dict[str, Any] | None:
        """How the agent says that it has ended; None: it was not asked any more, or goes on."""
        end = self.record.with_name(self.record.name + ".end")
        try:
            told: dict[str, Any] = json.loads(end.read_text())
        except (OSError, ValueError):
            return None
        return told

    @property
    def said(self) -> bytes:
        """What the agent has said, on its own record."""
        return self.record.read_bytes() if self.record.exists() else b""

    @property
    def pod(self) -> str | None:
        """The name of the run's pod, once it has one."""
        pods = self.cluster.list("pods")
        return str(pods[0]["metadata"]["name"]) if pods else None

    @property
    def job(self) -> str:
        return str(self.cluster.list("jobs")[0]["metadata"]["name"])

    async def speaking(self, dice: random.Random) -> str:
        """Waits until the agent has said some of its lines; its pod. It may have ended by then."""
        wanted = dice.randrange(1, max(2, self.part.lines * 2 // 3))
        while self.said.count(b"\n") < wanted and self.ended is None:
            await self.moment(LOOK)
        assert self.pod
        return self.pod

    async def moment(self, seconds: float) -> None:
        """Lets some time pass before a mishap. Raises LookupError where the run is over by then."""
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            raise LookupError("too late") from None

    async def delivered(self) -> None:
        """Waits until the plane has some of the log. Raises LookupError where the agent has ended before."""
        while not self.ledger.data:
            if self.ended is not None:
                raise LookupError("too late")
            await self.moment(LOOK)

    async def until_pod(self) -> str:
        await self.cluster.until(lambda c: c.list("pods"), 20)
        assert self.pod
        return self.pod


def record_of(cluster: LocalCluster) -> Path:
    return cluster.directory / "record"


def command_of(cluster: LocalCluster, part: Part) -> tuple[str, ...]:
    """The agent as a command."""
    words = json.dumps([part.seed, part.lines, part.pause, part.code, part.kind, part.deaf])
    return (sys.executable, "-ISs", agent.__file__, str(record_of(cluster)), words)
