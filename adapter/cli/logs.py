"""`claude-k8s logs RUN`: the log of a run, as its pod has it now."""

from __future__ import annotations

from typing import Any

import anyio
import click

from adapter.cli.clusters import choice_of, connected, run_loop
from adapter.cli.output import Output, output_of
from adapter.cli.settings import CONTEXT, cluster_options, setting
from adapter.cluster.connection import ApiError, Unreachable
from adapter.cluster.cursor import Cursor
from adapter.cluster.following import Follower, Read
from adapter.cluster.framing import Batch
from adapter.cluster.jobs import Job, Jobs
from adapter.cluster.pods import AGENT, STDERR, Pod
from adapter.errors import AdapterError
from adapter.plane import LogChunk, Stream
from adapter.service import Adapter

LOOK = 1.0
"""Seconds between two looks at a pod whose log ended, or has not begun."""


@click.command(context_settings=CONTEXT)
@click.argument("run_id", metavar="RUN")
@click.option("--follow", "-f", is_flag=True, help="Follow it until the run's container has ended.")
@setting("--raw", is_flag=True, help="The log's bytes, with an agent's transcript as it is.")
@cluster_options
def logs(run_id: str, *, follow: bool, raw: bool, **options: Any) -> int:
    """Show the log of RUN, a run's id, from its beginning; an agent's stderr goes to stderr.

    An agent's transcript is shown for people. Only what the cluster still has can be shown: not the log of a Job that
    is gone, nor a file that the kubelet has rotated away. Whoever supervises the run is not disturbed.
    """
    output = output_of(json_lines=False, raw=raw, quiet=True)

    async def work() -> None:
        async with connected(choice_of(options)) as adapter:
            job = await adapter.job_of(run_id)
            if job is None:
                raise AdapterError(
                    f"no Job of run {run_id!r} in namespace {adapter.namespace}, instance {adapter.instance}"
                )
            await _show(adapter, job, output, follow)

    run_loop(work())
    return 0


async def _show(adapter: Adapter, job: Job, output: Output, follow: bool) -> None:
    jobs = Jobs(adapter.connection, adapter.namespace, call=adapter.limits.call)
    pod = await _pod(jobs, job, follow)
    if pod is None:
        return
    logs = [_Log(adapter, jobs, job, pod, "stdout", AGENT, output)]
    if pod.container(STDERR):
        logs.append(_Log(adapter, jobs, job, pod, "stderr", STDERR, output))
    async with anyio.create_task_group() as group:
        for log in logs:
            group.start_soon(log.show, follow)
    if problems := [log.problem for log in logs if log.problem]:
        raise AdapterError("; ".join(problems))


async def _pod(jobs: Jobs, job: Job, follow: bool) -> Pod | None:
    while True:
        pods = await jobs.pods(job.uid)
        if pods or not follow or await jobs.get(job.name) is None:
            return pods[-1] if pods else None
        await anyio.sleep(LOOK)


_WHY = {
    Read.FAILED: "the API server or the kubelet did not answer",
    Read.GONE: "its pod is gone",
    Read.NOT_YET: "its container has not started yet",
}


class _Log:
    """One container's log, on its way to the output."""

    def __init__(
        self, adapter: Adapter, jobs: Jobs, job: Job, pod: Pod, stream: Stream, container: str, output: Output
    ) -> None:
        self._jobs, self._job, self._container, self._stream, self._output = jobs, job, container, stream, output
        self._pending: list[Batch] = []
        self._offset = 0
        self.problem = ""
        place = adapter.connection, adapter.namespace, pod.name, container
        limits = adapter.limits
        self._reader = Follower(*place, cursor=Cursor(), limits=limits, put=self._pending.extend, room=self._print)

    async def show(self, follow: bool) -> None:
        """What is there now, and, to follow, what comes until the container has ended."""
        while follow and not await self._ended():
            with anyio.CancelScope() as scope:
                await self._reader.follow(lambda: self._stop_if_ended(scope))
            await self._print()
            if self._reader.refused:
                break
        read = await self._reader.rest(LOOK * 10)
        if read is Read.REFUSED:
            self.problem = f"the {self._stream} log may not be read: {self._reader.refused}"
        elif read is not Read.WHOLE:
            self.problem = f"the {self._stream} log could not be read to its end: {_WHY[read]}"
        self._reader.finish()
        await self._print()

    async def _stop_if_ended(self, scope: anyio.CancelScope) -> None:
        """After a clean end of the stream: a restarted kubelet ends it too, so the pod is asked."""
        if await self._ended():
            scope.cancel()
        await anyio.sleep(LOOK)

    async def _ended(self) -> bool:
        try:
            pods = await self._jobs.pods(self._job.uid)
        except (ApiError, Unreachable):
            return False
        return not pods or pods[-1].ended(self._container)

    async def _print(self) -> None:
        batches, self._pending[:] = list(self._pending), []
        for batch in batches:
            if batch.gap:
                click.echo(f"claude-k8s: {batch.gap}", err=True)
                continue
            chunk = LogChunk(offset=self._offset, data=batch.data, cursor=batch.cursor, stamp="", stream=self._stream)
            self._offset += len(batch.data)
            await self._output.log(chunk)
