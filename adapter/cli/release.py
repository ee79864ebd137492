"""`claude-k8s release AGENT`: frees by hand an agent whose Job nobody could see to its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import click

from adapter.backoff import Backoff
from adapter.cli.clusters import choice_of, connected, run_loop
from adapter.cli.settings import CONTEXT, cluster_options
from adapter.cluster.belongings import Belongings, Lock, agent_key
from adapter.cluster.jobs import Job, Jobs
from adapter.cluster.pods import Pod
from adapter.service import Adapter

FORCED = 60.0
"""Seconds beyond its grace period that a pod may take to end before it is deleted by force."""


@dataclass(frozen=True, slots=True)
class Found:
    """What stands between an agent and its next run."""

    key: str
    lock: Lock | None
    job: Job | None
    pods: tuple[Pod, ...]

    @property
    def alive(self) -> bool:
        return bool(self.pods) or (self.job is not None and not self.job.over)


@click.command(context_settings=CONTEXT)
@click.argument("agent")
@click.option("--company", default="", help="The agent's company, where the control plane gives one.", metavar="ID")
@click.option("--force", is_flag=True, help="Delete pods of a lost node at once, without knowing that they have ended.")
@click.option("--yes", "-y", is_flag=True, help="Do it without asking.")
@cluster_options
def release(agent: str, company: str, *, force: bool, yes: bool, **options: Any) -> int:
    """Free AGENT: delete the Job that holds it, and its lock. Says first what it will do.

    For what `unknown` left behind: a Job on a lost node, or one that never ended. AGENT is the agent's id (or its key,
    as the label claude-k8s/agent has it). Its pods get their grace period; one that stays all the same, because its
    node is lost, is deleted with --force, which needs rights that the adapter's own Role does not give.
    """

    async def work() -> int:
        async with connected(choice_of(options)) as adapter:
            found = await _find(adapter, agent, company)
            for line in _plan(found, force=force):
                click.echo(line)
            if found.lock is None and not found.alive:
                return 0
            if not yes and not await anyio.to_thread.run_sync(lambda: click.confirm("Do it?", err=True)):
                return 1
            await _free(adapter, found, force=force)
            click.echo("freed")
            return 0

    return run_loop(work())


async def _find(adapter: Adapter, agent: str, company: str) -> Found:
    jobs, belongings = _doors(adapter)
    for key in dict.fromkeys((agent_key(company, agent), agent.lower())):
        lock = await belongings.locked(key) if _is_label(key) else None
        pods = tuple(pod for pod in await jobs.pods_of_agent(key) if not pod.over) if _is_label(key) else ()
        if lock or pods:
            job = await jobs.get(lock.job) if lock else None
            return Found(key, lock, job if job and lock and job.uid == lock.job_uid else None, pods)
    return Found(agent_key(company, agent), None, None, ())


def _is_label(key: str) -> bool:
    return 0 < len(key) <= 63 and key.replace("-", "").isalnum() and key.isascii()


def _plan(found: Found, *, force: bool) -> Iterator[str]:
    if found.lock is None and not found.alive:
        yield f"agent {found.key} is free"
        return
    if found.lock:
        run = found.lock.run_id or "unknown"
        yield f"agent {found.key} is held by Job {found.lock.job} (run {run}): {_state(found.job)}"
    for pod in found.pods:
        yield f"pod {pod.name} on node {pod.node or 'none'}: {pod.phase}{', being deleted' if pod.deleting else ''}"
    if found.job and not found.job.over:
        yield f"will delete Job {found.job.name}: whatever still runs in its pod is ended"
    if force and found.pods:
        yield "will delete by force, after their grace period, pods that stay: on a lost node they may go on all the same"
    if found.lock:
        yield f"will delete the lock {found.lock.name}"


def _state(job: Job | None) -> str:
    if job is None:
        return "the Job is gone"
    if job.over:
        return "the Job is over"
    return "never let run" if job.suspended else "being deleted" if job.deleting else "running, as far as is known"


async def _free(adapter: Adapter, found: Found, *, force: bool) -> None:
    jobs, belongings = _doors(adapter)
    if found.job and not found.job.over:
        await jobs.delete(found.job, "Background")
    if force:
        await _end_pods(adapter, found)
    if found.lock:
        await belongings.free(found.lock)


async def _end_pods(adapter: Adapter, found: Found) -> None:
    jobs, _ = _doors(adapter)
    patience = max((pod.grace for pod in found.pods), default=0) + FORCED
    pace = Backoff(0.2, 2.0)
    with anyio.move_on_after(patience):
        while any(not pod.over for pod in await jobs.pods_of_agent(found.key)):
            await pace.wait()
        return
    for pod in await jobs.pods_of_agent(found.key):
        await jobs.end_pod(pod)


def _doors(adapter: Adapter) -> tuple[Jobs, Belongings]:
    place = adapter.connection, adapter.namespace
    return Jobs(*place, call=adapter.limits.call), Belongings(*place, call=adapter.limits.call)
