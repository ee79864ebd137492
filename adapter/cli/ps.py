"""`claude-k8s ps`: the runs that are there, whoever supervises them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import click

from adapter.cli.clusters import run_loop
from adapter.cli.finding import EVERYBODYS, looking, looking_options
from adapter.cli.output import write
from adapter.cli.remote import Remote, remote_of
from adapter.cli.rows import Row, age, of_job, of_view, table
from adapter.cli.session import log_to_stderr
from adapter.cli.settings import CONTEXT, setting
from adapter.cluster.jobs import INSTANCE_LABEL, Job, selector
from adapter.cluster.listing import listing
from adapter.cluster.pods import Pod
from adapter.service import Adapter

HEADS = ("RUN", "STATE", "OUTCOME", "AGENT", "AGE", "POD", "SUPERVISOR", "NOTE")


@dataclass(frozen=True, slots=True)
class Found:
    """The runs, oldest first, the moment of it, and where they were looked for."""

    rows: Sequence[Row]
    at: datetime
    where: str
    hint: str = ""


@click.command(context_settings=CONTEXT)
@click.option("--all", "-a", "everything", is_flag=True, help="Finished runs too, for as long as their Jobs are kept.")
@setting("--json", "json_lines", is_flag=True, help="One JSON object a line, with all that is known of each run.")
@looking_options
def ps(*, everything: bool, json_lines: bool, **options: Any) -> int:
    """List the runs that are not finished, oldest first: where each stands, and what it waits for.

    SUPERVISOR is the replica of the service that looks after a run; a run of a command has none. A run that has ended
    without a result on its Job is either about to be reported, or its supervisor has died.
    """
    log_to_stderr(verbose=False)
    remote = remote_of(options)
    found = run_loop(_of_service(remote) if remote else _of_cluster(options))
    rows = [row for row in found.rows if everything or not row.over]
    if json_lines:
        write("".join(json.dumps(row.json) + "\n" for row in rows).encode())
    elif rows:
        write(_table(rows, found.at, instances=options["all_instances"] and not remote).encode())
    else:
        finished = f" ({len(found.rows)} finished: --all)" if found.rows else found.hint
        click.echo(f"claude-k8s: no runs {found.where}{finished}", err=True)
    return 0


async def _of_service(remote: Remote) -> Found:
    async with remote:
        views, at = await remote.runs()
    return Found(sorted(map(of_view, views), key=lambda row: row.created), at, f"at {remote.url}")


async def _of_cluster(options: Mapping[str, Any]) -> Found:
    async with looking(options) as adapter:
        return await listed(adapter, everybody=options["all_instances"])


async def listed(adapter: Adapter, *, everybody: bool) -> Found:
    """The runs of the adapter's instance, or of all, in its namespace. Raises `ApiError` or `Unreachable`."""
    place, labels = (adapter.connection, adapter.namespace), EVERYBODYS if everybody else selector(adapter.instance)
    jobs = await listing(*place, "jobs", labels=labels, deadline=adapter.limits.call)
    pods = await listing(*place, "pods", labels=labels, deadline=adapter.limits.call)
    of_uid = {pod.owner: pod for pod in map(Pod.of, pods.items)}
    rows = [of_job(job, of_uid.get(job.uid), adapter.namespace) for job in map(Job.of, jobs.items)]
    whose = "of any instance" if everybody else f"of instance {adapter.instance}"
    hint = "" if rows or everybody else await _others(adapter)
    return Found(rows, jobs.at, f"{whose} in namespace {adapter.namespace}", hint)


async def _others(adapter: Adapter) -> str:
    """Whose runs there are, where none are ours."""
    place = adapter.connection, adapter.namespace
    theirs = (await listing(*place, "jobs", labels=EVERYBODYS, deadline=adapter.limits.call)).items
    count = Counter(raw["metadata"]["labels"].get(INSTANCE_LABEL) for raw in theirs)
    named = ", ".join(f"{number} of {instance}" for instance, number in sorted(count.items(), key=str))
    return f" (but {named}: --all-instances)" if named else ""


def _table(rows: Sequence[Row], at: datetime, *, instances: bool) -> str:
    heads = ("INSTANCE", *HEADS) if instances else HEADS
    cells = [
        (row.run, row.state, row.outcome, row.agent, age(row.created, at), row.pod, row.supervisor, row.note)
        for row in rows
    ]
    whose = [(row.instance,) if instances else () for row in rows]
    return table(heads, [(*one, *cell) for one, cell in zip(whose, cells, strict=True)])
