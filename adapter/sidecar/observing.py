"""Runs that other processes look after, for whoever reads them here: observed while anybody does."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import anyio
import structlog

from adapter.cluster.jobs import Job
from adapter.observer import Observer
from adapter.places import without_locals
from adapter.sidecar.held import execution_of
from adapter.sidecar.journal import Journal
from adapter.sidecar.keeper import Keeper

log = structlog.get_logger(__name__)

LINGER = 30.0
"""Seconds that a run is observed on after its last reader has left: most come back with a cursor."""


@dataclass(slots=True)
class Observed:
    """A journal that is written by an observer."""

    journal: Journal
    task: asyncio.Task[None]


class Observing:
    """The journals of runs that are not ours, by the UID of their Job."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper, self._adapter, self._store = keeper, keeper.adapter, keeper.store
        self._observed: dict[str, Observed] = {}
        self._lock = anyio.Lock()

    async def journal(self, namespace: str, job: Job) -> Journal:
        """What there is to read of the Job's run, from its beginning."""
        async with self._lock:
            if job.uid not in self._observed:
                self._observed[job.uid] = await self._begun(namespace, job)
        return self._observed[job.uid].journal

    async def _begun(self, namespace: str, job: Job) -> Observed:
        name = _name(job)
        await self._store.forget(name)
        await self._store.create(name)
        row = await self._store.row(name)
        assert row is not None  # noqa: S101 - it was made just now
        journal = Journal(self._store, name, row.epoch, keep=self._keeper.settings.keep)
        return Observed(
            journal, asyncio.create_task(self._observe(journal, namespace, job), name=f"observe {job.name}")
        )

    async def _observe(self, journal: Journal, namespace: str, job: Job) -> None:
        try:
            asked = await self._keeper.asked_of(namespace, job)  # now: it goes as soon as the result is acknowledged
            async with anyio.create_task_group() as group:
                group.start_soon(self._until_unread, journal, group.cancel_scope)
                seen = await Observer(self._adapter, job, journal, namespace=namespace).observe()
                if seen.result:
                    await journal.result(seen.result.to_json(), execution_of(seen.result, asked))
                else:
                    journal.bye(f"{seen.why}; come back with this cursor")
                await self._until_unread(journal, group.cancel_scope)
        except Exception as error:  # noqa: BLE001 - an observer's fault is its readers' to come back from
            log.error("observer.fault", job=job.name, **without_locals(error))
            journal.bye("the run could not be observed on; come back with this cursor")
        finally:
            self._observed.pop(job.uid, None)
            with anyio.CancelScope(shield=True):
                await self._store.forget(_name(job))

    async def _until_unread(self, journal: Journal, scope: anyio.CancelScope) -> None:
        while journal.readers or anyio.current_time() - journal.last_read < LINGER:  # noqa: ASYNC110 - nobody is told
            await anyio.sleep(LINGER / 10)
        scope.cancel()

    async def close(self) -> None:
        """Ends all of it."""
        tasks = [one.task for one in self._observed.values()]
        for one in self._observed.values():
            one.journal.bye("the service is closing; come back with this cursor")
            one.task.cancel()
        if tasks:
            await asyncio.wait(tasks)


def _name(job: Job) -> str:
    """Its place in the store; no run's id has a NUL in it."""
    return f"\0observed {job.uid}"
