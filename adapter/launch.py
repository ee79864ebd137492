"""From a request to a Job that is let run, in an order in which every crash point is harmless.

The Job is created suspended; its name and UID are told to the plane; then it is let run. Whoever asks again finds the
same Job: it is adopted, or its result given back, or, for another request under the same id, refused.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import anyio

from adapter.admission import Admission, persistently, unwanted
from adapter.backoff import Backoff
from adapter.cluster.belongings import Belongings
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.jobs import WAITS, Job, Jobs
from adapter.cluster.rights import Rights
from adapter.cluster.watching import Feed
from adapter.errors import Code
from adapter.limits import Limits
from adapter.line import Line
from adapter.refusal import Refused, raise_if_final, refusal_of
from adapter.takeover import DOCUMENT, Elsewhere, Launched, Takeover, known, must_be_ours
from adapter.work import Work

T = TypeVar("T")
Tell = Callable[..., None]


class Launch:
    """The steps of one launch. Each is repeated until the API server has answered, within the launch budget."""

    def __init__(
        self,
        work: Work,
        jobs: Jobs,
        belongings: Belongings,
        rights: Rights,
        feed: Feed,
        line: Line,
        limits: Limits,
        tell: Tell,
    ) -> None:
        self._work, self._jobs, self._belongings, self._rights = work, jobs, belongings, rights
        self._feed, self._line, self._limits, self._tell = feed, line, limits, tell
        self._takeover = Takeover(work, jobs, belongings, feed, limits, tell)
        self._budget = work.budget(limits)
        self.name = work.name

    async def can_see(self) -> None:
        """Waits until the feed sees: what we could not watch is not started. Raises `Refused`."""
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        give_up = anyio.current_time() + self._budget
        while isinstance(problem := await self._feed.listed(), ApiError | Unreachable):
            refused = refusal_of(problem)
            if refused.code is not Code.API_UNREACHABLE or anyio.current_time() >= give_up:
                raise refused
            await backoff.wait()

    async def claim(self) -> Launched:
        """Creates the Job, suspended, or finds the one that is there; and the agent for it.

        Raises `Refused`, and `Elsewhere` where another replica looks after it.
        """
        if lacking := await self._lacking():
            found = await self._found()  # what runs already is better looked after badly than not at all
            if found is None or found.job.waiting:
                text = f"not allowed in namespace {self._jobs.namespace}: {', '.join(lacking)}"
                raise Refused(Code.FORBIDDEN, text)
            return found
        launched = await self._takeover.find() or await self._found_again() or await self._create()
        if launched.earlier is None:
            must_be_ours(launched.job, self._work)
        if launched.job.waiting:
            return await self._made_ready(launched)
        self._line.enter(self._work.run_id, self._work.agent)
        return launched

    async def _found_again(self) -> Launched | None:
        """The Job that the run had when it was seen last; None if it may have to be made. Raises `Refused`."""
        if not self._work.must_exist:
            return None
        job = await self._asked(lambda: self._jobs.get(self.name))
        if job is None:
            raise self._gone()
        self._must_fit(job)
        return known(job, self._work.run_id)

    def _gone(self) -> Refused:
        return Refused(Code.JOB_DELETED, f"Job {self.name} was gone when the service came back to it")

    def _must_fit(self, job: Job) -> None:
        """Raises where the Job is of another request, or another run's: `Refused`, and `Elsewhere` in a service.

        There the refusal of a second request must not become the result of the run that the first one has begun.
        """
        text = f"run {self._work.run_id!r} is Job {job.name}, of a different request"
        clash = job.request != self._work.request
        if not clash:
            text = f"Job {job.name} of run {self._work.run_id!r} is run {job.adopter}'s now"
        if clash or job.adopter not in (None, self._work.run_id):
            raise Elsewhere(text, clash=clash) if self._work.supervisor else Refused(Code.CONFLICT, text)

    async def _made_ready(self, launched: Launched) -> Launched:
        """Its turn, the agent's lock, and the Secret, for a Job that was not let run yet. What is refused is withdrawn.

        What another process needs to go on with it comes first: from then on the run survives us.
        """
        job = launched.job
        try:
            if self._work.kept is not None:
                await self._keep(job, self._work.kept.document)
            job = await self._turn(job)
            if self._work.agent and not unwanted(job):
                place = self._jobs, self._belongings, self._limits, self._tell
                check = partial(must_be_ours, work=self._work)
                admission = Admission(self._work.agent, *place, budget=self._budget, check=check)
                job = await admission.admit(job)
            if self._work.secret and job.cancel is None and not job.deleting:
                await self._give(job)
        except Refused:
            await self.withdraw()
            raise
        return Launched(job, launched.adopted)

    async def _keep(self, job: Job, document: bytes) -> None:
        await self._secretly(lambda: self._belongings.keep(job, self._work.run_id, {DOCUMENT: document}))
        self._tell("kept", f"Job {job.name} waits to be let run", job=job.name, uid=job.uid)

    async def _turn(self, job: Job) -> Job:
        """Waits, visibly, until fewer runs are at work than may be at once, and none of the agent's before this one."""
        said, give_up = "", anyio.current_time() + (self._limits.busy or float("inf"))
        while not unwanted(job) and (why := self._line.join(self._work.run_id, self._work.agent)):
            if anyio.current_time() >= give_up:
                raise Refused(Code.AGENT_BUSY, f"{why}, for longer than {self._limits.busy:g} s")
            if why != said:
                self._tell("admission", f"waiting: {why}", job=job.name)
                with suppress(ApiError):  # a conflict, or it is gone: the next look tells
                    await self._asked(lambda: self._jobs.annotate(job, WAITS, why))  # noqa: B023 - awaited here
            said = why
            with anyio.move_on_after(self._limits.busy_look):
                await self._line.change()
            job = self._feed.latest(job)
            must_be_ours(job, self._work)
        return job

    async def _give(self, job: Job) -> None:
        """Makes the Secret that the pod reads."""
        await self._secretly(lambda: self._belongings.give(job, self._work.secret))

    async def _secretly(self, make: Callable[[], Awaitable[None]]) -> None:
        """Makes a Secret. A conflict that stays is a quota's, which is as transient as it says (it names a 409)."""
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        give_up = anyio.current_time() + self._budget
        while True:
            try:
                return await self._asked(make, Code.SECRET_REJECTED)
            except ApiError as error:
                if anyio.current_time() >= give_up:
                    raise Refused(Code.SECRET_REJECTED, error.message) from error
            await backoff.wait()

    async def _asked(self, call: Callable[[], Awaitable[T]], rejected: Code = Code.ADMISSION_UNREACHABLE) -> T:
        return await persistently(call, self._limits, rejected, budget=self._budget)

    async def _lacking(self) -> list[str]:
        """The rights without which no run could be brought to its end; the lack of any other is told.

        Asked before anything is created: a Job that may not be deleted could be neither cancelled nor cleaned up.
        """
        try:
            lacking = await self._rights.lacking(agent=self._work.agent is not None)
        except (ApiError, Unreachable):
            return []  # each call will have an answer of its own
        for right in lacking:
            if right.without:
                self._tell("rights", f"not allowed: {right}; {right.without}")
        return [str(right) for right in lacking if not right.without]

    async def _create(self) -> Launched:
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        give_up = anyio.current_time() + self._budget
        while True:
            try:
                return Launched(await self._jobs.create(dict(self._work.manifest)), adopted=False)
            except (ApiError, Unreachable) as error:
                found = await self._found() if _exists(error) else None
                if found:
                    return found
                if not _exists(error):
                    raise_if_final(error)
                if anyio.current_time() >= give_up:
                    raise Refused(Code.API_UNREACHABLE, f"no Job could be created: {error}") from error
                self._tell("launch", f"trying again: {error}")
                await backoff.wait(getattr(error, "retry_after", 0.0))

    async def let_run(self, job: Job, cancelled: Callable[[], bool]) -> Job:
        """Lets a waiting Job run, unless it is cancelled. One that changed is looked at again. Raises `Refused`."""
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        give_up = anyio.current_time() + self._budget
        current: Job | None = self._feed.latest(job)  # the controller has written its first conditions meanwhile
        conflicts = 0
        while current and current.waiting and self._is_ours(current) and not unwanted(current) and not cancelled():
            try:
                return await self._jobs.resume(current)
            except (ApiError, Unreachable) as error:
                if anyio.current_time() >= give_up:
                    raise Refused(Code.API_UNREACHABLE, f"the Job could not be let run: {error}") from error
                if not _changed(error):
                    raise_if_final(error)
                conflicts += 1
            # The controller writes a Job's first conditions at about this moment: look, and try again at once.
            if conflicts > 1:
                await backoff.wait()
            again = await self._look_again(current)
            if again is not None and again.uid != job.uid:
                return (
                    job  # a later Job of the same name: it is somebody else's to let run, past an admission of its own
                )
            current = again
        return current or job

    async def withdraw(self) -> Launched | None:
        """Deletes a Job that was never let run: by its UID, and only while it waits. Any other is returned.

        Raises `Refused` where there was one that is gone by now.

        Also finds one whose creation was never answered, and one that we had just taken over. Tries until the API
        server has answered or the launch budget is spent; what is left then is harmless, since it does not run.
        """
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        with anyio.move_on_after(self._budget):
            while True:
                try:
                    if (signed := await self._takeover.signed()) is not None:
                        return Launched(signed, adopted=True)
                    job = await self._jobs.get(self.name)
                    if job is None and self._work.must_exist:
                        raise self._gone()
                    if job is None or job.request != self._work.request or not self._is_ours(job):
                        return None
                    if not job.waiting:
                        return known(job, self._work.run_id)
                    await self._jobs.delete(job, "Background", version=True)
                    return None
                except (ApiError, Unreachable) as error:
                    if isinstance(error, ApiError) and error.status in (401, 403):
                        self._tell("job", f"Job {self.name}, if it exists, is suspended and was left: {error}")
                        return None
                    await backoff.wait()
        return None

    async def _look_again(self, job: Job) -> Job | None:
        try:
            return await self._jobs.get(job.name)
        except (ApiError, Unreachable) as error:
            raise_if_final(error)
            return job

    async def _found(self) -> Launched | None:
        """The Job that has our name already; None if it is on its way out, so that its name will be free."""
        try:
            job = await self._jobs.get(self.name)
        except (ApiError, Unreachable):
            return None
        if job is None or (job.deleting and job.request != self._work.request):
            return None
        self._must_fit(job)
        return known(job, self._work.run_id)

    def _is_ours(self, job: Job) -> bool:
        """Whether no other replica has taken it over while we could not see."""
        return self._work.supervisor is None or job.supervisor in (None, self._work.supervisor)


def _exists(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.reason == "AlreadyExists"


def _changed(error: Exception) -> bool:
    """A precondition did not hold: 409 for the version, 422 for the UID, 404 for a Job that is gone."""
    return isinstance(error, ApiError) and error.status in (404, 409, 422)
