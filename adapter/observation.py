"""One Job that some other process supervises, observed to its end. Nothing of it is ours to change."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from anyio import TaskHandle
from anyio.abc import TaskGroup

from adapter.backoff import Backoff
from adapter.case import Case, End, EndKind, Trouble
from adapter.cluster.jobs import Job
from adapter.cluster.pods import STDERR
from adapter.limits import Limits
from adapter.mouth import Herald
from adapter.plane import Beat
from adapter.run import LogSummary, RunResult
from adapter.stream import LogStream
from adapter.takeover import result_on
from adapter.verdict import needs_another_look, result_of
from adapter.watch import Watch

NOT_READ = LogSummary(complete=False)


@dataclass(frozen=True, slots=True)
class Observed:
    """What became of the run, as far as it was seen.

    `reported`: `result` is the one on the Job, which its supervisor's plane has accepted; else it is what the pod says.
    It is None where nobody here saw the end: `why` says so. `log` and `stderr` are what became of them here.
    """

    job: Job
    result: RunResult | None
    reported: bool = False
    why: str = ""
    log: LogSummary = NOT_READ
    stderr: LogSummary | None = None


@dataclass(frozen=True, slots=True)
class Flow:
    """One log, and the two tasks that read and deliver it."""

    stream: LogStream
    follow: TaskHandle[Any]
    deliver: TaskHandle[Any]


class Observation:
    """`run` is its life. `streams` may be none; one whose container the pod does not have stays empty.

    `patience` is how long a result may take to come onto the Job after its end, in seconds.
    """

    def __init__(
        self, watch: Watch, streams: Sequence[LogStream], herald: Herald, limits: Limits, patience: float
    ) -> None:
        self._watch, self._streams, self._herald = watch, streams, herald
        self._limits, self._patience = limits, patience
        self._told: dict[str, str] = {}
        self._trouble: Trouble | None = None
        self._end = End(EndKind.OVER)

    @property
    def _case(self) -> Case:
        return self._watch.case

    def beat(self) -> Beat:
        """What a keepalive would say now."""
        case, ago = self._case, anyio.current_time() - self._watch.observed_at
        return Beat(run_id=case.run_id, phase=phase_of(case), observed_ago=ago)

    async def run(self, group: TaskGroup) -> Observed:
        """Observes to the end and, for a moment more, until the result is on the Job."""
        flows = [Flow(one, group.start_soon(one.follow), group.start_soon(one.deliver)) for one in self._streams]
        self._watch.look_soon()  # it may have vanished since it was found
        await self._watch.until(self._over, math.inf)
        for flow in flows:
            flow.follow.cancel()
        if self._end.kind is not EndKind.UNSEEN:
            await self._drain(flows)
            await self._diagnose()
        for flow in flows:
            flow.deliver.cancel()
            await flow.deliver.wait()
        logs = {flow.stream.name: flow.stream.summary() for flow in flows if self._is_there(flow)}
        return self._observed(logs.get("stdout", NOT_READ), logs.get("stderr"))

    def _over(self) -> bool:
        """Tells what is new of the Job; whether the end has come. A verdict is not: its supervisor carries it out."""
        case, now = self._case, anyio.current_time()
        if not case.let_run:
            case.running(now)
        self._tell_news(case.job)
        self._note_trouble()
        end = case.end(now)
        if end is None or end.kind is EndKind.VERDICT:
            return False
        self._end = end
        return True

    def _note_trouble(self) -> None:
        """Keeps in mind what has kept the Job from starting: its supervisor stops it for that, and then it is gone."""
        case = self._case
        if case.trouble and not case.ever_ran:
            self._trouble = case.trouble
        elif case.ending_at is None:
            self._trouble = None

    def _verdict(self) -> End:
        """The end as its supervisor has seen it, as far as can be told."""
        self._note_trouble()
        if self._trouble and self._case.suspended:
            return End(EndKind.VERDICT, self._trouble.code, self._trouble.text)
        return self._end

    def _tell_news(self, job: Job) -> None:
        for kind, words in _facts(job):
            if self._told.get(kind) != words:
                self._told[kind] = words
                self._herald.tell(kind, words, job=job.name, uid=job.uid)

    # -- the tail ----------------------------------------------------------------------------------------------------

    async def _drain(self, flows: Sequence[Flow]) -> None:
        """Reads what the follows have not."""
        with anyio.move_on_after(self._limits.tail):
            for flow in flows:
                await flow.follow.wait()  # it hands over what it has received: nothing may be read before that
            if self._end.kind is EndKind.OVER:
                await self._watch.find_pod()
            theirs = [flow for flow in flows if self._is_there(flow)]
            async with anyio.create_task_group() as drains:
                for flow in theirs:
                    drains.start_soon(flow.stream.drain, self._verdict().kind)
            for flow in theirs:
                await flow.deliver.wait()

    def _is_there(self, flow: Flow) -> bool:
        """Whether the pod has the container: only an agent's has one for its stderr."""
        pod = self._case.pod
        return flow.stream.name == "stdout" or (pod is not None and pod.container(STDERR) is not None)

    async def _diagnose(self) -> None:
        """Waits until the result is on the Job, or the Job is gone; then looks once more, where it is not clear."""
        case = self._case
        await self._watch.until(lambda: case.job.result is not None or case.job_gone or case.taken, self._patience)
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        with anyio.move_on_after(self._patience):
            while case.job.result is None and needs_another_look(case) and not await self._watch.look():
                await backoff.wait()

    def _observed(self, log: LogSummary, stderr: LogSummary | None) -> Observed:
        case, reported = self._case, result_on(self._case.job)
        if self._end.kind is EndKind.UNSEEN or case.taken:
            result, why = None, f"{case.taken_by} has taken Job {case.job.name} over"
        elif reported and reported.run_id == case.run_id:
            return Observed(case.job, reported, reported=True, log=log, stderr=stderr)
        elif _is_unseen(case):
            why = f"Job {case.job.name} is gone, and its end was not seen here: its supervisor knows the result"
            result = None
        else:
            result, why = result_of(case.run_id, case, self._verdict(), log, stderr), ""
        return Observed(case.job, result, why=why, log=log, stderr=stderr)


def phase_of(case: Case) -> str:
    """Where a Job stands, in the words that the service has for it too."""
    ended = case.job_gone or case.job.over or (case.pod is not None and case.quiet)
    if ended or case.ending_at is not None or case.cancel is not None:
        return "ending"
    if case.job.waiting:
        return "queued"
    return "running" if case.started else "pending"


def _is_unseen(case: Case) -> bool:
    """Whether the Job is gone and nobody here saw why, nor how its container ended."""
    ended = case.pod is not None and (case.pod.quiet or case.pod.deleting)
    told = case.job.deleting or case.cancel is not None or case.failing == "DeadlineExceeded"
    return case.job_gone and not (ended or told)


def _facts(job: Job) -> Iterator[tuple[str, str]]:
    """What is to be said of a Job, by kind."""
    yield "job", f"Job {job.name}" + (f", supervised by {job.supervisor}" if job.supervisor else "")
    if job.waiting and not job.over:
        yield "admission", f"waiting: {job.waits}" if job.waits else "waiting to be let run"
    if job.cancel is not None:
        yield "cancel", "cancelling" + (f": {job.cancel}" if job.cancel else "")
