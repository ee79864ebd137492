"""Replicas of a service in this process, on an embedded cluster: each with its own adapter, store and book."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from adapter.line import Line
from adapter.local import LocalCluster
from adapter.membership import Tenure
from adapter.plane import Event
from adapter.plane.store import Store
from adapter.run import RunResult
from adapter.service import Adapter
from adapter.sidecar.book import RunBook
from adapter.sidecar.keeper import Settings
from adapter.sidecar.views import RunView
from tests.wire.conftest import FAST

SHORT = Tenure(lease=1.2, renew=0.1, give_up=0.8, tidy=30)


class Quiet:
    """Counts nothing."""

    def began(self, run_id: str, attributes: Mapping[str, Any]) -> None: ...
    def event(self, run_id: str, event: Event) -> None: ...
    def log(self, run_id: str, size: int) -> None: ...
    def beat(self, run_id: str, late: float) -> None: ...
    def ended(self, run_id: str, result: RunResult) -> None: ...


@dataclass
class Replica:
    """One replica, and what a test asks of it."""

    book: RunBook
    store: Store

    async def post(self, run_id: str, *command: str, **fields: Any) -> RunView:
        """Sends a command's run."""
        view, _ = await self.book.accept(command_document(run_id, *command, **fields))
        return view

    async def view(self, run_id: str) -> RunView:
        """The run as it is shown."""
        view = await self.book.run(run_id)
        assert view is not None, f"run {run_id} is not known"
        return view

    async def until(self, run_id: str, holds: Callable[[RunView], object], seconds: float = 15) -> RunView:
        """Looks until something holds of the run."""
        with anyio.fail_after(seconds):
            while (view := await self.book.run(run_id)) is None or not holds(view):  # noqa: ASYNC110 - as a client does
                await anyio.sleep(0.02)
        return view

    async def comes_true(self, holds: Callable[[], object], seconds: float = 15) -> None:
        """Looks until something holds of the book."""
        with anyio.fail_after(seconds):
            while not holds():  # noqa: ASYNC110 - as a probe does
                await anyio.sleep(0.02)

    async def end(self, run_id: str, seconds: float = 15) -> RunView:
        """The run once it has finished."""
        return await self.until(run_id, lambda view: view.state == "finished", seconds)

    async def lines(self, run_id: str, after: str | None = None) -> list[dict[str, Any]]:
        """All that there is to read of a run, to its end."""
        journal = await self.book.journal(run_id)
        assert journal is not None
        return [line async for line in journal.read(after)]

    async def text(self, run_id: str) -> str:
        """Its log, as a reader gets it."""
        return text_of(await self.lines(run_id))


def text_of(lines: list[dict[str, Any]]) -> str:
    """The log of what was read."""
    return "".join(line["text"] for line in lines if line["type"] == "log" and line["stream"] == "stdout")


def command_document(run_id: str, *command: str, **fields: Any) -> dict[str, Any]:
    """What is posted for a command."""
    plane = fields.pop("plane", None)
    return {"request": {"runId": run_id, "command": list(command), **fields}} | ({"plane": plane} if plane else {})


@asynccontextmanager
async def replica(
    cluster: LocalCluster, state: Path, name: str = "one", *, line: Line | None = None, **settings: Any
) -> AsyncIterator[Replica]:
    """A replica with its state in a directory; leaving lets go of its runs."""
    adapter = await Adapter.open(kubeconfig=str(cluster.kubeconfig), limits=FAST, replica=name, line=line, ask=False)
    state.mkdir(exist_ok=True)  # noqa: ASYNC240 - a test's own directory
    store = await Store.open(state / f"{name}.db")
    kept = Settings(look=0.05, **settings)
    book = await RunBook.open(adapter, store, watcher=Quiet(), settings=kept, tenure=SHORT)
    try:
        yield Replica(book, store)
    finally:
        with anyio.CancelScope(shield=True):
            await book.close()
            await adapter.aclose()
            await store.close()


async def kill(one: Replica) -> None:
    """As near to a kill -9 as a process can come to it with a part of itself: nothing is left, and nothing is told."""
    keeper = one.book.keeper
    tasks = [*one.book._tasks, *(held.task for held in keeper.held.values() if held.task)]
    keeper.closing = True
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    keeper.held.clear()
    one.book._tasks = [asyncio.create_task(asyncio.sleep(0))]

    async def leave() -> None: ...

    keeper.membership.leave = leave  # type: ignore[method-assign]


async def delete(cluster: LocalCluster, kind: str, name: str) -> None:
    """Deletes an object as an operator would, in the background."""
    group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
    path, query = f"{group}/namespaces/default/{kind}/{name}", [("propagationPolicy", "Background")]
    async with Adapter.connect(kubeconfig=str(cluster.kubeconfig)) as adapter:
        await adapter.connection.call("DELETE", path, query=query, deadline=3)
