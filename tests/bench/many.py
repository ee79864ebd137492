"""Many runs supervised by one process: how late their beats are, and what memory each takes."""

from __future__ import annotations

from typing import Any

from tests.bench.figures import Figure
from tests.bench.places import Place, embedded, namespace, real
from tests.bench.programs import program

RUNS, FULL, REAL_RUNS = 200, 1000, 30
HOLD = 12
LATE, MEMORY = 1.0, 400


async def measure(*, full: bool) -> list[Figure]:
    async with embedded() as place:
        figures = _figures(place, *await _crowd(place, FULL if full else RUNS))
    if kubeconfig := real():  # over TLS, which takes most of a run's memory
        async with namespace(kubeconfig) as place:
            figures += _figures(place, *await _crowd(place, REAL_RUNS))
    return figures


async def _crowd(place: Place, runs: int) -> tuple[int, dict[str, Any]]:
    async with program("crowd", place.kubeconfig, place.namespace, runs, HOLD) as crowd:
        return runs, await crowd.hear()


def _figures(place: Place, runs: int, took: dict[str, Any]) -> list[Figure]:
    which = f"of {runs} runs at once ({place.name})"
    beats = f"{took['beats']} beats, one in 5 s a run; all running after {took['started']:.1f} s"
    return [
        Figure(what=f"latest beat {which}", value=took["worst"], unit="s", aim=LATE, note=beats),
        Figure(
            what=f"memory {which}, each",
            value=took["memory"],
            unit="KiB",
            aim=MEMORY,
            note=f"then {took['busy'] * 100:.1f} % of a core",
        ),
    ]
