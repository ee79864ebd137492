"""Watches one run: takes what the feed says into the case, and looks for itself when the feed may be blind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from adapter.backoff import Backoff
from adapter.case import Case, End, EndKind, Trouble, rejection_of
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.jobs import CANCEL, Job, Jobs
from adapter.cluster.pods import Pod
from adapter.cluster.watching import Change, Feed, Inbox
from adapter.limits import Limits
from adapter.mouth import Herald
from adapter.words import Teller


class Watch:
    """One run's eyes. `observed_at` is when its Job was last observed, `attempted_at` when it was last tried."""

    def __init__(self, case: Case, feed: Feed, inbox: Inbox, jobs: Jobs, limits: Limits, herald: Herald) -> None:
        self.case = case
        self._feed, self._inbox, self._jobs, self._limits, self._herald = feed, inbox, jobs, limits, herald
        self._teller = Teller()
        self._changed = anyio.Event()
        self._looked_at = self._asked_at = self.attempted_at = self.observed_at = anyio.current_time()
        self._look_due = float("inf")
        self._look_again = Backoff(limits.retry_first, limits.safety)
        self._blind = self._unexplained = self._told_cancel = False
        self._to_obey = anyio.Event()

    async def until_end(self) -> End:
        """Watches until the end of the run is known.

        That something does not come is not believed of a watch, which may be late: it is asked for, once, before.
        """
        asked = False
        while True:
            end = self.case.end(anyio.current_time()) or self._unseen()
            if end and (asked or self._was_seen(end)):
                return end
            asked = end is not None
            if end:
                await self.look()
            else:
                await self._turn(self.case.wake_at())

    def _was_seen(self, end: End) -> bool:
        """Not so that a suspended Job has no pod: an adopted one's may have its grace period, untold of as yet."""
        podless = self.case.suspended and self.case.pod is None
        return end.kind in (EndKind.OVER, EndKind.UNSEEN) and not podless

    async def until(self, holds: Callable[[], bool], seconds: float) -> bool:
        """Watches on until something holds, for at most `seconds`; whether it does."""
        deadline = anyio.current_time() + seconds
        while not holds() and anyio.current_time() < deadline:
            await self._turn(deadline)
        return holds()

    async def started(self, name: str) -> Pod:
        """Waits until a container has started; its pod."""
        while not (self.case.began(name) and self.case.pod):
            await self._changed.wait()
        return self.case.pod

    async def news(self) -> None:
        """Waits for the next change of the run, for a moment; without one, a look of our own is due.

        A stream's clean end decides nothing, but it may be the first to hint at what a watch has missed.
        """
        with anyio.move_on_after(self._limits.news) as quiet:
            await self._changed.wait()
        if quiet.cancelled_caught:
            self.look_soon()

    def cancel(self, why: str, *, told: bool = False) -> None:
        """Cancels the run; `obey` carries it out, and tells it, if it was not told before."""
        self._told_cancel = told
        self.case.cancelled(why, anyio.current_time())
        self._to_obey.set()
        self._inbox.poke()

    async def obey(self) -> None:
        """Ends the Job of a run that was cancelled, by whomever. A task of its own: the eyes never wait for it.

        Where deleting the Job is refused it is suspended, which ends its pod as well.
        """
        await self._to_obey.wait()
        if not self._told_cancel:
            self._herald.tell("cancel", f"cancelling: {self.case.cancel}", why=self.case.cancel)
        if not await self._insist(self._end_job):
            await self._insist(lambda: self._jobs.suspend(self.case.job))

    async def find_pod(self) -> None:
        """Looks until there was an answer, where no pod was seen: a Job can be over before its pod was told of.

        One that is gone again by then may yet be heard of: the pods' watch can be behind the Jobs'.
        """
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        while self.case.pod is None and not self.case.job_gone and not await self.look():
            await backoff.wait()
        if self.case.pod is None and self.case.job.over:
            await self.until(lambda: self.case.pod is not None, self._limits.news)

    def catch_up(self) -> None:
        """Takes what the feed has said meanwhile."""
        while (change := self._inbox.said()) is not None:
            self._take(change)

    def look_soon(self) -> None:
        """Something hints at news that no watch may tell: a look of our own is due."""
        self._look_due = anyio.current_time()
        self._inbox.poke()

    async def look(self) -> bool:
        """Reads the Job and its pod, once; whether there was an answer, be it a refusal. A failure decides nothing."""
        self._looked_at = anyio.current_time()
        try:
            job = await self._jobs.get(self.case.job.name)
            pods = await self._jobs.pods(self.case.job.uid)
        except (ApiError, Unreachable) as error:
            self._say_blind(error)
            self._look_due += self._look_again.next()
            answered = isinstance(error, ApiError) and error.status == 403  # asking again would change nothing
        else:
            self._observed(job, pods)
            answered = True
        self.attempted_at = anyio.current_time()
        return answered

    def _observed(self, job: Job | None, pods: list[Pod]) -> None:
        now = self.observed_at = anyio.current_time()
        self._look_due = float("inf")
        self._look_again.reset()
        if self._blind:
            self._blind = False
            self._herald.tell("watch", "the API server answers again")
        if job is None or job.uid != self.case.job.uid:
            self.case.job_gone = True
        else:
            self.case.see_job(job, now)
        for pod in pods:
            self._take_pod(pod, now)
        if self.case.pod and self.case.pod.uid not in {pod.uid for pod in pods}:
            self.case.pod_gone = True
        self._tell_changed()

    async def _turn(self, wake_at: float) -> None:
        """Waits for what comes first: a change, a moment of the case, or the time to look for ourselves."""
        with anyio.move_on_after(max(0.0, min(wake_at, self._own_time()) - anyio.current_time())):
            change = await self._inbox.next()
            if change:
                self._take(change)
        if self._feed.fresh:
            self.attempted_at = anyio.current_time()
            self.observed_at = max(self.observed_at, self._feed.heard_at)
        if self.case.cancel is not None:
            self._to_obey.set()
        if anyio.current_time() >= self._look_time():
            await self.look()
        await self._why_no_pod()

    def _look_time(self) -> float:
        """When to look: when something hinted at it, and each `safety` seconds while the feed is stale."""
        return self._look_due if self._feed.fresh else min(self._look_due, self._looked_at + self._limits.safety)

    def _ask_time(self) -> float:
        """When to ask why there is no pod."""
        waiting = self.case.let_run and self.case.pod is None
        return max(self._asked_at, self.case.let_run_at) + self._limits.no_pod if waiting else float("inf")

    def _own_time(self) -> float:
        return min(self._look_time(), self._ask_time(), anyio.current_time() + self._limits.safety)

    def _take(self, change: Change) -> None:
        now = anyio.current_time()
        if isinstance(change.seen, Job):
            self.case.see_job(change.seen, now)
        else:
            self._take_pod(change.seen, now)
        if change.gone:
            self._look_due = now  # a DELETED may only mean that a label changed: ask for the exact name
        self._tell_changed()

    def _take_pod(self, pod: Pod, now: float) -> None:
        self.case.see_pod(pod, now)
        if self.case.pod is pod:
            for kind, words in self._teller.tell(pod):
                self._herald.tell(kind, words, pod=pod.name)

    def _tell_changed(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    def _unseen(self) -> End | None:
        budget = self._limits.unreachable
        if budget is None or anyio.current_time() - self.observed_at < budget:
            return None
        return End(EndKind.UNSEEN, text=f"the cluster could not be observed for {budget:g} s")

    async def _end_job(self) -> None:
        """Written on the Job, then deleted in the foreground: it outlives its pod, and its last words are followed.

        In between the plane is told why: whoever comes back after a crash may find the Job gone, and its notes with it.
        """
        if self.case.job.cancel is None:
            marked = await self._jobs.annotate(self.case.job, CANCEL, self.case.cancel or "")
            self.case.see_job(marked, anyio.current_time())
        with anyio.move_on_after(self._limits.cancel_call / 2):
            await self._herald.flushed()
        await self._jobs.delete(self.case.job, "Foreground")

    async def _insist(self, call: Callable[[], Awaitable[object]]) -> bool:
        """Repeats a call until the API server has taken it, or the Job is gone; False if it is refused."""
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        while not self.case.job_gone:
            try:
                with anyio.fail_after(self._limits.cancel_call):
                    await call()
            except ApiError as error:
                if error.status == 404:
                    return True
                if not error.transient:
                    self._herald.tell("cancel", f"the API server refuses to cancel: {error}")
                    return False
            except (Unreachable, TimeoutError):
                pass
            else:
                return True
            await backoff.wait()
        return True

    async def _why_no_pod(self) -> None:
        """Asks the Job's events why it has no pod."""
        case, now = self.case, anyio.current_time()
        if now < self._ask_time():
            return
        self._asked_at = now
        try:
            found = rejection_of(await self._jobs.warnings(case.job.uid))
        except (ApiError, Unreachable) as error:
            self._say_unexplained(error)
            return
        if found and (case.rejected is None or case.rejected.text != found[1]):
            self._herald.tell("pod", f"no pod: {found[1]}")
            case.rejected = Trouble(*found, since=case.rejected.since if case.rejected else case.let_run_at)

    def _say_unexplained(self, error: Exception) -> None:
        if not self._unexplained:
            self._unexplained = True
            self._herald.tell("pod", f"no pod, and its events cannot be asked why: {error}")

    def _say_blind(self, error: Exception) -> None:
        if not self._blind:
            self._blind = True
            self._herald.tell("watch", f"cannot see the Job, which goes on: {error}")
