"""What can be asked of the service's runs: to take one, to show them, to cancel one, to be done with one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self

import anyio
from anyio import to_thread

from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.jobs import Job
from adapter.errors import AdapterError
from adapter.membership import Membership, Tenure
from adapter.plane.store import Store
from adapter.service import Adapter
from adapter.sidecar.adoption import Adoption
from adapter.sidecar.documents import Asked
from adapter.sidecar.errors import Closing, Conflict, NotFinished, NotTaken
from adapter.sidecar.held import Held, execution_of
from adapter.sidecar.journal import Journal
from adapter.sidecar.keeper import Keeper, Settings, in_order
from adapter.sidecar.observing import Observing
from adapter.sidecar.pushing import PlaneChoice, Pushing
from adapter.sidecar.telling import Watcher
from adapter.sidecar.views import RunView, State, of_job
from adapter.takeover import result_on

SETTLE = 10.0
"""Seconds that an answer waits until a run is durable; after that it says that it is not yet."""


class RunBook:
    """Every run that this replica knows. `open` makes it, `close` lets go of everything."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper, self.adapter = keeper, keeper.adapter
        self._membership, self._held = keeper.membership, keeper.held
        self._adoption = Adoption(keeper)
        self._observing = Observing(keeper)
        self._tasks: list[asyncio.Task[None]] = []

    @classmethod
    async def open(
        cls,
        adapter: Adapter,
        store: Store,
        *,
        watcher: Watcher,
        plane: PlaneChoice | None = None,
        settings: Settings | None = None,
        tenure: Tenure | None = None,
        observe: Callable[[str, str, float], None] = lambda kind, status, seconds: None,
    ) -> Self:
        """Joins the instance's replicas and takes up what was left behind, in tasks of its own: `ready` says how far.

        Raises `AdapterError` for a control plane that could never be told anything.
        """
        assert adapter.replica is not None  # noqa: S101 - a service is a replica
        place = adapter.connection, adapter.namespace, adapter.instance
        membership = Membership(*place, adapter.replica, tenure=tenure)
        pushing = Pushing(plane, adapter.replica, observe)
        keeper = Keeper(adapter, store, membership, pushing, watcher, settings or Settings())
        book = cls(keeper)
        membership.regained = book._adoption.look_after_lapse
        book._tasks = [asyncio.create_task(one()) for one in (book._take_part, book._adoption.run)]
        return book

    async def _take_part(self) -> None:
        """One of the replicas. An API server that is away is waited for: what runs meanwhile beats all the same."""
        await self._membership.join()
        self.keeper.joined.set()
        await self._membership.run()

    def ready(self) -> str | None:
        """Why no run can be taken now; None if one can."""
        if self.keeper.closing:
            return "the service is closing"
        if any(task.done() for task in self._tasks):
            return "a task of the service has died; its log says why"
        feed = self.adapter.places.at(self.adapter.namespace).feed
        if not feed.fresh:
            return f"the API server cannot be watched: {feed.problem or 'no answer yet'}"
        if not self._adoption.done.is_set():
            return "the runs of an earlier life are being looked for"
        if self._adoption.problem:
            return f"what nobody looks after cannot be taken up: {self._adoption.problem}"
        return None if self._membership.valid else "the replica's Lease could not be renewed"

    async def over(self) -> None:
        """Waits until a task of the service has ended by itself, which none should. Raises what ended it."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await task

    async def accept(self, document: Mapping[str, Any]) -> tuple[RunView, bool]:
        """Takes a run, once however often it is sent; whether it is new here. Waits until it is durable, for a moment.

        Raises `InvalidRequest`, `Conflict`, `Closing`, and `NotTaken` as long as it does not know what it has already.
        """
        asked = await to_thread.run_sync(Asked.parse, document)  # half a second, for megabytes of it
        if self.keeper.closing:
            raise Closing("the service is about to stop: send the run to another replica, or again in a moment")
        await self._knows()
        held = self._held.get(asked.run_id)
        if held and held.asked.hash != asked.hash:
            raise Conflict(f"run {asked.run_id!r} is known, with another request: give this one an id of its own")
        if any(job.run_id == asked.run_id and job.request != asked.what for _, job in self.keeper.jobs()):
            raise Conflict(f"run {asked.run_id!r} has a Job of another request: give this one an id of its own")
        await self._adoption.claim(asked)
        held, new = await self.keeper.hold(asked)
        with anyio.move_on_after(SETTLE):
            await held.settled.wait()
        if held.clash:
            raise Conflict(f"run {asked.run_id!r} has a Job of another request: give this one an id of its own")
        if held.state is State.ELSEWHERE:
            return await self.run(asked.run_id) or held.view(), False
        return held.view(), new

    async def _knows(self) -> None:
        """Waits, for a moment, until it is known what an earlier life has left: before that no answer would be true."""
        with anyio.move_on_after(SETTLE):
            await self._adoption.done.wait()
            return
        raise NotTaken(f"the runs are not known yet: {self.ready()}")

    async def runs(self) -> list[RunView]:
        """Every run that is known, held here or told by its Job. Raises `NotTaken` as `accept` does."""
        await self._knows()
        here = [self._held[run_id].view() for run_id in self._held_here()]
        return here + self._elsewhere()

    def _elsewhere(self) -> list[RunView]:
        """What is held by nobody here, as the Jobs tell."""
        here = self._held_here()
        theirs = {job.of_run: (namespace, job) for namespace, job in in_order(self.keeper.jobs()) if job.of_run}
        return [self._by_job(*theirs[run_id], run_id) for run_id in theirs if run_id not in here]

    def _by_job(self, namespace: str, job: Job, run_id: str) -> RunView:
        return of_job(job, run_id, namespace, self._adoption.is_left)

    def states(self) -> list[State]:
        """Where each of those runs stands, as far as it is known now."""
        return [self._held[run_id].state for run_id in self._held_here()] + [run.state for run in self._elsewhere()]

    async def run(self, run_id: str) -> RunView | None:
        """One run; None if it is not known. Raises as `runs` does."""
        await self._knows()
        if self.keeper.is_held(run_id):
            return self._held[run_id].view()
        theirs = self.keeper.jobs_of(run_id)
        if not theirs:
            return None
        view = self._by_job(*theirs[-1], run_id)
        return replace(view, execution=await self._execution(*theirs[-1])) if view.result else view

    async def _execution(self, namespace: str, job: Job) -> dict[str, Any] | None:
        """What a control plane stores of a run that has ended elsewhere, as long as its request is kept."""
        result = result_on(job)
        with suppress(AdapterError):
            return execution_of(result, await self.keeper.asked_of(namespace, job)) if result else None
        return None

    async def cancel(self, run_id: str, why: str) -> bool:
        """Cancels a run; returns when the API server has it, or the run has ended. False: there is no such run.

        Raises `NotTaken` when that did not come to pass in time: then it may be asked again.
        """
        problem = "no Job of it could be found"
        with anyio.move_on_after(self.adapter.limits.cancel_call):
            while not self._is_settled(held := await self._told(run_id, why)):
                try:
                    if await self._cancel_job(run_id, why):
                        return True
                    if self._is_elsewhere(held) and self._adoption.done.is_set():
                        return False
                except (ApiError, Unreachable) as error:
                    problem = str(error)
                await anyio.sleep(self.adapter.limits.retry_first)
            return True
        raise NotTaken(f"the API server has not taken the cancel of run {run_id!r}: {problem}")

    async def _told(self, run_id: str, why: str) -> Held | None:
        """The run as it is held here, told that it is cancelled: what has no Job yet, a crash must not forget."""
        held = self._held.get(run_id)
        if held and not held.over and held.telling.cancelled is None:
            held.telling.cancel(why)
            await self.keeper.store.ask_cancel(run_id, why)
        return held

    @staticmethod
    def _is_settled(held: Held | None) -> bool:
        return held is not None and (held.decided or held.state is State.FINISHED)

    @staticmethod
    def _is_elsewhere(held: Held | None) -> bool:
        """Whether the run is none of ours. One that has ended while its Job was looked for is."""
        return held is None or (held.over and held.state is not State.FINISHED)

    async def _cancel_job(self, run_id: str, why: str) -> bool:
        """Writes the cancel on the run's Job, wherever that is."""
        for namespace in self.keeper.namespaces:
            if await self.adapter.cancel(run_id, why, namespace=namespace):
                return True
        return False

    async def ack(self, run_id: str) -> bool:
        """The result was stored: what is left of the run is cleaned up. False: no such run. Raises `NotFinished`."""
        held = self._held.get(run_id)
        if held and held.task and await held.journal.ended():
            await asyncio.wait([held.task], timeout=SETTLE)  # its readers had the result before its Job had it
        view = await self.run(run_id)
        if view is None:
            return False
        if view.state is not State.FINISHED:
            raise NotFinished(f"run {run_id!r} has not finished: it is {view.state}")
        await self.keeper.clean_up(run_id, held)
        if held and held.acked is None:
            held.acked = anyio.current_time()
        return True

    async def journal(self, run_id: str) -> Journal | None:
        """What there is to read of a run: as it is held here, or as it is observed; None if it is not known."""
        await self._knows()
        if run_id in self._held_here():
            return self._held[run_id].journal
        theirs = self.keeper.jobs_of(run_id)
        return await self._observing.journal(*theirs[0]) if theirs else None

    async def close(self) -> list[str]:
        """Lets go of every run at once, and leaves the other replicas to it; which. Their Jobs go on."""
        let_go = await self.keeper.close()
        await self._observing.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._membership.leave()
        return let_go

    def _held_here(self) -> set[str]:
        """Runs of which this replica knows more than their Jobs tell."""
        return {run_id for run_id in self._held if self.keeper.is_held(run_id)}
