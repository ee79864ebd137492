"""`claude-k8s attach RUN`: a run that some other process supervises, as if it had been started here."""

from __future__ import annotations

import math
import shlex
from contextlib import aclosing
from typing import Any

import click

from adapter.cli.clusters import run_loop
from adapter.cli.finding import find, find_at, looking, looking_options, run_argument
from adapter.cli.interrupts import until_interrupted
from adapter.cli.lines import Reader
from adapter.cli.output import Output, output_of
from adapter.cli.remote import Remote, RemoteError, remote_of
from adapter.cli.session import exit_code, log_to_stderr
from adapter.cli.settings import CONTEXT, output_options
from adapter.errors import AdapterError
from adapter.limits import Limits
from adapter.observer import PATIENCE, Observer
from adapter.run import RunResult

PATIENT = Limits(sink=math.inf, tail=math.inf)
"""A pipe that is not read for minutes (`| less`) must not be given the same lines twice, and be given the last ones."""


@click.command(context_settings=CONTEXT)
@run_argument
@looking_options
@output_options
def attach(run_id: str, **options: Any) -> int:
    """Follow RUN to its end, whoever supervises it: its log from the beginning, its states, its result.

    RUN is a run's id, a beginning of one that fits no other, or its Job's name. The exit code is that of
    `claude-k8s run`. Ctrl-C stops looking, and nothing else: the run goes on.
    """
    log_to_stderr(verbose=options["verbose"])
    remote = remote_of(options)
    result = run_loop(
        until_interrupted(_of_service(remote, run_id, options) if remote else _of_cluster(run_id, options))
    )
    if result is None:
        again = f"claude-k8s attach {shlex.quote(run_id)}"
        click.echo(f"claude-k8s: no longer looking; the run goes on, and `{again}` comes back to it", err=True)
    return exit_code(result)


async def _of_cluster(text: str, options: dict[str, Any]) -> RunResult:
    async with looking(options, PATIENT) as adapter:
        job = await find(adapter, text, all_instances=options["all_instances"])
        output = _output(options, agent=job.agent is not None)
        observed = await Observer(adapter, job, output).observe()
    if observed.result is None:
        raise AdapterError(observed.why)
    if not observed.reported and observed.job.over:
        output.say(f"its supervisor has reported no result within {PATIENCE:g} s; this is what its pod says")
    await output.result(observed.result)
    return observed.result


async def _of_service(remote: Remote, text: str, options: dict[str, Any]) -> RunResult:
    async with remote:
        view = await find_at(remote, text)
        output = _output(options, agent=bool(view.get("agentKey")))
        reader = Reader(output)
        async with aclosing(remote.events(view["runId"])) as lines:
            async for line in lines:
                await reader.take(line)
    if reader.result is None:
        raise RemoteError(f"{remote.url}: the service tells no result of run {view['runId']!r}")
    await output.result(reader.result)
    return reader.result


def _output(options: dict[str, Any], *, agent: bool) -> Output:
    shown = {name: options[name] for name in ("json_lines", "raw", "quiet")}
    return output_of(**shown, agent=agent)
