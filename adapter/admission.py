"""At most one live Job for an agent, across processes and replicas: the lock, and whoever still holds it.

The lock is an object with a fixed name for the agent, owned by the Job that it names. It needs no renewal: what it
protects is the Job, not us. Whoever finds it taken waits, visibly, until its holder is over or gone. What cannot be
checked is not started.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import anyio

from adapter.backoff import Backoff
from adapter.cluster.belongings import Belongings, Lock
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.jobs import WAITS, Job, Jobs
from adapter.errors import Code
from adapter.limits import Limits
from adapter.refusal import Refused, raise_if_final

T = TypeVar("T")
Tell = Callable[..., None]


class Admission:
    """The way of one suspended Job to its agent. `check` raises where the Job is not ours any more."""

    def __init__(
        self,
        agent: str,
        jobs: Jobs,
        belongings: Belongings,
        limits: Limits,
        tell: Tell,
        *,
        budget: float | None = None,
        check: Callable[[Job], None] = lambda job: None,
    ) -> None:
        self._agent, self._jobs, self._belongings, self._limits, self._tell = agent, jobs, belongings, limits, tell
        self._budget, self._check = budget, check
        self._pace = Backoff(limits.retry_first, limits.busy_look)
        self._give_up = float("inf") if limits.busy is None else anyio.current_time() + limits.busy
        self._said, self._written_at = "", 0.0
        self._untouched: tuple[str, str, float] = ("", "", 0.0)

    async def admit(self, job: Job) -> Job:
        """Returns when the agent is the Job's alone, or the Job is not wanted any more. Raises `Refused`."""
        while not unwanted(job) and (holder := await self._taken(job)) is not None:
            job = await self._wait_for(holder, job)
        while not unwanted(job) and (others := await self._others(job)):
            job = await self._wait(job, f"pod {others[0]} of an earlier run of the agent has not ended")
        return job

    async def _taken(self, job: Job) -> Lock | None:
        """Takes the lock; or says whose it is."""
        while True:
            try:
                await self._asked(lambda: self._belongings.lock(self._agent, job))
            except ApiError:
                holder = await self._asked(lambda: self._belongings.locked(self._agent))
                if holder is not None:
                    return None if holder.job_uid == job.uid else holder
                await self._pace.wait()
            else:
                return None

    async def _wait_for(self, lock: Lock, job: Job) -> Job:
        """Waits for as long as the lock's holder may be alive; then the lock is freed."""
        while not unwanted(job) and (why := await self._held(lock, job)):
            job = await self._wait(job, why)
        if not unwanted(job):
            await self._asked(lambda: self._belongings.free(lock))
            await self._pace.wait()  # one that does not go, because of a finalizer, is not asked for without pause
        return job

    async def _held(self, lock: Lock, job: Job) -> str | None:
        """Who holds the lock, in words; None if nobody does any more."""
        if not lock.job:
            return f"the agent's lock, ConfigMap {lock.name}, is not one of ours"
        holder = await self._asked(lambda: self._jobs.get(lock.job))
        if holder is None or holder.uid != lock.job_uid or holder.over or holder.halted:
            return None
        if holder.instance == job.instance and self._abandoned(holder) and await self._swept(holder):
            return None
        return f"the agent is busy with Job {holder.name} (run {holder.of_run or 'unknown'})"

    async def _others(self, job: Job) -> list[str]:
        """The agent's pods of other Jobs that may still be at work: a deleted Job's pod has its grace period."""
        pods = await self._asked(lambda: self._jobs.pods_of_agent(self._agent))
        return [pod.name for pod in pods if pod.owner != job.uid and not pod.over]

    def _abandoned(self, holder: Job) -> bool:
        """A Job whose launcher died before it was let run: suspended, and untouched for longer than a launch may take.

        By our own clock. Deleting it is safe all the same: whoever lets it run has its version as a precondition, and
        so have we, so that one of the two fails.
        """
        now = anyio.current_time()
        if self._untouched[:2] != (holder.uid, holder.version):
            self._untouched = (holder.uid, holder.version, now)
        return holder.waiting and not holder.deleting and now - self._untouched[2] > self._limits.launch

    async def _swept(self, holder: Job) -> bool:
        self._tell("admission", f"Job {holder.name} was never let run, and nobody looks after it: deleting it")
        try:
            await self._asked(lambda: self._jobs.delete(holder, "Background", version=True))
        except ApiError:
            return False  # somebody does look after it
        return True

    async def _wait(self, job: Job, why: str) -> Job:
        """Waits a little, visibly: told once, and written on the Job now and then, so that nobody takes it for lost."""
        now = anyio.current_time()
        if now >= self._give_up:
            raise Refused(Code.AGENT_BUSY, f"{why}, for longer than {self._limits.busy:g} s")
        if why != self._said or now - self._written_at >= self._limits.launch / 4:
            if why != self._said:
                self._tell("admission", f"waiting: {why}", job=job.name)
            self._said, self._written_at = why, now
            with suppress(ApiError):  # a conflict: whoever has changed it has made it look alive as well
                await self._asked(lambda: self._jobs.annotate(job, WAITS, why), Code.JOB_DELETED)
        await self._pace.wait()
        again = await self._asked(lambda: self._jobs.get(job.name))
        if again is None or again.uid != job.uid:
            raise Refused(Code.JOB_DELETED, f"Job {job.name} was deleted before it was let run")
        self._check(again)
        return again

    async def _asked(self, call: Callable[[], Awaitable[T]], rejected: Code = Code.ADMISSION_UNREACHABLE) -> T:
        return await persistently(call, self._limits, rejected, budget=self._budget)


async def persistently(
    call: Callable[[], Awaitable[T]], limits: Limits, rejected: Code, *, budget: float | None = None
) -> T:
    """Repeats a call until the API server has answered, for as long as a launch may take, or for `budget` seconds.

    Raises `Refused`, since what cannot be checked, or made, is not started; and a conflict (409) as it is: to whoever
    makes or changes something that is an answer. `rejected` is the code of a plain no.
    """
    backoff = Backoff(limits.retry_first, limits.retry_most)
    give_up = anyio.current_time() + (limits.launch if budget is None else budget)
    while True:
        try:
            return await call()
        except (ApiError, Unreachable) as error:
            if isinstance(error, ApiError) and error.status == 409:
                raise
            raise_if_final(error, rejected)
            if anyio.current_time() >= give_up:
                raise Refused(Code.ADMISSION_UNREACHABLE, f"nothing was started: {error}") from error
            await backoff.wait(getattr(error, "retry_after", 0.0))


def unwanted(job: Job) -> bool:
    """Whether the Job is not to be let run any more."""
    return job.deleting or job.cancel is not None
