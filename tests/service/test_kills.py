"""`kill -9` of the service, at random moments: nobody who waits for a run notices."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.conftest import say
from tests.contract.agents import IMAGE
from tests.contract.conftest import Place
from tests.service.agents import AgentScript
from tests.service.chaos import Chaos, full, kills, seed
from tests.service.processes import HASTY
from tests.service.scene import Play, scene
from tests.service.scripts import scripts
from tests.service.victim import victim

KILLS = kills(10)
STEPS = max(60, 5 * KILLS)
"""Of a long run: enough for several kills to hit it."""

PATIENCE = 90 + STEPS / 2
"""Seconds after the last kill within which everything must be over."""

TIMEOUT = pytest.mark.timeout(60 + 12 * KILLS + PATIENCE)


def plays(chance: Random, place: Place, count: int, steps: int = STEPS) -> list[Play]:
    """Of each kind some; of agents one in five, and one at least."""
    agents = max(1, count // 5) if IMAGE or not place.real else 0
    found: list[Play] = [*scripts(chance, count - agents, steps)]
    for n in range(agents):
        found.insert(3 + 4 * n, AgentScript(f"run/agent {n}", f"agent-{n // 2}", chance.randint(1, 8), place.real))
    return found


@TIMEOUT
async def test_kill_9_at_random_moments(place: Place, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    number = seed()
    chance = Random(number)
    async with victim(place, tmp_path) as one, scene(place, tmp_path, one) as played:
        chaos = Chaos(played, chance)
        await chaos.play(plays(chance, place, 20 if full() else 4), KILLS)
        complaints = await played.verdict(PATIENCE)
        status = await one.end()
    say(pytestconfig, f"{chaos.told()} (seed {number}): {played.told()}")
    assert not complaints, f"seed {number}: {complaints}"
    assert status == 0


@TIMEOUT
async def test_kill_9_and_each_time_the_state_directory_is_lost(
    place: Place, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    number = seed()
    chance = Random(number)
    async with victim(place, tmp_path, command=HASTY) as one, scene(place, tmp_path, one) as played:
        chaos = Chaos(played, chance, lose=1)
        await chaos.play(plays(chance, place, 4, 40), max(2, KILLS // 10))
        complaints = await played.verdict(PATIENCE)
    say(pytestconfig, f"{chaos.told()} (seed {number}): {played.told()}")
    assert not complaints, f"seed {number}: {complaints}"


@TIMEOUT
async def test_kill_9_of_one_replica_or_the_other(place: Place, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    number = seed()
    chance = Random(number)
    async with (
        victim(place, tmp_path, "one", HASTY) as one,
        victim(place, tmp_path, "two", HASTY) as two,
        scene(place, tmp_path, one, two) as played,
    ):
        chaos = Chaos(played, chance)
        await chaos.play(plays(chance, place, max(4, KILLS // 10), 40), max(3, KILLS // 4))
        complaints = await played.verdict(PATIENCE)
    say(pytestconfig, f"two replicas, {chaos.told()} (seed {number}): {played.told()}")
    assert not complaints, f"seed {number}: {complaints}"
