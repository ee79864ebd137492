"""The runs that a replica looks after: each is a task, with a journal, until its end or until somebody else has it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import anyio
import structlog

from adapter.backoff import Backoff
from adapter.cluster.belongings import Belongings
from adapter.cluster.connection import ApiError
from adapter.cluster.jobs import RESULT, Job, Jobs
from adapter.errors import AdapterError, Code, InvalidRequest
from adapter.membership import Membership
from adapter.places import without_locals
from adapter.plane.store import Row, Store, StoreError
from adapter.reception import LetGo, Reception
from adapter.run import Outcome, RunResult
from adapter.service import Adapter
from adapter.sidecar.documents import Asked
from adapter.sidecar.errors import Closing
from adapter.sidecar.held import Held
from adapter.sidecar.journal import Journal
from adapter.sidecar.pushing import Pushing
from adapter.sidecar.telling import Telling, Watcher
from adapter.sidecar.views import State
from adapter.tail import annotation
from adapter.takeover import DOCUMENT, goes_on
from adapter.verdict import plain_result
from adapter.work import Kept

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a service keeps its runs.

    `namespaces` are looked at beside the adapter's own. `keep` is how many bytes of each log the journal keeps.
    `unattended`: seconds after which a run that nobody reads, and that is not pushed, is cancelled; None: never. `look`
    is the seconds between two looks at what nobody looks after, at most.
    """

    namespaces: tuple[str, ...] = ()
    keep: int = 64 * 1024 * 1024
    unattended: float | None = None
    look: float = 2.0


def in_order(jobs: Iterable[tuple[str, Job]]) -> list[tuple[str, Job]]:
    """The same, but a run's first attempt before its second: they can be of the same second."""
    return sorted(jobs, key=lambda its: not goes_on(its[1]))


