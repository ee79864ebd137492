"""`claude-k8s cancel RUN`: ends a run, whoever supervises it."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import click

from adapter.cli.clusters import run_loop
from adapter.cli.finding import NotFound, find, find_at, looking, looking_options, run_argument
from adapter.cli.interrupts import until_interrupted
from adapter.cli.lines import Reader
from adapter.cli.output import Output, clean, output_of
from adapter.cli.remote import Remote, remote_of
from adapter.cli.session import log_to_stderr
from adapter.cli.settings import CONTEXT
from adapter.cluster.connection import ApiError
from adapter.cluster.jobs import CANCEL, Job, Jobs
from adapter.errors import AdapterError
from adapter.observer import Observer
from adapter.plane import Event, LogChunk
from adapter.run import RunResult
from adapter.service import Adapter
from adapter.takeover import result_on


@click.command(context_settings=CONTEXT)
@run_argument
@click.option("--reason", default="by hand", show_default=True, help="Why; it stands in the run's result.")
@click.option("--wait", is_flag=True, help="Until the run is over; its result is shown then.")
@looking_options
def cancel(run_id: str, *, reason: str, wait: bool, **options: Any) -> int:
    """Cancel RUN: its pod is told to end, and has its grace period for it.

    RUN is a run's id, a beginning of one that fits no other, or its Job's name. Returns when the API server has it,
    written on the Job, so that no crash forgets it. A run that has ended already stays as it is, which is said.
    """
    log_to_stderr(verbose=False)
    remote = remote_of(options)
    asked = _at_service(remote, run_id, reason, wait) if remote else _in_cluster(run_id, reason, wait, options)
    done = run_loop(until_interrupted(asked))
    return 0 if done else 130


async def _in_cluster(text: str, reason: str, wait: bool, options: dict[str, Any]) -> bool:
    async with looking(options) as adapter:
        job = await find(adapter, text, all_instances=options["all_instances"])
        if job.over or job.result is not None:
            _say_over(job.of_run, result_on(job))
            return True
        job = await cancelled(adapter, job, reason)
        by = f"replica {job.supervisor} ends it" if job.supervisor else f"its pod has up to {job.grace} s to end"
        click.echo(f"claude-k8s: run {clean(str(job.of_run))} is cancelled; {by}", err=True)
        if wait:
            observed = await Observer(adapter, job, _Nobody(), logs=False).observe()
            await _show(observed.result, observed.why)
    return True


async def cancelled(adapter: Adapter, job: Job, reason: str) -> Job:
    """Marks the Job. What no replica of the service looks after is ended at once: its supervisor may not be there.

    If it is, it does the same. A replica's Job is left to it, or to the one that follows it: who deletes the Job for
    a replica that is dead takes the run's report with it.
    """
    jobs = Jobs(adapter.connection, adapter.namespace, call=adapter.limits.call)
    try:
        marked = job if job.cancel is not None else await jobs.annotate(job, CANCEL, reason)
    except ApiError as error:
        if error.status in (404, 409, 422):  # it is gone, or another one has its name
            raise NotFound(f"run {job.of_run!r} has ended meanwhile, and its Job is gone") from error
        raise
    if marked.supervisor is None:
        try:
            await jobs.delete(marked, "Foreground")
        except AdapterError as error:
            raise AdapterError(f"run {job.of_run!r} is marked as cancelled, but its Job stays: {error}") from error
    return marked


async def _at_service(remote: Remote, text: str, reason: str, wait: bool) -> bool:
    async with remote:
        view = await find_at(remote, text)
        run_id = str(view["runId"])
        if view.get("state") == "finished":
            _say_over(run_id, RunResult.from_json(view["result"]) if view.get("result") else None)
            return True
        if not await remote.cancel(run_id, reason):
            raise NotFound(f"{remote.url}: no run {run_id!r}")
        click.echo(f"claude-k8s: run {clean(run_id)} is cancelled", err=True)
        if wait:
            reader = Reader(_Nobody())
            async with aclosing(remote.events(run_id)) as lines:
                async for line in lines:
                    await reader.take(line)
            await _show(reader.result, "")
    return True


def _say_over(run_id: str | None, result: RunResult | None) -> None:
    what = f"{result.outcome.replace('_', ' ')}: {result.message}" if result else "nobody has reported a result"
    click.echo(f"claude-k8s: run {clean(str(run_id))} has ended already ({clean(what)})", err=True)


async def _show(result: RunResult | None, why: str) -> None:
    if result:
        await output_of(json_lines=False, raw=True, quiet=False).result(result)
    else:
        click.echo(f"claude-k8s: it is over; {clean(why)}", err=True)


class _Nobody(Output):
    """Whom nothing is told but the end."""

    async def log(self, chunk: LogChunk) -> None: ...
    async def event(self, event: Event) -> None: ...
    async def result(self, result: RunResult) -> None: ...
    def say(self, text: str) -> None: ...
