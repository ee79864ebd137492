"""From a seed and a number to what happens in a run: always the same."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.faults.around import HOST, PLANE
from tests.faults.cluster import JOB, NODE
from tests.faults.scene import Mishap, Part
from tests.faults.wire import API, LOG

CATALOGUE: list[Mishap] = [*API, *LOG, *NODE, *JOB, *PLANE, *HOST]


@dataclass(frozen=True)
class Plan:
    """One run of the matrix."""

    number: int
    seed: int
    part: Part
    mishaps: tuple[Mishap, ...]

    def dice(self, use: str) -> random.Random:
        return random.Random(f"{self.seed}/{self.number}/{use}")

    @property
    def name(self) -> str:
        return " + ".join(mishap.name for mishap in self.mishaps)


def draw(seed: int, number: int, only: str | None = None) -> Plan:
    """The run of that number. Each mishap has its turn, alone first; then in company, which is drawn."""
    dice = random.Random(f"{seed}/{number}")
    first = named(only) if only else CATALOGUE[number % len(CATALOGUE)]
    others = _company(dice, first) if only is None and number >= len(CATALOGUE) else ()
    mishaps = (first, *others)
    return Plan(number, seed, _part(dice, mishaps), mishaps)


def named(name: str) -> Mishap:
    """The mishap of that name, or whose name begins so. Raises LookupError."""
    found = next((m for m in CATALOGUE if m.name == name), None) or next(
        (m for m in CATALOGUE if m.name.startswith(name)), None
    )
    if found is None:
        raise LookupError(f"no mishap {name!r}; there are: {', '.join(m.name for m in CATALOGUE)}")
    return found


def _company(dice: random.Random, first: Mishap) -> tuple[Mishap, ...]:
    """One or two others; of those that decide the outcome there is one at most."""
    chosen: list[Mishap] = []
    for mishap in dice.sample(CATALOGUE, 12):
        together = (first, *chosen, mishap)
        if mishap is not first and sum(bool(m.outcomes) for m in together) <= 1:
            chosen.append(mishap)
    return tuple(chosen[: dice.choice([1, 1, 2, 2, 3])])


def _part(dice: random.Random, mishaps: tuple[Mishap, ...]) -> Part:
    """Long enough for what ends it to come in time."""
    long = any(m.outcomes for m in mishaps)
    plain = any(m.plain for m in mishaps)
    return Part(
        seed=dice.randrange(1000),
        lines=dice.randrange(5, 60) if not long else dice.randrange(100, 140),
        pause=dice.choice([0.002, 0.01]) if not long else 0.02,
        code=dice.choice([0, 0, 0, 3]),
        kind="plain" if plain else dice.choice(["mixed", "mixed", "long", "plain"]),
        deaf=long and dice.random() < 0.1,
    )
