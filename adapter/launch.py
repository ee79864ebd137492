"""From a request to a Job that is let run, in an order in which every crash point is harmless.

The Job is created suspended; its name and UID are told to the plane; then it is let run. Whoever asks again finds the
same Job: it is adopted, or its result given back, or, for another request under the same id, refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import anyio

from adapter.agent.manifest import job_manifest
from adapter.backoff import Backoff
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.jobs import (
    INSTANCE_LABEL,
    MANAGED_BY,
    MANAGED_LABEL,
    REQUEST,
    RUN_ID,
    RUN_LABEL,
    Job,
    Jobs,
    digest,
    job_name,
    slug,
)
from adapter.errors import Code
from adapter.limits import Limits
from adapter.run import RunRequest, RunResult

Tell = Callable[..., None]


class Refused(Exception):
    """The run cannot be started. Nothing runs, and nothing was left behind."""

    def __init__(self, code: Code, text: str) -> None:
        self.code, self.text = code, text
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Launched:
    """The Job of the run: made now, or adopted; `earlier` is the result it was already given."""

    job: Job
    adopted: bool
    earlier: RunResult | None = None


def hash_of(request: RunRequest) -> str:
    """What makes two requests under one id the same: everything but how long the Job is kept."""
    return digest({name: value for name, value in request.to_json().items() if name != "retain"})


def manifest_of(request: RunRequest, instance: str) -> dict[str, Any]:
    """The Job as it is created."""
    name = job_name(instance, request.run_id)
    labels = {MANAGED_LABEL: MANAGED_BY, INSTANCE_LABEL: instance, RUN_LABEL: name}
    notes = {RUN_ID: request.run_id, REQUEST: hash_of(request)}
    return job_manifest(request, name=name, labels=labels, annotations=notes)


class Launch:
    """The steps of one launch. Each is repeated until the API server has answered, within the launch budget."""

    def __init__(self, request: RunRequest, jobs: Jobs, instance: str, limits: Limits, tell: Tell) -> None:
        self._request, self._jobs, self._limits, self._tell = request, jobs, limits, tell
        self._manifest = manifest_of(request, instance)
        self.name: str = self._manifest["metadata"]["name"]
        self._hash: str = self._manifest["metadata"]["annotations"][REQUEST]

    async def claim(self) -> Launched:
        """Creates the Job, suspended, or finds the one that is there. Raises `Refused`."""
        if lacking := await self._lacking():
            found = await self._found()  # what runs already is better looked after badly than not at all
            if found:
                return found
            raise Refused(Code.FORBIDDEN, f"not allowed in namespace {self._jobs.namespace}: {', '.join(lacking)}")
        return await self._create()

    async def _lacking(self) -> list[str]:
        """The rights without which no run could be brought to its end; the lack of any other is told.

        Asked before anything is created: a Job that may not be deleted could be neither cancelled nor cleaned up.
        """
        try:
            lacking = await self._jobs.lacking()
        except (ApiError, Unreachable):
            return []  # each call will have an answer of its own
        for right in lacking:
            if right.without:
                self._tell("rights", f"not allowed: {right}; {right.without}")
        return [str(right) for right in lacking if not right.without]

    async def _create(self) -> Launched:
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        give_up = anyio.current_time() + self._limits.launch
        while True:
            try:
                return Launched(await self._jobs.create(self._manifest), adopted=False)
            except (ApiError, Unreachable) as error:
                found = await self._found() if _exists(error) else None
                if found:
                    return found
                if not _exists(error):
                    _raise_if_final(error)
                if anyio.current_time() >= give_up:
                    raise Refused(Code.API_UNREACHABLE, f"no Job could be created: {error}") from error
                self._tell("launch", f"trying again: {error}")
                await backoff.wait(getattr(error, "retry_after", 0.0))

    async def let_run(self, job: Job, cancelled: Callable[[], bool]) -> Job:
        """Lets a suspended Job run, unless it is cancelled. One that changed is looked at again. Raises `Refused`."""
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        give_up = anyio.current_time() + self._limits.launch
        current: Job | None = job
        conflicts = 0
        while current and current.suspended and not current.deleting and current.cancel is None and not cancelled():
            try:
                return await self._jobs.resume(current)
            except (ApiError, Unreachable) as error:
                if anyio.current_time() >= give_up:
                    raise Refused(Code.API_UNREACHABLE, f"the Job could not be let run: {error}") from error
                if not _changed(error):
                    _raise_if_final(error)
                conflicts += 1
            # The controller writes a Job's first conditions at about this moment: look, and try again at once.
            if conflicts > 1:
                await backoff.wait()
            current = await self._look_again(current)
        return current or job

    async def withdraw(self) -> Launched | None:
        """Deletes a Job that was never let run: by its UID, and only while it is suspended. One that runs is returned.

        Also finds one whose creation was never answered. Tries until the API server has answered or the launch
        budget is spent; what is left then is harmless, since it does not run.
        """
        backoff = Backoff(self._limits.retry_first, self._limits.retry_most)
        with anyio.move_on_after(self._limits.launch):
            while True:
                try:
                    job = await self._jobs.get(self.name)
                    if job is None or job.request != self._hash:
                        return None
                    if not job.suspended:
                        return Launched(job, adopted=True, earlier=_result(job))
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
            _raise_if_final(error)
            return job

    async def _found(self) -> Launched | None:
        """The Job that has our name already; None if it is on its way out, so that its name will be free."""
        try:
            job = await self._jobs.get(self.name)
        except (ApiError, Unreachable):
            return None
        if job is None or (job.deleting and job.request != self._hash):
            return None
        if job.request != self._hash:
            raise Refused(Code.CONFLICT, f"run {self._request.run_id!r} is Job {job.name}, of a different request")
        return Launched(job, adopted=True, earlier=_result(job))


def instance_name(text: str) -> str:
    """The text as the name of an instance: a label value, never empty."""
    return slug(text, 63) or "default"


def _result(job: Job) -> RunResult | None:
    if job.result is None:
        return None
    try:
        return RunResult.from_json(json.loads(job.result))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # what is on the Job is not ours: find out again


def _exists(error: Exception) -> bool:
    return isinstance(error, ApiError) and error.reason == "AlreadyExists"


def _changed(error: Exception) -> bool:
    """A precondition did not hold: 409 for the version, 422 for the UID, 404 for a Job that is gone."""
    return isinstance(error, ApiError) and error.status in (404, 409, 422)


def _raise_if_final(error: ApiError | Unreachable) -> None:
    """Raises `Refused` for an answer that trying again would not change."""
    if isinstance(error, Unreachable) or error.transient:
        return
    if error.status == 401:
        raise Refused(Code.UNAUTHORIZED, str(error)) from error
    if (error.status == 404 and error.kind == "namespaces") or "because it is being terminated" in error.message:
        raise Refused(Code.NAMESPACE, error.message) from error
    if error.status == 403 and "exceeded quota" not in error.message:
        raise Refused(Code.FORBIDDEN, error.message) from error
    raise Refused(Code.JOB_REJECTED, error.message) from error


def refusal_of(error: ApiError | Unreachable) -> Refused:
    """A problem of the watch, as the reason why nothing was started."""
    try:
        _raise_if_final(error)
    except Refused as refused:
        return refused
    return Refused(Code.API_UNREACHABLE, str(error))