class Keeper:
    """Holds runs. What it holds is in `held`, by run id, what has ended as well."""

    def __init__(
        self,
        adapter: Adapter,
        store: Store,
        membership: Membership,
        pushing: Pushing,
        watcher: Watcher,
        settings: Settings,
    ) -> None:
        self.adapter, self.store, self.membership, self.settings = adapter, store, membership, settings
        self._pushing, self._watcher = pushing, watcher
        self.held: dict[str, Held] = {}
        self.closing = False
        self.joined = anyio.Event()  # others can see that this replica is alive
        self.yielded: dict[str, float] = {}  # runs that other ones go on with, and since when
        self._entering = anyio.Lock()

    @property
    def replica(self) -> str:
        """This process among the replicas of its instance."""
        return self.membership.name

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Where the service looks for its Jobs."""
        return tuple(dict.fromkeys((self.adapter.namespace, *self.settings.namespaces)))

    def jobs(self) -> Iterable[tuple[str, Job]]:
        """The Jobs of the instance, as far as was heard, oldest first, each with its namespace."""
        for namespace in self.namespaces:
            found = self.adapter.places.at(namespace).feed.jobs()
            yield from ((namespace, job) for job in sorted(found, key=lambda job: job.created or ""))

    def jobs_of(self, run_id: str) -> Sequence[tuple[str, Job]]:
        """The Jobs of one run: of each of its attempts, the last one last."""
        return in_order((namespace, job) for namespace, job in self.jobs() if job.of_run == run_id)

    async def hold(self, asked: Asked) -> tuple[Held, bool]:
        """Looks after a run from now on; whether it did not before. Raises `StoreError`."""
        if asked.continues and not self.is_held(asked.run_id):
            await self._let_go_of(asked.continues)
        async with self._entering:  # two requests for one run at the same moment
            if self.is_held(asked.run_id):
                return self.held[asked.run_id], False
            if self.closing:
                raise Closing("the service is about to stop: send the run to another replica, or again in a moment")
            await self.store.create(asked.run_id, asked.document)
            row = await self.store.row(asked.run_id)
            assert row is not None  # noqa: S101 - it was made just now
            held = self._entered(asked, row)
        held.task = asyncio.create_task(self._guarded(held), name=f"claude-k8s run {asked.run_id}")
        return held, True

    def is_held(self, run_id: str) -> bool:
        """Whether the run is looked after here, or has ended here."""
        held = self.held.get(run_id)
        return held is not None and held.state not in (State.DETACHED, State.ELSEWHERE)

    def recall(self, asked: Asked, result: RunResult, row: Row) -> None:
        """A run that has ended in an earlier life of this replica: its result and its journal can be fetched."""
        held = self._entered(asked, row)
        held.recalled = True
        held.end(result)

    async def settle(self, namespace: str, job: Job, held: Held) -> None:
        """What an earlier life may not have come to after its result was accepted: the Job bears it, and is cleaned up.

        Judged anew, it might be another one. What the API server cannot do now is tried again at the next look, and
        keeps no other run from being looked after.
        """
        jobs = Jobs(self.adapter.connection, namespace, call=self.adapter.limits.call)
        try:
            if job.result is None and held.result and not job.deleting:
                await jobs.annotate(job, RESULT, annotation(held.result))
        except ApiError as error:
            if error.transient:
                return
            log.warning("run.result_not_on_its_job", run_id=held.run_id, job=job.name, error=str(error))
        held.recalled = False
        if held.pushed:
            await self.clean_up(held.run_id, held)

    async def asked_of(self, namespace: str, job: Job) -> Asked | None:
        """What was asked for of a Job's run, from our own journal or from the Job's Secret; None if nobody knows.

        Raises `ApiError`, `Unreachable`, and `InvalidRequest` for what cannot be read.
        """
        run_id = job.of_run or ""
        row = await self.store.row(run_id)
        if row and row.document:
            return Asked.read(row.document)
        belongings = Belongings(self.adapter.connection, namespace, call=self.adapter.limits.call)
        document = (await belongings.kept(job, run_id) or {}).get(DOCUMENT)
        return Asked.read(document) if document is not None else None

    async def forget(self, held: Held) -> None:
        """Drops what is known of a run here, its journal as well; unless it was asked for again meanwhile."""
        async with self._entering:
            if self.held.get(held.run_id) is held:
                del self.held[held.run_id]
                await self.store.forget(held.run_id)

    async def clean_up(self, run_id: str, held: Held | None) -> None:
        """The result is where it belongs: the kept request goes, and the Job, if it is not to be kept.

        What was asked for says whether it is; where it was another replica that was asked, what that has kept.
        """
        try:
            for adapter, namespace, job in await self._theirs(run_id, held):
                await self._clean_up(adapter, namespace, job, held.asked if held else None)
        except (AdapterError, InvalidRequest) as error:
            log.warning("run.not_cleaned_up", run_id=run_id, error=str(error))  # the Job's TTL will

    async def _theirs(self, run_id: str, held: Held | None) -> list[tuple[Adapter, str, Job]]:
        """The run's Jobs; also one in a cluster or a namespace of the agent's own, which no feed of ours tells of."""
        found = [(self.adapter, namespace, job) for namespace, job in self.jobs_of(run_id)]
        if found or held is None or "namespace" not in held.job:
            return found
        adapter, namespace = await self.adapter.at(held.asked.kubeconfig), held.job["namespace"]
        job = await Jobs(adapter.connection, namespace, call=adapter.limits.call).get(held.job["job"])
        return [(adapter, namespace, job)] if job else []

    async def _clean_up(self, adapter: Adapter, namespace: str, job: Job, asked: Asked | None) -> None:
        asked = asked or await self.asked_of(namespace, job)
        place, call = (adapter.connection, namespace), adapter.limits.call
        if job.halted or (asked and not asked.retain):  # one that was stopped has no end, and no TTL takes it
            await Jobs(*place, call=call).delete(job, "Background")
            return
        for run_id in {job.run_id, job.adopter} - {None}:
            await Belongings(*place, call=call).forget(job, str(run_id))

    async def close(self) -> list[str]:
        """Lets go of every run, at once; which. Their Jobs go on."""
        self.closing = True
        living = [held for held in self.held.values() if held.task and not held.task.done()]
        for held in living:
            held.journal.bye("the service lets go of the run, which goes on: come back with this cursor")
            if not self.adapter.let_go(held.run_id) and held.task:
                held.task.cancel()
        if living:
            await asyncio.wait([held.task for held in living if held.task], timeout=self.adapter.closing)
        return [held.run_id for held in living if held.result is None]

    # -- one run -----------------------------------------------------------------------------------------------------

    def _entered(self, asked: Asked, row: Row) -> Held:
        journal = Journal(self.store, asked.run_id, row.epoch, keep=self.settings.keep)
        held = Held(asked, journal, self.replica, self._pushing.wanted(asked), row.created)
        held.telling = Telling(
            asked.run_id,
            journal,
            self.membership,
            self._watcher,
            held.execution,
            held.hear,
            interval=self.adapter.limits.beat,
        )
        if row.cancel is not None:
            held.telling.cancel(row.cancel)
        self.held[asked.run_id] = held
        return held

    async def _guarded(self, held: Held) -> None:
        """A run's life. A fault of ours in it is no end of it: it is begun again, as after a crash."""
        backoff = Backoff(1.0, 60.0)
        while True:
            try:
                return await self._live(held)
            except Exception as error:  # noqa: BLE001 - a fault of ours must not end as silence
                log.error("run.fault", run_id=held.run_id, **without_locals(error))
            await backoff.wait()

    async def _live(self, held: Held) -> None:
        """From its acceptance to its end here."""
        self._watcher.began(held.run_id, {"agent": held.asked.agent, "pushed": held.pushed})
        async with self._pushing.to(held.asked, held.execution, held.telling.allowed) as push:
            held.telling.push_to(push)
            result = await self._result(held)
            if result.code is Code.INTERNAL:  # it has ended a supervisor, which so could not report it
                result = await self._reported(held, result)
        if result.outcome is Outcome.DETACHED:
            await self._left(held, result)
            return
        with suppress(StoreError):  # it is on the Job
            await held.telling.note_result(result)  # where its plane has not taken it, it can be fetched all the same
        held.end(result)
        self._watcher.ended(held.run_id, result)
        if held.pushed:
            await self.clean_up(held.run_id, held)

    async def _result(self, held: Held) -> RunResult:
        asked = held.asked
        kept = Kept(asked.document, await self._seen(asked.run_id))
        if asked.context:
            return await self.adapter.execute(asked.context, held.telling, kept=kept)
        assert asked.request is not None  # noqa: S101 - it is the one or the other
        return await self.adapter.run(asked.request, held.telling, kept=kept)

    async def _seen(self, run_id: str) -> frozenset[str]:
        """The names of the run's Jobs: what is told of them now, and what was told in an earlier life."""
        entries = await self.store.entries(run_id, 0, 2**62, log=False)
        told = [entry.data["data"] for entry in entries if entry.data.get("kind") in ("kept", "job")]
        named = {str(data["job"]) for data in told if "uid" in data}
        return frozenset(named | {job.name for _, job in self.jobs_of(run_id)})

    async def _reported(self, held: Held, result: RunResult) -> RunResult:
        try:
            await Reception(held.run_id, held.telling, self.adapter.limits).report(result)
        except LetGo:
            return plain_result(held.run_id, Outcome.DETACHED, Code.DETACHED, "let go of before it was reported")
        return result

    async def _left(self, held: Held, result: RunResult) -> None:
        """Somebody else has it, or, while the service is closing, will have it."""
        held.end(result, elsewhere=not self.closing)
        self._watcher.ended(held.run_id, result)
        if not self.closing:
            log.info("run.left", run_id=held.run_id, why=result.message)
            held.journal.bye(f"{result.message}; come back with this cursor")
            with suppress(StoreError):  # found again at the next start, it is let go of again
                await self.store.forget(held.run_id)

    async def _let_go_of(self, run_id: str) -> None:
        """A control plane that goes on with a run under another id has lost it: nobody waits for it here any more."""
        self.yielded.setdefault(run_id, anyio.current_time())  # before it is let go of: it would be found an orphan
        held = self.held.get(run_id)
        if held and held.task and not held.over:
            self.adapter.let_go(run_id)
            await asyncio.wait([held.task], timeout=self.adapter.closing)
