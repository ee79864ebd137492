"""Runs that nobody looks after: found by what they have left in the cluster and in our own journals, and gone on with.

A replica takes back what was its own at once, since the lock on its state directory says that its earlier process is
dead; what was another's only once that one's Lease shows no life. Two that reach for the same Job compare and swap.
"""

from __future__ import annotations

import math
import secrets
from contextlib import suppress

import anyio
import structlog

from adapter.cluster.connection import ApiError
from adapter.cluster.jobs import SUPERVISOR, TERM, Job, Jobs
from adapter.errors import AdapterError, InvalidRequest
from adapter.run import RunResult
from adapter.sidecar.documents import Asked
from adapter.sidecar.held import Held
from adapter.sidecar.keeper import Keeper
from adapter.sidecar.views import State
from adapter.takeover import goes_on, result_on

log = structlog.get_logger(__name__)

YIELD = 60.0
"""Seconds for which a run is left to the one that goes on with it."""

REFUSED = 60.0
"""Seconds until a Job is tried again that our rights, or our token, did not reach: they may be given back."""

ACKED, DONE = 60.0, 3600.0
"""Seconds that a run is remembered after it was acknowledged, or is another's, and after it has ended."""


class Adoption:
    """Looks for such runs. `run` is its life; `done` is set once everything that was left behind is found.

    `problem` is why the last look has failed.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._membership, self._adapter = keeper.membership, keeper.adapter
        self._hopeless: dict[str, float] = {}  # Jobs by UID: until when they are left alone
        self._seen: dict[tuple[str, str], float] = {}
        self.done = anyio.Event()
        self.problem: str | None = None

    async def run(self) -> None:
        """Takes up what an earlier life has left, then whatever is left by others. Raises `AdapterError`.

        Our own journals come first: runs that are in them beat again although the API server may be away.
        """
        await self._recall()
        for namespace in self._keeper.namespaces:
            await self._listed(namespace)
        await self._keeper.joined.wait()  # whoever bears the name of a replica without a Lease is taken for an orphan
        while True:
            await self._look()
            with anyio.move_on_after(self._keeper.settings.look):
                await self._membership.changed()

    async def look_after_lapse(self) -> None:
        """Others may have thought us dead: what they have taken meanwhile is let go of. Raises if it cannot be seen."""
        for namespace in self._keeper.namespaces:
            jobs = Jobs(self._adapter.connection, namespace, call=self._adapter.limits.call)
            for job in await jobs.all(self._adapter.places.at(namespace).feed.selector):
                if job.of_run and job.supervisor not in (None, self._keeper.replica):
                    self._hand_over(job.of_run)

    def _hand_over(self, run_id: str) -> None:
        if held := self._keeper.held.get(run_id):
            held.telling.silence()
        self._adapter.let_go(run_id)

    async def _listed(self, namespace: str) -> None:
        feed = self._adapter.places.at(namespace).feed
        while problem := await feed.listed():
            if isinstance(problem, ApiError) and not problem.transient:
                raise AdapterError(f"namespace {namespace} cannot be watched: {problem}") from problem
            log.warning("adoption.waits", namespace=namespace, error=str(problem))
            await anyio.sleep(self._keeper.settings.look)

    async def _look(self) -> None:
        try:
            for namespace, job in list(self._keeper.jobs()):
                await self._take_up(namespace, job)
            await self._tidy()
            self.problem = None
            self.done.set()
        except AdapterError as error:
            self.problem = str(error)
            log.warning("adoption.failed", error=str(error))

    async def _take_up(self, namespace: str, job: Job) -> None:
        """Does what is to be done about a Job that nobody looks after, if it is one."""
        held = self._keeper.held.get(job.of_run or "")
        if held and held.recalled:
            await self._keeper.settle(namespace, job, held)
        elif self._wanted(job):
            await self._try(namespace, job)

    async def _try(self, namespace: str, job: Job) -> None:
        """Adopts one. What is refused is nobody's until its request is sent again; the others go on."""
        try:
            await self._adopt(namespace, job)
        except (ApiError, InvalidRequest) as error:
            if isinstance(error, ApiError) and (error.transient or error.status in (404, 409)):
                return  # another replica was quicker, or it has changed: the next look tells
            denied = isinstance(error, ApiError) and error.status in (401, 403)
            self._orphaned(job, str(error), REFUSED if denied else math.inf)

    def _orphaned(self, job: Job, why: str, wait: float = math.inf) -> None:
        self._hopeless[job.uid] = anyio.current_time() + wait
        hint = "send its request again" if wait == math.inf else f"give the rights back: tried again in {wait:g} s"
        log.warning("run.orphaned", run_id=job.of_run, job=job.name, why=why, hint=hint)

    async def claim(self, asked: Asked) -> None:
        """A request that is sent again: its Job is ours to look after, if its replica is dead."""
        for namespace, job in self._keeper.jobs_of(asked.run_id):
            self._hopeless.pop(job.uid, None)
            if job.supervisor not in (None, self._keeper.replica) and self.is_left(job):
                with suppress(ApiError):  # somebody else has it then
                    await self._sign(namespace, job)

    # -- by what is in the cluster -----------------------------------------------------------------------------------

    def _wanted(self, job: Job) -> bool:
        """Whether a Job of the service is looked after by nobody, and is not finished."""
        if job.supervisor is None or job.of_run is None or self._is_hopeless(job) or self._keeper.closing:
            return False
        if self._keeper.is_held(job.of_run) or not self.is_left(job) or self._is_yielded(job.of_run):
            return False
        return result_on(job) is None or (goes_on(job) and len(self._keeper.jobs_of(job.of_run)) == 1)

    def _is_hopeless(self, job: Job) -> bool:
        return anyio.current_time() < self._hopeless.get(job.uid, 0.0)

    def is_left(self, job: Job) -> bool:
        """Whether its replica is dead, by a look at the Leases after it was seen, or is this one in an earlier life."""
        whose = str(job.supervisor)
        seen = self._seen.setdefault((job.uid, whose), self._membership.clock())
        return whose == self._keeper.replica or not self._membership.alive(whose, since=seen)

    def _is_yielded(self, run_id: str) -> bool:
        """Whether the run that goes on with it is about to take its Job over."""
        now, yielded = anyio.current_time(), self._keeper.yielded
        for held in self._keeper.held.values():
            if held.asked.continues == run_id and not held.over and not held.introduced:
                yielded.setdefault(run_id, now)
        return now - yielded.get(run_id, float("-inf")) < YIELD

    async def _adopt(self, namespace: str, job: Job) -> None:
        asked = await self._keeper.asked_of(namespace, job)
        if asked is None or asked.run_id != job.of_run:
            await self._abandoned(namespace, job)
            return
        await self._keeper.store.create(asked.run_id, asked.document)  # who cannot write must not take it from others
        await self._sign(namespace, job)
        log.info("run.taken_up", run_id=asked.run_id, job=job.name, of=job.supervisor)
        await self._keeper.hold(asked)

    async def _sign(self, namespace: str, job: Job) -> None:
        """Makes the Job ours, if it still is as we saw it.

        Our own as well: while we were away another replica may have reached for it, and only one of the two gets it.
        """
        jobs = Jobs(self._adapter.connection, namespace, call=self._adapter.limits.call)
        await jobs.mark(job, {SUPERVISOR: self._keeper.replica, TERM: secrets.token_hex(4)}, version=True)

    async def _abandoned(self, namespace: str, job: Job) -> None:
        """A Job whose request is not kept. One that was never let run was promised to nobody.

        Nor has one that was stopped an end of its own: either would stay for good.
        """
        if not job.suspended:
            self._orphaned(job, "its request is not kept")
            return
        log.info("run.swept", run_id=job.of_run, job=job.name)
        jobs = Jobs(self._adapter.connection, namespace, call=self._adapter.limits.call)
        with suppress(ApiError):  # somebody does look after it
            await jobs.delete(job, "Background", version=True)

    # -- by our own journals -----------------------------------------------------------------------------------------

    async def _recall(self) -> None:
        """Runs of an earlier life: what has ended can be fetched, what has not is gone on with. Raises `StoreError`.

        Whether its Job is still there is found out by its name, and by nothing else.
        """
        for row in await self._keeper.store.rows():
            if not row.document:  # what an observer has left
                await self._keeper.store.forget(row.run_id)
                continue
            try:
                asked = Asked.read(row.document)
                result = RunResult.from_json(row.result["result"]) if row.result else None
            except (InvalidRequest, ValueError, KeyError, TypeError) as error:
                log.error("run.unreadable", run_id=row.run_id, error=str(error), hint="a later version has written it")
                continue
            if result:
                self._keeper.recall(asked, result, row)
            else:
                await self._keeper.hold(asked)

    # -- what is over ------------------------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        now, there = anyio.current_time(), {job.uid for _, job in self._keeper.jobs()}
        self._hopeless = {uid: until for uid, until in self._hopeless.items() if uid in there}
        self._seen = {key: at for key, at in self._seen.items() if key[0] in there}
        yielded = self._keeper.yielded.items()
        self._keeper.yielded = {run_id: at for run_id, at in yielded if now - at < 2 * YIELD}
        for held in list(self._keeper.held.values()):
            if self._is_past(held, now):
                await self._keeper.forget(held)
            elif self._is_unattended(held, now):
                log.warning("run.unattended", run_id=held.run_id)
                held.telling.cancel(f"nobody has read the run for {self._keeper.settings.unattended:g} s")

    def _is_past(self, held: Held, now: float) -> bool:
        if not held.over or held.journal.readers:
            return False
        over_for = now - (held.ended_at or now)
        if held.state is not State.FINISHED:
            return over_for > ACKED
        return over_for > DONE or (held.acked is not None and now - held.acked > ACKED)

    def _is_unattended(self, held: Held, now: float) -> bool:
        patience = self._keeper.settings.unattended
        if patience is None or held.pushed or held.over or held.journal.readers or held.telling.cancelled is not None:
            return False
        if not held.introduced:
            return False  # it waits for its turn
        return now - held.journal.last_read > patience
