"""Runs that nobody looks after: found by what they have left in the cluster and in our own journals, and gone on with.

A replica takes back what was its own at once, since the lock on its state directory says that its earlier process is
dead; what was another's only once that one's Lease shows no life. Two that reach for the same Job compare and swap.
"""

from __future__ import annotations

import secrets
from contextlib import suppress

import anyio
import structlog

from adapter.cluster.belongings import Belongings
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.jobs import SUPERVISOR, TERM, Job, Jobs
from adapter.errors import AdapterError, Code, InvalidRequest
from adapter.launch import DOCUMENT
from adapter.sidecar.documents import Asked
from adapter.sidecar.held import Held
from adapter.sidecar.keeper import Keeper
from adapter.sidecar.views import State
from adapter.takeover import result_on

log = structlog.get_logger(__name__)

YIELD = 60.0
"""Seconds for which a run is left to the one that goes on with it."""

ACKED, DONE = 60.0, 3600.0
"""Seconds that a run is remembered after it was acknowledged, and after it has ended."""


class Adoption:
    """Looks for such runs. `run` is its life; `done` is set once everything that was left behind is found."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._membership, self._adapter = keeper.membership, keeper.adapter
        self._hopeless: set[str] = set()
        self._seen: dict[tuple[str, str], float] = {}
        self.done = anyio.Event()
        self._yielded: dict[str, float] = {}

    async def run(self) -> None:
        """Takes up what an earlier life has left, then whatever is left by others."""
        for namespace in self._keeper.namespaces:
            await self._listed(namespace)
        while not self.done.is_set():
            await self._look()
        while True:
            with anyio.move_on_after(self._keeper.settings.look):
                await self._membership.changed()
            await self._look()

    async def look_after_lapse(self) -> None:
        """Others may have thought us dead: what they have taken meanwhile is let go of. Raises if it cannot be seen."""
        for namespace in self._keeper.namespaces:
            jobs = Jobs(self._adapter.connection, namespace, call=self._adapter.limits.call)
            for job in await jobs.all(self._adapter.places.at(namespace).feed.selector):
                if job.of_run and job.supervisor not in (None, self._keeper.replica):
                    self._adapter.let_go(job.of_run)

    async def _listed(self, namespace: str) -> None:
        feed = self._adapter.places.at(namespace).feed
        while problem := await feed.listed():
            log.warning("adoption.waits", namespace=namespace, error=str(problem))
            await anyio.sleep(self._keeper.settings.look)

    async def _look(self) -> None:
        try:
            for namespace, job in list(self._keeper.jobs()):
                if self._wanted(job):
                    await self._try(namespace, job)
            if not self.done.is_set():
                await self._recall()
                self.done.set()
            await self._tidy()
        except (AdapterError, ApiError, Unreachable) as error:
            log.warning("adoption.failed", error=str(error))
            await anyio.sleep(self._keeper.settings.look)

    async def _try(self, namespace: str, job: Job) -> None:
        """Adopts one. What is refused is somebody's, or nobody's until its request is sent again; the others go on."""
        try:
            await self._adopt(namespace, job)
        except (ApiError, InvalidRequest) as error:
            if isinstance(error, ApiError) and (error.transient or error.status in (404, 409)):
                return  # another replica was quicker, or it has changed: the next look tells
            self._hopeless.add(job.uid)
            log.warning("run.orphaned", run_id=job.of_run, job=job.name, why=str(error), hint="send its request again")

    # -- by what is in the cluster -----------------------------------------------------------------------------------

    def _wanted(self, job: Job) -> bool:
        """Whether a Job of the service is looked after by nobody, and is not finished."""
        if job.supervisor is None or job.of_run is None or job.uid in self._hopeless or self._is_held(job.of_run):
            return False
        if self._keeper.closing or self._is_yielded(job.of_run):
            return False
        result = result_on(job)
        if result and not (result.code is Code.SESSION_UNAVAILABLE and len(self._keeper.jobs_of(job.of_run)) == 1):
            return False
        seen = self._seen.setdefault((job.uid, job.supervisor), self._membership.clock())
        return job.supervisor == self._keeper.replica or not self._membership.alive(job.supervisor, since=seen)

    def _is_held(self, run_id: str) -> bool:
        held = self._keeper.held.get(run_id)
        return held is not None and held.state is not State.ELSEWHERE

    def _is_yielded(self, run_id: str) -> bool:
        """Whether the run that goes on with it is about to take its Job over."""
        now = anyio.current_time()
        for held in self._keeper.held.values():
            if held.asked.continues == run_id and not held.over and not held.introduced:
                self._yielded.setdefault(run_id, now)
        return now - self._yielded.get(run_id, float("-inf")) < YIELD

    async def _adopt(self, namespace: str, job: Job) -> None:
        document = await self._document(namespace, job)
        if document is None:
            await self._abandoned(namespace, job)
            return
        asked = Asked.read(document)
        jobs = Jobs(self._adapter.connection, namespace, call=self._adapter.limits.call)
        # Our own as well: while we were away another replica may have reached for it, and only one of the two gets it.
        await jobs.mark(job, {SUPERVISOR: self._keeper.replica, TERM: secrets.token_hex(4)}, version=True)
        log.info("run.taken_up", run_id=asked.run_id, job=job.name, of=job.supervisor)
        await self._keeper.hold(asked)

    async def _document(self, namespace: str, job: Job) -> bytes | None:
        """The run's request: from our own journal, or from the Job's Secret."""
        row = await self._keeper.store.row(job.of_run or "")
        if row and row.document:
            return row.document
        belongings = Belongings(self._adapter.connection, namespace, call=self._adapter.limits.call)
        kept = (await belongings.kept(job) or {}).get(DOCUMENT)
        return kept if kept is not None and Asked.read(kept).run_id == job.of_run else None

    async def _abandoned(self, namespace: str, job: Job) -> None:
        """A Job whose request is not kept. One that was never let run was promised to nobody."""
        if not job.suspended:
            self._hopeless.add(job.uid)
            log.warning("run.orphaned", run_id=job.of_run, job=job.name, hint="send its request again")
            return
        log.info("run.swept", run_id=job.of_run, job=job.name)
        jobs = Jobs(self._adapter.connection, namespace, call=self._adapter.limits.call)
        with suppress(ApiError):  # somebody does look after it
            await jobs.delete(job, "Background", version=True)

    # -- by our own journals -----------------------------------------------------------------------------------------

    async def _recall(self) -> None:
        """Runs of an earlier life: what has ended can be fetched; what has no Job is begun, or is said to be gone."""
        for row in await self._keeper.store.rows():
            if self._is_held(row.run_id):
                continue
            if not row.document:  # what an observer has left
                await self._keeper.store.forget(row.run_id)
                continue
            asked = Asked.read(row.document)
            if row.result is None and not await self._was_kept(row.run_id):
                await self._keeper.hold(asked)
                continue
            held = self._keeper.recall(asked, row)
            if row.result is None:
                self._keeper.give_up(held, "its Job was gone when the service came back to it")

    async def _was_kept(self, run_id: str) -> bool:
        """Whether a Job of the run was ever there to be gone on with."""
        entries = await self._keeper.store.entries(run_id, 0, 2**62, log=False)
        return any(entry.data.get("kind") in ("kept", "job") for entry in entries)

    # -- what is over ------------------------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        now = anyio.current_time()
        for held in list(self._keeper.held.values()):
            if self._is_past(held, now):
                await self._keeper.forget(held)
            elif self._is_unattended(held, now):
                log.warning("run.unattended", run_id=held.run_id)
                held.telling.cancel(f"nobody has read the run for {self._keeper.settings.unattended:g} s")

    def _is_past(self, held: Held, now: float) -> bool:
        if held.state is not State.FINISHED or held.journal.readers:
            return False
        acked = held.acked is not None and now - held.acked > ACKED
        return acked or (held.ended_at is not None and now - held.ended_at > DONE)

    def _is_unattended(self, held: Held, now: float) -> bool:
        patience = self._keeper.settings.unattended
        if patience is None or held.pushed or held.over or held.journal.readers or held.telling.cancelled is not None:
            return False
        return now - held.journal.last_read > patience
