"""The Job of a run that the control plane has lost, found and taken over by the run that continues it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from adapter.admission import persistently
from adapter.cluster.belongings import Belongings
from adapter.cluster.connection import ApiError
from adapter.cluster.jobs import ADOPTER, AGENT_LABEL, INSTANCE_LABEL, SUPERVISOR, Job, Jobs, selector
from adapter.cluster.watching import Feed
from adapter.errors import Code
from adapter.limits import Limits
from adapter.orphans import Fate, fate_of
from adapter.refusal import Refused
from adapter.run import RunResult
from adapter.work import Work

T = TypeVar("T")
Tell = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Launched:
    """The Job of the run: made now, or adopted; `earlier` is the result it was already given."""

    job: Job
    adopted: bool
    earlier: RunResult | None = None


DOCUMENT = "document"
"""The key of what is kept of a run's request."""


class Elsewhere(Exception):
    """The Job is not ours: another replica looks after it, or, with `clash`, it is of another request."""

    def __init__(self, text: str, *, clash: bool = False) -> None:
        self.clash = clash
        super().__init__(text)


def must_be_ours(job: Job, work: Work) -> None:
    """Raises `Elsewhere` where another replica looks after the Job. Whoever is no replica does not ask."""
    if work.supervisor is not None and job.supervisor not in (None, work.supervisor):
        raise Elsewhere(f"replica {job.supervisor} looks after Job {job.name}")


def known(job: Job, run_id: str) -> Launched:
    """A Job that is there already, with the result that this very run was given, if it was."""
    earlier = result_on(job)
    return Launched(job, adopted=True, earlier=earlier if earlier and earlier.run_id == run_id else None)


def result_on(job: Job) -> RunResult | None:
    """The result that is kept on a Job."""
    if job.result is None:
        return None
    try:
        return RunResult.from_json(json.loads(job.result))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # what is on the Job is not ours: find out again


def goes_on(job: Job) -> bool:
    """Whether a Job has ended and its run has not: another attempt follows, or is there already."""
    result = result_on(job)
    return result is not None and result.again


class Takeover:
    """It is known by its annotations: made for the lost run, or taken over by it, or by us before we were restarted."""

    def __init__(self, work: Work, jobs: Jobs, belongings: Belongings, feed: Feed, limits: Limits, tell: Tell) -> None:
        self._work, self._jobs, self._feed, self._limits, self._tell = work, jobs, feed, limits, tell
        self._belongings = belongings
        self._signing: Job | None = None

    async def find(self) -> Launched | None:
        """The lost run's Job, with our name on it; None if there is none that fits. Raises `Refused`.

        What was left suspended, or stopped, of that run or, beside it, of our own, is no use to anybody, and goes.
        """
        if self._work.lost is None or self._work.agent is None:
            return None
        jobs = await self._of_agent()
        ours = next((job for job in jobs if job.adopter == self._work.run_id), None)
        if ours:
            return known(ours, self._work.run_id)
        for job in jobs:
            if self._is_lost(job) and (launched := await self._judged(job)):
                for own in jobs:
                    if own.name == self._work.name and own.waiting:
                        await self._remove(own)
                return launched
        return None

    async def signed(self) -> Job | None:
        """The Job that we were about to put our name on, if it bears it."""
        job = await self._jobs.get(self._signing.name) if self._signing else None
        return job if job and job.adopter == self._work.run_id else None

    async def _of_agent(self) -> list[Job]:
        instance = self._work.manifest["metadata"]["labels"][INSTANCE_LABEL]
        jobs = await self._asked(lambda: self._jobs.all(f"{selector(instance)},{AGENT_LABEL}={self._work.agent}"))
        return [job for job in jobs if not job.deleting]

    def _is_lost(self, job: Job) -> bool:
        """One that is supervised here, or whose run was told its result, is not lost."""
        return job.of_run == self._work.lost and not self._feed.serves(job.name) and result_on(job) is None

    async def _judged(self, job: Job) -> Launched | None:
        fate = fate_of(job, self._work)
        if fate is Fate.ADOPT:
            return await self._take(job)
        if fate in (Fate.NEVER_RAN, Fate.STOPPED):
            await self._remove(job)
        else:
            self._tell("admission", f"Job {job.name} of run {job.of_run} is not taken over: {fate.value}")
        return None

    async def _take(self, job: Job) -> Launched | None:
        """Puts our name on it. One that changes meanwhile is judged again."""
        self._signing = job
        if self._work.kept:  # before the Job bears our name: a crash between the two leaves a run that can be found
            kept = {DOCUMENT: self._work.kept.document}
            await self._asked(lambda: self._belongings.keep(job, self._work.run_id, kept))
        try:
            mark = await self._asked(lambda: self._jobs.mark(job, self._signature(), version=True))
        except ApiError:
            again = await self._asked(lambda: self._jobs.get(job.name))
            return await self._judged(again) if again and again.uid == job.uid and self._is_lost(again) else None
        if self._work.kept and self._work.lost:
            with suppress(ApiError, Refused):  # it goes with the Job
                await self._asked(lambda: self._belongings.forget(job, str(self._work.lost)))
        return Launched(mark, adopted=True)

    def _signature(self) -> dict[str, str]:
        ours = {SUPERVISOR: self._work.supervisor} if self._work.supervisor else {}
        return {ADOPTER: self._work.run_id, **ours}

    async def _remove(self, job: Job) -> None:
        """Deletes a Job that does not run, if it still is exactly as we saw it."""
        with suppress(ApiError):
            await self._asked(lambda: self._jobs.delete(job, "Background", version=True))

    async def _asked(self, call: Callable[[], Awaitable[T]]) -> T:
        budget = self._work.budget(self._limits)
        return await persistently(call, self._limits, Code.ADMISSION_UNREACHABLE, budget=budget)
