"""Runs as their Jobs show them: for the commands that look at a run that some other process supervises."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import click

from adapter.cli.clusters import choice_of, connected, running_local
from adapter.cli.remote import Line, Remote
from adapter.cli.settings import cluster_options, setting
from adapter.cluster.jobs import MANAGED_BY, MANAGED_LABEL, Job, Jobs, selector
from adapter.errors import AdapterError
from adapter.limits import Limits
from adapter.service import Adapter

F = TypeVar("F", bound=Callable[..., Any])

SHOWN = 8
"""Candidates that are named where a beginning fits several runs."""

EVERYBODYS = f"{MANAGED_LABEL}={MANAGED_BY}"


class NotFound(AdapterError):
    """No such run, or more than one that it may be."""


def run_argument(command: F) -> F:
    """RUN: a run's id, a beginning of one that fits no other, or its Job's name."""
    return click.argument("run_id", metavar="RUN")(command)


def looking_options(command: F) -> F:
    """Where the runs are: a cluster, or a service that knows them."""
    options = (
        setting("--all-instances", is_flag=True, help="Those of every instance in the namespace."),
        setting("--service", metavar="URL", help="Ask this service instead of the cluster."),
        setting("--service-token-file", metavar="FILE", help="Its token; else that of CLAUDE_K8S_TOKEN, if set."),
    )
    for option in reversed(options):
        command = option(command)
    return cluster_options(command)


@asynccontextmanager
async def looking(options: Mapping[str, Any], limits: Limits | None = None) -> AsyncIterator[Adapter]:
    """An adapter for the cluster that the options choose. Raises `ConnectError`, and where `--local` is not there."""
    choice = choice_of(options)
    if choice.local and running_local() is None:
        raise AdapterError("--local: no embedded cluster is running here; `claude-k8s local` serves one")
    async with connected(choice, limits) as adapter:
        yield adapter


async def find(adapter: Adapter, text: str, *, all_instances: bool = False) -> Job:
    """The Job of the run that is meant. Raises `NotFound`, which says where to look, and `ApiError`."""
    jobs = Jobs(adapter.connection, adapter.namespace, call=adapter.limits.call)
    theirs = fitting(await jobs.all(EVERYBODYS if all_instances else selector(adapter.instance)), text)
    if len(theirs) == 1:
        return theirs[0]
    if theirs:
        raise NotFound(f"{text!r} fits {len(theirs)} runs: {_names(theirs)}")
    others = [] if all_instances else fitting(await jobs.all(EVERYBODYS), text)
    raise NotFound(f"no run {text!r} {_place(adapter, all_instances)}; {_hint(others)}")


async def find_at(remote: Remote, text: str) -> Line:
    """The run that is meant, as the service shows it. Raises `NotFound` and `RemoteError`."""
    if text and (view := await remote.run(text)):
        return view
    views, _ = await remote.runs()
    theirs = [view for view in views if text and text in (view.get("job"), str(view["runId"])[: len(text)])]
    if len(theirs) == 1:
        return theirs[0]
    if theirs:
        raise NotFound(f"{text!r} fits {len(theirs)} runs: {_listed([str(view['runId']) for view in theirs])}")
    raise NotFound(f"{remote.url}: no run {text!r}; `claude-k8s ps --all --service ...` lists those it knows")


def fitting(jobs: Iterable[Job], text: str) -> list[Job]:
    """The Jobs of the runs that a text may mean, one a run. What it is exactly wins over what it begins."""
    runs: dict[tuple[str | None, str | None], Job] = {}
    for job in jobs:
        key, before = (job.instance, job.of_run), runs.get((job.instance, job.of_run))
        if before is None or _is_live(job) or not _is_live(before):
            runs[key] = job
    ways: tuple[Callable[[Job], bool], ...] = (
        lambda job: job.of_run == text,
        lambda job: text in (job.name, job.run_id),
        lambda job: bool(text) and (job.of_run or "").startswith(text),
    )
    return next((found for way in ways if (found := [job for job in runs.values() if way(job)])), [])


def _is_live(job: Job) -> bool:
    return not job.over and job.result is None


def _names(jobs: list[Job]) -> str:
    of_one = len({job.instance for job in jobs}) == 1
    names = [f"{job.of_run}" + ("" if of_one else f" (instance {job.instance})") for job in jobs]
    return _listed(names)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _place(adapter: Adapter, all_instances: bool) -> str:
    whose = "of any instance" if all_instances else f"of instance {adapter.instance}"
    return f"{whose} in namespace {adapter.namespace}"


def _hint(others: list[Job]) -> str:
    if others:
        instances = sorted({job.instance or "" for job in others})
        return f"there is one of instance {', '.join(instances)}: give --instance, or --all-instances"
    return "it may be in another namespace (-n), or over and its Job deleted; `claude-k8s ps --all` lists those there"
