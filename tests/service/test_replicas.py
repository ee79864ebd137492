"""Two replicas of one instance: what becomes of the runs of the one that dies, or that is thought dead."""

from __future__ import annotations

import signal
from pathlib import Path
from random import Random

import anyio
import pytest

from tests.conftest import say
from tests.contract.conftest import Place
from tests.service.chaos import full, seed
from tests.service.processes import COMMAND, HASTY, until
from tests.service.scene import Scene, scene
from tests.service.scripts import scripts
from tests.service.victim import Victim, victim

REAL = [pytest.param(COMMAND, id="15 s")] if full() else []
TENURES = pytest.mark.parametrize("command", [pytest.param(HASTY, id="3 s"), *REAL])

pytestmark = pytest.mark.timeout(240)


async def play(played: Scene, chance: Random) -> None:
    """Begins some runs, and returns when all of them are durable, and those that are to be cancelled are."""
    async with anyio.create_task_group() as group:
        for script in scripts(chance, 6, 40):
            group.start_soon(played.perform, script, chance.uniform(3, 12))
            await anyio.sleep(0.3)


async def taken(played: Scene, by: Victim) -> None:
    """Waits until one replica looks after every run that is not over."""

    async def all_of_them() -> bool:
        return await played.supervisors() <= {by.replica}

    await until(all_of_them)


@TENURES
async def test_one_of_two_is_killed_for_good(
    place: Place, tmp_path: Path, pytestconfig: pytest.Config, command: tuple[str, ...]
) -> None:
    number = seed()
    chance = Random(number)
    async with (
        victim(place, tmp_path, "one", command) as one,
        victim(place, tmp_path, "two", command) as two,
        scene(place, tmp_path, one, two) as played,
        anyio.create_task_group() as group,
    ):
        await two.up()
        await one.up()
        group.start_soon(play, played, chance)
        await anyio.sleep(chance.uniform(3, 6))
        await one.kill()
        await taken(played, two)
        complaints = await played.verdict(120)
    say(pytestconfig, f"one of two replicas killed for good (seed {number}): {played.told()}")
    assert not complaints, f"seed {number}: {complaints}"


@TENURES
async def test_one_of_two_stands_still_for_longer_than_its_lease_and_goes_on(
    place: Place, tmp_path: Path, pytestconfig: pytest.Config, command: tuple[str, ...]
) -> None:
    number = seed()
    chance = Random(number)
    async with (
        victim(place, tmp_path, "one", command) as one,
        victim(place, tmp_path, "two", command) as two,
        scene(place, tmp_path, one, two) as played,
        anyio.create_task_group() as group,
    ):
        await two.up()
        await one.up()
        group.start_soon(play, played, chance)
        await anyio.sleep(chance.uniform(3, 6))
        one.send(signal.SIGSTOP)
        await taken(played, two)
        one.send(signal.SIGCONT)
        complaints = await played.verdict(120)
        statuses = await one.end(), await two.end()
    say(pytestconfig, f"one of two replicas paused (seed {number}): {played.told()}")
    assert not complaints, f"seed {number}: {complaints}"
    assert statuses == (0, 0)
