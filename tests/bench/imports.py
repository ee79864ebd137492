"""What it takes to import the package and to ask the command for help, beside the libraries alone."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from tests.bench.figures import Figure, quantile, spread

ROUNDS = 15
BASE = (sys.executable, "-c", "import asyncio, anyio, structlog")
OURS = (sys.executable, "-c", "import adapter")
COMMAND = (str(Path(sys.executable).with_name("claude-k8s")), "--help")
MEASURED = (("import adapter", OURS, 1.3), ("claude-k8s --help", COMMAND, 2.0))


async def measure(*, full: bool) -> list[Figure]:
    rounds = ROUNDS * 4 if full else ROUNDS
    return [await _beside_libraries(*which, rounds=rounds) for which in MEASURED]


async def _beside_libraries(what: str, command: tuple[str, ...], aim: float, *, rounds: int) -> Figure:
    """The median of the ratios, each of two processes that ran one after the other."""
    if not await _runs(command):  # and now it is in the caches
        return Figure(what=what, aim=aim, note="it fails")
    pairs = [(await _seconds(BASE), await _seconds(command)) for _ in range(rounds)]
    ratios = [ours / base for base, ours in pairs]
    base = quantile([base for base, _ in pairs], 0.5)
    note = f"the libraries alone take {base * 1000:.0f} ms; {spread(ratios)}"
    return Figure(what=what, value=quantile(ratios, 0.5), unit="x", aim=aim, note=note)


async def _seconds(command: tuple[str, ...]) -> float:
    began = time.perf_counter()
    await _runs(command)
    return time.perf_counter() - began


async def _runs(command: tuple[str, ...]) -> bool:
    nowhere = asyncio.subprocess.DEVNULL
    return await (await asyncio.create_subprocess_exec(*command, stdout=nowhere, stderr=nowhere)).wait() == 0
