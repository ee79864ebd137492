"""`claude-k8s logs RUN`: the log of a run, as its pod, or a service, has it now."""

from __future__ import annotations

from contextlib import aclosing
from datetime import datetime
from typing import Any

import anyio
import click

from adapter.cli.attach import PATIENT
from adapter.cli.clusters import run_loop
from adapter.cli.finding import find, find_at, looking, looking_options, run_argument
from adapter.cli.interrupts import until_interrupted
from adapter.cli.lines import Reader
from adapter.cli.output import Output, clean, output_of
from adapter.cli.remote import Remote, remote_of
from adapter.cli.rows import time_of
from adapter.cli.session import log_to_stderr
from adapter.cli.settings import CONTEXT, setting
from adapter.cluster.beginning import Beginning
from adapter.cluster.cursor import Cursor
from adapter.cluster.following import Follower, Read
from adapter.cluster.framing import Batch
from adapter.cluster.jobs import Job, Jobs
from adapter.cluster.pods import AGENT, STDERR, Pod
from adapter.observer import Observer
from adapter.plane import Event, LogChunk, Stream
from adapter.run import RunResult
from adapter.service import Adapter

STALL = 10.0
"""Seconds without a byte after which the reading of a log is given up."""
AFRESH = 2.0
"""Seconds after its end in which an agent may begin afresh, in a second Job."""
QUIET = 1.5
"""Seconds without a line, or with no more than they can have added, after which a service has told what it has."""


@click.command(context_settings=CONTEXT)
@run_argument
@click.option("--follow", "-f", is_flag=True, help="Follow it until the run is over.")
@setting("--raw", is_flag=True, help="The log's bytes, with an agent's transcript as it is.")
@looking_options
def logs(run_id: str, *, follow: bool, raw: bool, **options: Any) -> int:
    """Show the log of RUN from its beginning; an agent's stderr goes to stderr.

    RUN is a run's id, a beginning of one that fits no other, or its Job's name. An agent's transcript is shown for
    people. Only what the cluster still has can be shown: not the log of a Job that is gone, nor a file that the kubelet
    has rotated away. Whoever supervises the run is not disturbed. The exit code is 1 where something is missing, which
    is said.
    """
    log_to_stderr(verbose=False)
    remote = remote_of(options)
    work = _of_service(remote, run_id, raw, follow) if remote else _of_cluster(run_id, raw, follow, options)
    whole = run_loop(until_interrupted(work))
    return 130 if whole is None else 0 if whole else 1


async def _of_cluster(text: str, raw: bool, follow: bool, options: dict[str, Any]) -> bool:
    async with looking(options, PATIENT) as adapter:
        job = await find(adapter, text, all_instances=options["all_instances"])
        sink = _Log(output_of(json_lines=False, raw=raw, quiet=True, agent=job.agent is not None))
        if not follow:
            return await _read(adapter, job, sink)
        observed = await Observer(adapter, job, sink, patience=AFRESH).observe()
        return observed.log.complete and (observed.stderr is None or observed.stderr.complete)


async def _of_service(remote: Remote, text: str, raw: bool, follow: bool) -> bool:
    async with remote:
        view = await find_at(remote, text)
        reader = Reader(_Log(output_of(json_lines=False, raw=raw, quiet=True, agent=bool(view.get("agentKey")))))
        pace = _Pace()
        async with aclosing(remote.events(view["runId"])) as lines:
            while True:
                with anyio.move_on_after(None if follow else QUIET) as waiting:
                    line = await anext(lines, None)
                if waiting.cancelled_caught or line is None:
                    break
                await reader.take(line)
                if not follow and pace.is_live(str(line.get("stamp") or "")):
                    break
    return not reader.missed


class _Pace:
    """Tells a log that comes as it is written from one that comes as fast as it can be read.

    By the log's own clock, within a while of ours: no two clocks are compared.
    """

    def __init__(self) -> None:
        self._began: tuple[float, datetime] | None = None

    def is_live(self, stamp: str) -> bool:
        """Whether the log has grown, since it was looked at last, by no more than that while can have added."""
        now, written = anyio.current_time(), time_of(stamp)
        if written is None:
            return False
        before = self._began = self._began or (now, written)
        if (elapsed := now - before[0]) < QUIET:
            return False
        self._began = now, written
        return (written - before[1]).total_seconds() <= 2 * elapsed


class _Log(Output):
    """An output that is told the log alone, and what is missing of it."""

    def __init__(self, output: Output) -> None:
        self._output = output

    async def log(self, chunk: LogChunk) -> None:
        await self._output.log(chunk)

    async def event(self, event: Event) -> None:
        if event.kind == "log_gap":
            self.say(event.message)

    async def result(self, result: RunResult) -> None: ...

    def say(self, text: str) -> None:
        click.echo(f"claude-k8s: {clean(text)}", err=True)


# -- what is there now -----------------------------------------------------------------------------------------------


async def _read(adapter: Adapter, job: Job, sink: _Log) -> bool:
    """Reads what is there at this moment; whether that was all of it."""
    pods = await Jobs(adapter.connection, adapter.namespace, call=adapter.limits.call).pods(job.uid)
    if not pods:
        sink.say(f"run {job.of_run} has no pod {'any more' if job.over else 'yet'}, so there is no log")
        return False
    theirs: list[tuple[Stream, str]] = [("stdout", AGENT)]
    if pods[-1].container(STDERR):
        theirs.append(("stderr", STDERR))
    readings = [_Reading(adapter, pods[-1], stream, container, sink) for stream, container in theirs]
    async with anyio.create_task_group() as group:
        for reading in readings:
            group.start_soon(reading.read)
    return all(reading.whole for reading in readings)


_WHY = {
    Read.FAILED: "the API server or the kubelet did not answer",
    Read.UNANSWERED: "the API server did not answer",
    Read.GONE: "its pod is gone",
    Read.NOT_YET: "its container has not started yet",
}


class _Reading:
    """One container's log, on its way to the output."""

    def __init__(self, adapter: Adapter, pod: Pod, stream: Stream, container: str, sink: _Log) -> None:
        self._stream, self._sink = stream, sink
        self._pending: list[Batch] = []
        self._offset = 0
        self.whole = True
        self._reader = Follower(
            *(adapter.connection, adapter.namespace, pod.name, container),
            cursor=Cursor(),
            limits=adapter.limits,
            put=self._pending.extend,
            room=self._print,
            beginning=Beginning.of(pod, container),
        )

    async def read(self) -> None:
        """What is there now, to its end."""
        read = await self._reader.rest(STALL)
        self._reader.finish()
        await self._print()
        if read is not Read.WHOLE:
            self.whole = False
            why = f"it may not be read: {self._reader.refused}" if read is Read.REFUSED else _WHY[read]
            self._sink.say(f"the {self._stream} log was not read to its end: {why}")

    async def _print(self) -> None:
        batches, self._pending[:] = list(self._pending), []
        for batch in batches:
            if batch.gap:
                self._sink.say(batch.gap)
                continue
            chunk = LogChunk(offset=self._offset, data=batch.data, cursor=batch.cursor, stamp="", stream=self._stream)
            self._offset += len(batch.data)
            await self._sink.log(chunk)
