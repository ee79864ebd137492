"""A cancel: from the request to the API server's word that it has it, and from there to the result."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from adapter import Adapter
from adapter.line import Line
from adapter.plane.store import Store
from adapter.sidecar.book import RunBook
from tests.bench.figures import Figure, spread
from tests.bench.places import Place, best
from tests.sidecar.books import Quiet, Replica

TIMES = 5
ACCEPTED, ENDS = 2.0, 5.0
GRACE = 2
"""Seconds. The pod does not listen, and has to be killed."""

DEAF = ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")


async def measure(*, full: bool) -> list[Figure]:
    times = TIMES * 4 if full else TIMES
    async with best() as place, _service(place, "one") as one, _service(place, "two") as two:
        runs = [await _running(one, number, two if number % 2 else one) for number in range(2 * times)]
        early = [await _at_once(one, number) for number in range(times)]
    async with best() as place, _service(place, "full", Line(0)) as one:
        queued = [await _queued(one, number) for number in range(times)]
    return [
        _accepted("running, at its replica", [asked for asked, _ in runs[::2]]),
        _accepted("running, at another replica", [asked for asked, _ in runs[1::2]]),
        _accepted("just posted", early),
        _accepted("waiting for its turn", queued),
        Figure(
            what="cancel to result, beyond the grace period",
            value=max(late for _, late in runs),
            unit="s",
            aim=ENDS,
            note=f"worst of {len(runs)} that do not listen, grace {GRACE} s: {spread([late for _, late in runs])} s",
        ),
    ]


def _accepted(path: str, took: list[float]) -> Figure:
    note = f"worst of {len(took)}: {spread(took)} s"
    return Figure(what=f"cancel accepted, {path}", value=max(took), unit="s", aim=ACCEPTED, note=note)


@asynccontextmanager
async def _service(place: Place, name: str, line: Line | None = None) -> AsyncIterator[Replica]:
    adapter = await Adapter.open(
        kubeconfig=place.kubeconfig, namespace=place.namespace, instance="bench", replica=name, line=line, ask=False
    )
    with TemporaryDirectory() as state:
        store = await Store.open(Path(state) / "runs.db")
        book = await RunBook.open(adapter, store, watcher=Quiet())
        try:
            yield Replica(book, store)
        finally:
            await book.close()
            await adapter.aclose()
            await store.close()


async def _running(one: Replica, number: int, asked: Replica) -> tuple[float, float]:
    """How long until it is accepted, asked of either replica, and how long beyond the grace period until the result."""
    run_id = f"run-{number}"
    await one.post(run_id, *DEAF, grace=GRACE)
    await one.until(run_id, lambda view: view.state == "running", 60)
    await asked.until(run_id, lambda view: view.state in ("running", "elsewhere"), 60)
    began = time.monotonic()
    accepted = await _cancelled(asked, run_id)
    await one.end(run_id, 60)
    return accepted, time.monotonic() - began - GRACE


async def _at_once(one: Replica, number: int) -> float:
    await one.post(f"new-{number}", "true")
    return await _cancelled(one, f"new-{number}")


async def _queued(one: Replica, number: int) -> float:
    await one.post(f"queued-{number}", "true")
    await one.until(f"queued-{number}", lambda view: view.state == "queued", 60)
    return await _cancelled(one, f"queued-{number}")


async def _cancelled(one: Replica, run_id: str) -> float:
    began = time.monotonic()
    assert await one.book.cancel(run_id, "by hand"), run_id
    return time.monotonic() - began
