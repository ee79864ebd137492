"""The steps between the end of a run and its report, and the one after it. The heart bounds and orders them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio

from adapter.backoff import Backoff
from adapter.case import End, EndKind
from adapter.cluster.belongings import Belongings
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.jobs import RESULT, RESULT_BYTES, Jobs
from adapter.limits import Limits
from adapter.mouth import Herald
from adapter.run import RunResult
from adapter.verdict import needs_another_look
from adapter.watch import Watch
from adapter.work import Work

MOST_WHY = 1000
"""Characters of a verdict that are kept on the Job that it has stopped."""


class Tail:
    """What is done with the Job of a run that has ended in the way that `end` says."""

    def __init__(
        self, end: End, watch: Watch, jobs: Jobs, belongings: Belongings, limits: Limits, herald: Herald
    ) -> None:
        self._end, self._watch, self._limits, self._herald = end, watch, limits, herald
        self._jobs, self._belongings = jobs, belongings

    async def stop(self) -> None:
        """A Job that lives but will get nowhere is stopped before its verdict is told: suspending ends its pods.

        So is one that somebody has suspended and let run again: its new pod is no second try of the run.
        """
        case, verdict = self._watch.case, self._end.kind is EndKind.VERDICT
        again = case.suspended and not case.job.suspended and self._end.kind is EndKind.OVER
        if not verdict and not again:
            return
        why = f"{self._end.code}: {self._end.text[:MOST_WHY]}" if verdict else None
        with anyio.move_on_after(self._limits.call):
            try:
                await self._jobs.suspend(case.job, why)
            except (ApiError, Unreachable) as error:
                self._herald.tell("job", f"the Job could not be stopped: {error}")
        await self._watch.until(lambda: case.quiet, case.grace + self._limits.stall)

    async def find_pod(self) -> None:
        """A Job can be over before its pod was told of: its log is there all the same."""
        if self._end.kind is EndKind.OVER:
            await self._watch.find_pod()

    def taken(self) -> bool:
        """Whether another run has taken the Job over, as far as the feed has said by now."""
        self._watch.catch_up()
        return self._watch.case.taken

    async def diagnose(self) -> None:
        """Looks once more where the streams may lag behind each other: why it ended matters, not only how."""
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        if self._end.kind is EndKind.OVER and needs_another_look(self._watch.case):
            while not await self._watch.look():
                await backoff.wait()

    async def clean_up(self, result: RunResult, work: Work) -> None:
        """Leaves the Job, with its result on it, to its TTL; or deletes it. What may still run stays as it is.

        Its Secret goes now. Its agent's lock goes with it, or is freed by whoever wants the agent next and finds its
        Job over: before that a sidecar may still be at work.
        """
        case = self._watch.case
        if self.taken() or case.job_gone or case.job.deleting or self._end.kind is EndKind.NEVER:
            return
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        while (error := await self._cleaned_up(result, work)) is not None:
            if isinstance(error, ApiError) and not error.transient:
                break
            await backoff.wait()
        if error:
            self._herald.tell("job", f"Job {case.job.name} was not cleaned up: {error}")

    async def _cleaned_up(self, result: RunResult, work: Work) -> ApiError | Unreachable | None:
        """One try; what it has met."""
        case = self._watch.case
        try:
            if not work.retain or self._end.kind is EndKind.VERDICT or case.suspended:
                await self._jobs.delete(case.job, "Background")
                return None
            await self._jobs.annotate(case.job, RESULT, annotation(result))
            if work.secret:
                await self._belongings.take(case.job)
        except (ApiError, Unreachable) as error:
            return error
        return None


def annotation(result: RunResult) -> str:
    """The result as it is kept on the Job; without what others have said where that makes it too long."""
    text = json.dumps(result.to_json())
    if len(text) <= RESULT_BYTES:
        return text
    short = replace(result, message=result.message[:1000], termination_message=None, agent=_brief(result.agent))
    return json.dumps(short.to_json())


def _brief(agent: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The agent's report without its long texts."""
    if agent is None:
        return None
    return {name: value for name, value in agent.items() if len(json.dumps(value)) <= RESULT_BYTES // 64}
