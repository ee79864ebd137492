"""Kills at random moments, while runs come and go."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import anyio

from tests.service.scene import Play, Scene
from tests.service.victim import Victim

SEED = "CLAUDE_K8S_SEED"
KILLS = "CLAUDE_K8S_KILLS"

STARTING = 0.25
"""The share of kills that hit a service which has not said yet that it serves."""

LIFE = 2.5
"""Seconds that a service may live, once it serves, at most, until it is killed."""


def kills(default: int) -> int:
    """How many kills there are to be."""
    return int(os.environ.get(KILLS) or default)


def full() -> bool:
    """Whether the whole proof is wanted, and not only what fits into every test run."""
    return KILLS in os.environ


def seed() -> int:
    """What decides every random moment: of the environment, or another one each time."""
    return int(os.environ.get(SEED) or Random().randrange(1_000_000))


@dataclass
class Chaos:
    """What is done to the replicas while a scene is played. `lose`: each `lose`th kill costs its state, too."""

    scene: Scene
    chance: Random
    lose: int = 0
    lost: int = 0
    starts: list[float] = field(default_factory=list)
    living: list[int] = field(default_factory=list)

    async def play(self, plays: Sequence[Play], count: int) -> None:
        """Begins the runs between the kills, and returns after the last kill, with the service at work again."""
        async with anyio.create_task_group() as group:
            begun = 0
            for number in range(count):
                due = min(len(plays), 2 + len(plays) * number // max(1, count - 3))
                for play in plays[begun:due]:
                    group.start_soon(self._perform, play)
                begun = due
                await self._kill(self.chance.choice(self.scene.victims))
        for victim in self.scene.victims:
            await victim.up()

    def told(self) -> str:
        """What was done, in words."""
        lost = f", {self.lost} of them with the state" if self.lost else ""
        hit = f"{len(self.living)} kills{lost}, each of which hit {min(self.living)} to {max(self.living)} runs"
        return f"{hit}; it served again after {max(self.starts, default=0):.1f} s at most"

    async def _perform(self, play: Play) -> None:
        await anyio.sleep(self.chance.uniform(0, LIFE))
        await self.scene.perform(play, cancel_after=self.chance.uniform(0, 4 * LIFE))

    async def _kill(self, victim: Victim) -> None:
        if self.chance.random() > STARTING:
            began = time.monotonic()
            await victim.up()
            self.starts.append(time.monotonic() - began)
        await anyio.sleep(self.chance.uniform(0, LIFE))
        self.living.append(await self.scene.living())
        await victim.kill()
        if self.lose and len(self.living) % self.lose == 0:
            victim.lose_state()
            self.lost += 1
        await victim.start()
