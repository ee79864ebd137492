"""50 MB of log into a sink, beside `kubectl logs -f --timestamps` of the same pod at the same time."""

from __future__ import annotations

import asyncio
import importlib.util
from dataclasses import dataclass
from typing import Any

from tests.bench import kubectl
from tests.bench.figures import Figure, quantile, spread
from tests.bench.places import Place, best
from tests.bench.programs import program

LINES = 100_000
ROUNDS = 3
WALL, CPU = 1.5, 2.5
CONSTANT = 1.25
"""What counts as constant memory: ten times the log may take a quarter more (the spool's 4 MiB among it)."""


@dataclass(frozen=True, slots=True)
class Round:
    """One run: what our process took, and kubectl, if it is there."""

    ours: dict[str, Any]
    theirs: kubectl.Taken | None

    @property
    def wall(self) -> float:
        return float(self.ours["last"] - self.ours["first"])


async def measure(*, full: bool) -> list[Figure]:
    async with best() as place:
        little = await _round(place, LINES // 10, alone=True)
        plain = await _rounds(place, ROUNDS * (1 + full))
        quick = await _rounds(place, ROUNDS * (1 + full), "--uvloop") if importlib.util.find_spec("uvloop") else []
    figures = _figures(f"50 MB of log ({place.name})", plain)
    if quick:
        figures += _figures("the same on uvloop", quick)
    return [*figures, _memory(little, plain)]


async def _rounds(place: Place, count: int, *options: str) -> list[Round]:
    return [await _round(place, LINES, *options) for _ in range(count)]


async def _round(place: Place, lines: int, *options: str, alone: bool = False) -> Round:
    found = None if alone else kubectl.find()
    async with program("reader", place.kubeconfig, place.namespace, lines, *options) as reader:
        pod = (await reader.hear())["pod"]
        theirs = await asyncio.to_thread(kubectl.follow, found, place, pod) if found else None
        return Round(await reader.hear(), theirs)


def _figures(what: str, rounds: list[Round]) -> list[Figure]:
    pairs = [(one, one.theirs) for one in rounds if one.theirs]
    walls = [one.wall / theirs.wall for one, theirs in pairs]
    cpus = [one.ours["cpu"] / theirs.cpu for one, theirs in pairs]
    wall, cpu = quantile([one.wall for one in rounds], 0.5), quantile([one.ours["cpu"] for one in rounds], 0.5)
    return [
        _ratio(
            f"{what}, wall / kubectl's", walls, WALL, f"{wall:.2f} s, {rounds[0].ours['size'] / wall / 1e6:.0f} MB/s"
        ),
        _ratio(f"{what}, CPU / kubectl's", cpus, CPU, f"{cpu:.2f} s{_missing(rounds)}"),
    ]


def _ratio(what: str, ratios: list[float], aim: float, note: str) -> Figure:
    if not ratios:
        return Figure(what=what, aim=aim, note=f"kubectl is missing; ours: {note}")
    return Figure(what=what, value=quantile(ratios, 0.5), unit="x", aim=aim, note=f"{note}; {spread(ratios)}")


def _missing(rounds: list[Round]) -> str:
    """Who did not take every line exactly once; ours must have said so itself."""
    ours = [one.ours["lines"] for one in rounds if one.ours["lines"] != LINES]
    silent = any(one.ours["complete"] and one.ours["lines"] != LINES for one in rounds)
    theirs = [one.theirs.lines for one in rounds if one.theirs and one.theirs.lines != LINES]
    words = [f"OURS TOOK {ours} LINES OF {LINES}{' AND DID NOT SAY SO' if silent else ''}"] if ours else []
    return "".join(f"; {word}" for word in [*words, *([f"kubectl took {theirs} of {LINES}"] if theirs else [])])


def _memory(little: Round, rounds: list[Round]) -> Figure:
    much = quantile([one.ours["peak"] for one in rounds], 0.5)
    return Figure(
        what="peak memory, 50 MB / 5 MB of log",
        value=much / little.ours["peak"],
        unit="x",
        aim=CONSTANT,
        note=f"{much:.0f} MiB / {little.ours['peak']:.0f} MiB",
    )
